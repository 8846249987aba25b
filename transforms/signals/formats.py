"""Image formats that are accepted, and names for what is not."""

from __future__ import annotations

FORMATS = {
    "AVIF": "image/avif",
    "BMP": "image/bmp",
    "GIF": "image/gif",
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
}
"""Media type of each accepted format, by Pillow's name for it."""

_HEAD_BYTES = 1024
_MARKUP = (
    (b"<html", "an HTML page"),
    (b"<!doctype html", "an HTML page"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
)
# Offset, magic bytes, name. Bytes of an accepted format come here only if its header is damaged.
_ACCEPTED_MAGIC = (
    (0, b"\xff\xd8\xff", "a JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG"),
    (0, b"GIF8", "a GIF"),
    (8, b"WEBP", "a WebP"),
    (4, b"ftypavi", "an AVIF"),
    (0, b"II*\x00", "a TIFF"),
    (0, b"MM\x00*", "a TIFF"),
    (0, b"BM", "a BMP"),
)
_OTHER_MAGIC = (
    (4, b"ftyphei", "a HEIC image"),
    (4, b"ftyphev", "a HEIC image"),
    (4, b"ftypmif1", "a HEIF image"),
    (4, b"ftyp", "an MP4 or QuickTime file"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"\x00\x00\x01\x00", "an ICO image"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"{", "a JSON document"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM file"),
)


def describe(data: bytes) -> str:
    """Says, for people, why bytes that no accepted decoder recognises are not an image."""
    if not data:
        return "no bytes"
    head = data[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for mark, name in _MARKUP:
        if mark in head and head.startswith(b"<"):
            return _refuse(name)
    for offset, magic, name in _ACCEPTED_MAGIC:
        if data.startswith(magic, offset):
            return f"{name} with a damaged header"
    for offset, magic, name in _OTHER_MAGIC:
        if data.startswith(magic, offset):
            return _refuse(name)
    return _refuse(f"data of unknown format (starts with hex {data[:8].hex()})")


def _refuse(what: str) -> str:
    return f"{what}; accepted are {', '.join(sorted(FORMATS))}"
