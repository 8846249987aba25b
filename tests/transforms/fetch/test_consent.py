from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.fetch import Consent
from transforms.fetch.consent import (
    MAX_ROBOTS_BYTES,
    OptOut,
    parse_robots,
    parse_tdmrep,
    refuse_headers,
    refuse_meta,
    refuse_words,
)
from transforms.fetch.urls import parse_url

ALL = Consent()


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("noai", "noai"),
        ("NoIndex, nofollow", "noindex"),
        ("nofollow , NOIMAGEAI", "noimageai"),
        ("none", "none"),
        ("mixwright: noai", "noai"),
        ("*: noai", "noai"),
        ("otherbot: noai", ""),
        ("all", ""),
        ("nofollow", ""),
        ("max-snippet: 20, noindex", "noindex"),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST", ""),
        ("noindex, unavailable_after: Friday, 25-Jun-30", "noindex"),
        ("", ""),
        (",,,", ""),
    ],
)
def test_words_of_x_robots_tag(value: str, word: str) -> None:
    assert refuse_words(value, ALL, "mixwright") == word


def test_the_recipe_chooses_which_words_count() -> None:
    few = Consent(directives=("noai",), tdm=False)
    assert refuse_words("noindex, none", few, "mixwright") == ""
    assert refuse_words("noindex, noai", few, "mixwright") == "noai"
    assert refuse_headers([("tdm-reservation", "1")], few, "mixwright") == ""


def test_headers() -> None:
    told = [("x-robots-tag", "otherbot: noai"), ("x-robots-tag", "noimageindex")]
    assert refuse_headers(told, ALL, "mixwright") == "X-Robots-Tag says 'noimageindex'"
    assert refuse_headers([("tdm-reservation", " 1 ")], ALL, "mixwright")
    assert refuse_headers([("tdm-reservation", "0"), ("server", "noai")], ALL, "mixwright") == ""


def test_metas() -> None:
    assert refuse_meta([("Robots", "noindex")], ALL, "mixwright")
    assert refuse_meta([("MixWright", "noai")], ALL, "mixwright")
    assert refuse_meta([("otherbot", "noai"), ("description", "noai")], ALL, "mixwright") == ""
    assert refuse_meta([("tdm-reservation", "1")], ALL, "mixwright")


@given(st.text(max_size=200))
def test_any_header_is_judged(value: str) -> None:
    for name in ("x-robots-tag", "tdm-reservation"):
        assert isinstance(refuse_headers([(name, value)], ALL, "mixwright"), str)


def test_robots_txt_by_the_rfc() -> None:
    rules = parse_robots(
        b"\xef\xbb\xbfUser-Agent: *\nDisallow: /*.gif$\nDisallow: /private/\n"
        b"Allow: /private/open/\n"
        b"\nUser-agent: mixwright\nUser-agent: otherbot\nDisallow: /ours\n# Disallow: /\n"
    )
    assert rules.can_fetch("http://h/private/x", "mixwright")
    assert not rules.can_fetch("http://h/ours/x", "mixwright")
    assert not rules.can_fetch("http://h/private/x", "unnamed")
    assert rules.can_fetch("http://h/private/open/x", "unnamed")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>not found</html>",
        b"\xff\xfe\x00garbage",
        b"Disallow: /\n",
        b"User-agent: *\nDisallow:\n",
        bytes(2 * MAX_ROBOTS_BYTES),
    ],
)
def test_robots_txt_that_says_nothing_allows(body: bytes) -> None:
    assert parse_robots(body).can_fetch("http://h/x", "mixwright")


def test_a_robots_txt_without_end_is_read_in_part() -> None:
    body = b"User-agent: *\nDisallow: /a\n" + b"#" * MAX_ROBOTS_BYTES + b"\nDisallow: /b\n"
    rules = parse_robots(body)
    assert not rules.can_fetch("http://h/a", "mixwright")
    assert rules.can_fetch("http://h/b", "mixwright")


def test_tdmrep_reserves_places() -> None:
    rules = parse_tdmrep(
        b'[{"location": "/a/*.jpg$", "tdm-reservation": 1},'
        b' {"location": "/b/", "tdm-reservation": "1"}, {"location": "/c/", "tdm-reservation": 0},'
        b' {"location": "/d\\nAllow: /a", "tdm-reservation": 1}]'
    )
    assert rules is not None
    reserved = [p for p in ("/a/x.jpg", "/a/x.png", "/b/x", "/c/x", "/d") if not _free(rules, p)]
    assert reserved == ["/a/x.jpg", "/b/x", "/d"]


def _free(rules: object, path: str) -> bool:
    return rules.can_fetch(f"http://h{path}", "mixwright")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b'["x"]',
        b'[{"location": 1, "tdm-reservation": 1}]',
        b"[" * 5000,
    ],
)
def test_what_is_no_tdmrep_reserves_nothing(body: bytes) -> None:
    assert parse_tdmrep(body) is None


def test_opt_out_lists() -> None:
    lines = ["# artists", "", "Example.org", "*.bücher.example # all", "http://h.test/A b.jpg#frag"]
    listed = OptOut.parse(lines)
    refused = [
        "http://example.org/x",
        "https://www.EXAMPLE.org:8443/x",
        "http://xn--bcher-kva.example/",
        "http://h.test/A%20b.jpg",
    ]
    free = ["http://example.com/", "http://notexample.org/", "http://h.test/a%20b.jpg"]
    assert all(listed.refuse(parse_url(url)) for url in refused)
    assert not any(listed.refuse(parse_url(url)) for url in free)


@pytest.mark.parametrize("line", ["exa mple.org", "ftp://example.org/", "-"])
def test_a_list_that_cannot_be_read_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="opt-out list, line 2"):
        OptOut.parse(["example.org", line])
