from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.samples import TextRole
from transforms.extract.html import (
    CONTEXT_CHARACTERS,
    MAX_CAPTION_CHARACTERS,
    MAX_IMAGES,
    Page,
    PageError,
    PageImage,
    read_page,
)

URL = "https://site.example/dogs/index.html"


def page_of(html: str, url: str = URL) -> Page:
    return read_page(html.encode(), url)


def texts_of(image: PageImage) -> dict[TextRole, list[str | bytes]]:
    told: dict[TextRole, list[str | bytes]] = {}
    for text in image.texts:
        told.setdefault(text.role, []).append(text.text)
    return told


def test_a_page() -> None:
    page = page_of(
        """<!doctype html><html lang="en-GB"><head><title> Dogs  &amp; cats </title>
        <link rel="license nofollow" href="/cc-by"><link rel="canonical" href="/dogs">
        <meta name="robots" content="noai"><meta property="og:image" content="/share.jpg">
        <meta property="og:image:alt" content="A shared dog"><style>p { color: red }</style></head>
        <body><p>Before the dog.</p><script>var not_text = 1;</script>
        <figure><img src="a.jpg" alt=" A  dog " title="Rex"><figcaption>Rex in
        <b>May</b></figcaption></figure><p>After the dog.</p></body></html>"""
    )
    assert page.url == "https://site.example/dogs"
    assert page.title == "Dogs & cats"
    assert page.language == "en-GB"
    assert page.licence == "https://site.example/cc-by"
    assert page.metas == (("robots", "noai"),)
    first, shared = page.images
    assert first.url == "https://site.example/dogs/a.jpg"
    assert texts_of(first) == {
        TextRole.ALT: ["A dog"],
        TextRole.TITLE: ["Rex", "Rex in May"],
        TextRole.CONTEXT: ["Before the dog. After the dog."],
    }
    assert {text.lang for text in first.texts} == {"en-GB"}
    assert shared.url == "https://site.example/share.jpg"
    assert texts_of(shared) == {TextRole.ALT: ["A shared dog"]}


def test_base_and_odd_urls() -> None:
    page = page_of(
        '<base href="//cdn.example/x/"><img src="a b.jpg"><img src="//other.example/c.jpg">'
        '<img src="HTTP://H/d.jpg"><img src="http://[bad/e.jpg"><img alt="none">'
    )
    assert [image.url for image in page.images] == [
        "https://cdn.example/x/a b.jpg",
        "https://other.example/c.jpg",
        "HTTP://H/d.jpg",
        "http://[bad/e.jpg",
        "",
    ]


def test_pictures_and_lazy_images() -> None:
    page = page_of(
        '<picture><source srcset="big.avif 2000w"><img src="small.jpg" alt="x"></picture>'
        '<img src="data:image/gif;base64,R0lGOD" data-src="late.jpg">'
        '<noscript><img src="late.jpg"></noscript>'
    )
    assert [image.url.rsplit("/", 1)[1] for image in page.images] == ["big.avif", "late.jpg"]


def test_the_same_image_with_other_words_is_another_pair() -> None:
    page = page_of("<img src=a alt=one><img src=a alt=two><img src=a alt=one>")
    assert [texts_of(image)[TextRole.ALT] for image in page.images] == [["one"], ["two"]]


def test_context_is_near_the_image() -> None:
    words = " ".join(f"w{number}" for number in range(1000))
    page = page_of(f"<p>{words}</p><img src=a><p>{words}</p>")
    (context,) = texts_of(page.images[0])[TextRole.CONTEXT]
    assert isinstance(context, str)
    assert "w999 w0" in context
    assert len(context) <= 2 * CONTEXT_CHARACTERS + 1


@pytest.mark.parametrize(
    ("body", "charset", "title"),
    [
        ("<meta charset=windows-1251><title>Привет</title>".encode("cp1251"), "", "Привет"),
        ("<title>Grüße</title>".encode("latin-1"), "iso-8859-1", "Grüße"),
        ("<title>Grüße</title>".encode(), "", "Grüße"),
        ("\ufeff<title>Grüße</title>".encode(), "latin1", "Grüße"),
        ("<title>犬</title>".encode("shift_jis"), "Shift_JIS", "犬"),
        (b"<title>x</title>", "no-such-charset", "x"),
        (b"<title>x</title>", "base64", "x"),
    ],
)
def test_encodings(body: bytes, charset: str, title: str) -> None:
    assert read_page(body, URL, charset).title == title


@given(st.binary(max_size=300))
def test_any_bytes_are_a_page(body: bytes) -> None:
    for data in (body, b"<img src=" + body + b">", b'<html lang="' + body):
        page = read_page(data, URL)
        for image in page.images:
            assert all(text.text for text in image.texts)


def test_hostile_pages_take_no_time() -> None:
    start = time.monotonic()
    for deep in (b"<div>" * 50_000, b"<DIV></x>" * 50_000, b"<b a=1><p>" * 50_000):
        with pytest.raises(PageError, match="elements open at once"):
            read_page(deep, URL)
    read_page(b"<ul>" * 4000 + b"<li><p>x<br>" * 20_000, URL)
    numbered = b"".join(b"<img src=%d><p>x" % number for number in range(20_000))
    page = read_page(b"<figure>" * 100 + numbered, URL)
    assert len(page.images) == MAX_IMAGES
    read_page(b"<picture>" + b"<source srcset=a><img src=b alt=c>" * 20_000, URL)
    read_page(b"<figure><figcaption>a" * 2_000 + b"<img src=b>", URL)
    read_page(b"<img src=a" + b" a=b" * 200_000, URL)
    many = b"".join(b"<img src=%d>" % number for number in range(10_000))
    long = b"word " * 200_000
    page = read_page(b"<figure><figcaption>" + long + b"</figcaption>" + many, URL)
    assert len(page.images[-1].texts[0].text) <= MAX_CAPTION_CHARACTERS
    page = read_page(b"<p>" + long + b"</p>" + many + long, URL)
    assert len(page.images[-1].texts[0].text) <= 2 * CONTEXT_CHARACTERS + 1
    assert time.monotonic() - start < 60
