import pytest

from transforms.signals.formats import FORMATS, describe


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no bytes"),
        (b"\xef\xbb\xbf\n <!doctype HTML><title>x</title>", "an HTML page"),
        (b"<!-- c --><html><svg/></html>", "an HTML page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG drawing"),
        (b"<?xml version='1.0'?><Error/>", "an XML document"),
        (b'{"error": 404}', "a JSON document"),
        (b"GIF89a", "a GIF with a damaged header"),
        (b"\0\0\0\x20ftypavif", "an AVIF with a damaged header"),
        (b"\0\0\0\x20ftypheic", "a HEIC image"),
        (b"\0\0\0\x20ftypisom", "an MP4 or QuickTime file"),
        (b"\xff\x0a\0\0", "a JPEG XL image"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"not found", "data of unknown format (starts with hex 6e6f7420666f756e)"),
    ],
)
def test_bytes_are_described(data: bytes, said: str) -> None:
    assert describe(data).startswith(said)


def test_a_refusal_names_what_is_accepted() -> None:
    assert describe(b"%PDF-1.7").endswith("; accepted are " + ", ".join(sorted(FORMATS)))
