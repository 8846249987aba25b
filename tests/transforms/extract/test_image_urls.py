from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.extract.image_urls import (
    SrcsetCandidate,
    choose_url,
    decode_data_url,
    parse_srcset,
)

GIF = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", []),
        (" , ,", []),
        ("a.jpg", [SrcsetCandidate("a.jpg")]),
        ("a.jpg 1x, b.jpg 2x", [SrcsetCandidate("a.jpg"), SrcsetCandidate("b.jpg", 0, 2.0)]),
        (
            "a.jpg 320w,\n b.jpg 1024w",
            [SrcsetCandidate("a.jpg", 320), SrcsetCandidate("b.jpg", 1024)],
        ),
        ("a,b,c.jpg 100w, d.jpg", [SrcsetCandidate("a,b,c.jpg", 100), SrcsetCandidate("d.jpg")]),
        ("a.jpg 100w 50h", [SrcsetCandidate("a.jpg", 100)]),
        ("a.jpg nonsense, b.jpg -5x", [SrcsetCandidate("a.jpg"), SrcsetCandidate("b.jpg")]),
    ],
)
def test_srcset(value: str, wanted: list[SrcsetCandidate]) -> None:
    assert parse_srcset(value) == wanted


@pytest.mark.parametrize(
    ("attributes", "sources", "wanted"),
    [
        ({}, [], ""),
        ({"src": "a.jpg"}, [], "a.jpg"),
        ({"src": "a.jpg", "srcset": "b.jpg 1x"}, [], "a.jpg"),
        ({"src": "a.jpg", "srcset": "b.jpg 2x"}, [], "b.jpg"),
        ({"src": "a.jpg", "srcset": "b.jpg 320w, c.jpg 640w"}, [], "c.jpg"),
        ({"src": "a.jpg"}, ["w.webp 800w, x.webp 400w"], "w.webp"),
        ({"src": GIF, "data-src": "late.jpg"}, [], "late.jpg"),
        ({"src": GIF, "data-srcset": "l.jpg 1x"}, [], "l.jpg"),
        ({"src": "", "data-original": "late.jpg"}, [], "late.jpg"),
        ({"src": "a.jpg", "data-src": "late.jpg"}, [], "a.jpg"),
        ({"src": GIF}, [], GIF),
    ],
)
def test_the_largest_version_is_taken(
    attributes: dict[str, str], sources: list[str], wanted: str
) -> None:
    assert choose_url(attributes, sources) == wanted


@given(st.text(st.characters(codec="utf-8") | st.sampled_from(" ,wx1\n"), max_size=80))
def test_any_srcset_can_be_read(value: str) -> None:
    for candidate in parse_srcset(value):
        assert candidate.url
        assert candidate.url.split() == [candidate.url]
        assert candidate.width >= 0
        assert candidate.density > 0


def test_a_long_srcset_takes_no_time() -> None:
    assert len(parse_srcset("a" * 100_000 + "," * 100_000)) == 1
    assert len(parse_srcset("a 1w, " * 100_000)) == 100
    assert parse_srcset(" " * 200_000) == []


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:,a%20b", b"a b"),
        ("DATA:text/plain;charset=utf-8,x", b"x"),
        ("data:image/gif;base64,R0lG", b"GIF"),
        ("data:image/gif;base64,R0 lG\n", b"GIF"),
        ("data:image/gif;base64,R0lGOA", b"GIF8"),
        ("data:nothing", None),
        ("http://h/", None),
    ],
)
def test_data_urls(url: str, data: bytes | None) -> None:
    assert decode_data_url(url) == data


def test_data_urls_that_are_broken() -> None:
    assert decode_data_url("data:;base64,A") is None
