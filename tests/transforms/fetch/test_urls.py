from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from transforms.fetch.records import Refusal, RefusedError
from transforms.fetch.urls import MAX_URL_CHARACTERS, parse_url


def refusal_of(text: str) -> Refusal:
    with pytest.raises(RefusedError) as caught:
        parse_url(text)
    return caught.value.refusal


CANONICAL = {
    "http://example.org": "http://example.org/",
    "HTTPS://Example.ORG:443/A/b.jpg": "https://example.org/A/b.jpg",
    "http://example.org:8080/": "http://example.org:8080/",
    "  http://example.org/a b.jpg\n": "http://example.org/a%20b.jpg",
    "http://example.org/a\tb.jpg": "http://example.org/ab.jpg",
    "http://example.org/x.jpg#top": "http://example.org/x.jpg",
    "http://example.org?a=b c": "http://example.org/?a=b%20c",
    "http://example.org/ü.png?ß=1": "http://example.org/%C3%BC.png?%C3%9F=1",
    "http://example.org/%7Euser/100%.gif": "http://example.org/%7Euser/100%25.gif",
    "http://example.org/a/./b/../c.jpg": "http://example.org/a/c.jpg",
    "http://example.org/../../c.jpg": "http://example.org/c.jpg",
    "http://bücher.example/": "http://xn--bcher-kva.example/",
    "http://EXAMPLE.org./": "http://example.org/",
    "http://faß.de/": "http://xn--fa-hia.de/",
    "http://例え.テスト/絵.jpg": "http://xn--r8jz45g.xn--zckzah/%E7%B5%B5.jpg",
    "http://2130706433/": "http://127.0.0.1/",
    "http://0x7f.1/": "http://127.0.0.1/",
    "http://0177.0.0.1/": "http://127.0.0.1/",
    "http://127.1/": "http://127.0.0.1/",
    "http://[::FFFF:127.0.0.1]:81/": "http://[::ffff:7f00:1]:81/",
    "http://my_host.example/": "http://my_host.example/",
}


@pytest.mark.parametrize(("text", "wanted"), CANONICAL.items())
def test_urls_take_one_form(text: str, wanted: str) -> None:
    url = parse_url(text)
    assert url.text == wanted
    assert parse_url(wanted) == url


@pytest.mark.parametrize(
    "text",
    [
        "data:image/png;base64,iVBORw0KGgo=",
        "file:///etc/passwd",
        "ftp://example.org/a.jpg",
        "gopher://example.org/",
        "javascript:alert(1)",
        "http://user:secret@example.org/",
        "http://example.org@127.0.0.1/",
        "http://@example.org/",
    ],
)
def test_other_schemes_and_credentials_are_blocked(text: str) -> None:
    refused = refusal_of(text)
    assert refused.reason is Reason.FETCH_FAILED_BLOCKED_ADDRESS
    assert not refused.transient
    assert "secret" not in refused.error


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "example.org/a.jpg",
        "//example.org/a.jpg",
        "http:/example.org",
        "http://",
        "http:///a.jpg",
        "http://example.org:99999/",
        "http://example.org:0/",
        "http://exa mple.org/",
        "http://example..org/",
        "http://-example.org/",
        "http://1.2.3.4.5/",
        "http://256.256.256.256/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://exam\\ple.org/",
        "http://" + "a" * 64 + ".org/",
        "http://example.org/" + "a" * MAX_URL_CHARACTERS,
    ],
)
def test_what_is_no_url_is_malformed(text: str) -> None:
    refused = refusal_of(text)
    assert refused.reason is Reason.ROW_MALFORMED
    assert len(refused.error) < 1000


def test_a_long_query_is_kept_whole() -> None:
    query = "q=" + "x" * 10_000
    url = parse_url(f"http://example.org/?{query}")
    assert url.target == f"/?{query}"


def test_an_address_is_known_as_one() -> None:
    url = parse_url("http://0xA9FEA9FE/latest/meta-data")
    assert url.address == ip_address("169.254.169.254")


def test_redirects_join() -> None:
    here = parse_url("https://example.org/a/b.jpg")
    assert here.join("c.jpg") == parse_url("https://example.org/a/c.jpg")
    assert here.join("//other.example/x") == parse_url("https://other.example/x")
    for location in ("file:///etc/passwd", "http://user@127.0.0.1/", "http://["):
        with pytest.raises(RefusedError):
            here.join(location)


@given(st.text())
def test_any_text_gives_a_url_or_a_refusal(text: str) -> None:
    for candidate in (text, f"http://{text}", f"http://h/{text}", f"http://h/?{text}"):
        try:
            url = parse_url(candidate)
        except RefusedError:
            continue
        assert url.text.isascii()
        assert url.text.isprintable()
        assert " " not in url.text
        assert parse_url(url.text) == url
