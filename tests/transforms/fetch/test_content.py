from __future__ import annotations

import io

import pytest
from PIL import Image

from transforms.fetch.content import HEAD_BYTES, refuse_content_type, refuse_head


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_images_begin_like_images(kind: str) -> None:
    sink = io.BytesIO()
    Image.new("RGB", (64, 64)).save(sink, kind)
    assert refuse_head(sink.getvalue()[:HEAD_BYTES]) == ""


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "0 bytes"),
        (b"<!doctype html><html><body>", "an HTML page"),
        (b'<?xml version="1.0"?><svg/>', "an SVG drawing"),
        (b"\x00\x00\x00\x20ftypisom\x00\x00", "MP4"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "unknown format"),
    ],
)
def test_other_things_do_not(body: bytes, what: str) -> None:
    assert what in refuse_head(body)


@pytest.mark.parametrize(
    "value", ["", "image/jpeg", "IMAGE/PNG; charset=binary", "application/octet-stream", " image/x"]
)
def test_content_types_that_may_be_images(value: str) -> None:
    assert refuse_content_type(value) == ""


@pytest.mark.parametrize("value", ["text/html; charset=utf-8", "application/json", "imagery", ";"])
def test_content_types_that_are_none(value: str) -> None:
    assert bool(refuse_content_type(value)) == (value != ";")
