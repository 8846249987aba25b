from __future__ import annotations

import json

import pytest

from schemas.reasons import Reason
from schemas.recipe import Ingest
from schemas.samples import TextRole
from schemas.sources import FolderSource
from storage.folders import Entry, open_folder
from transforms.ingest.image_folders import read_images


@pytest.fixture
def read(tmp_path, read_source):
    def read_files(files, limits=None):
        for name, data in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        source = FolderSource(name="f", type="folder", path=str(tmp_path), licence="CC-BY")
        return {sample.locator: sample for sample in read_source(source, limits)}

    return read_files


def test_sidecars_beside_images(read, image):
    described = {
        "caption": "from json",
        "title": "T",
        "description": "D",
        "keywords": ["k"],
        "licence": "CC0",
        "credit_line": "Ann",
        "year": 1999,
    }
    found = read(
        {
            "a.jpg": image(1),
            "a.txt": b"\xef\xbb\xbffrom text\r\n",
            "sub/a.PNG": image(2),
            "sub/a.json": described,
            "b.v1.jpg": image(3),
            "b.v1.TXT": b"dotted",
            "c.jpg": image(4),
            "readme.txt": b"no image of this name",
        }
    )
    assert list(found) == ["a.jpg", "b.v1.jpg", "c.jpg", "sub/a.PNG"]
    assert [text.text for text in found["a.jpg"].texts] == ["from text"]
    assert found["a.jpg"].licence == "CC-BY"
    assert found["a.jpg"].media[0].data == image(1)
    assert [text.text for text in found["b.v1.jpg"].texts] == ["dotted"]
    sub = found["sub/a.PNG"]
    assert [(text.role, text.text) for text in sub.texts] == [
        (TextRole.ALT, "from json"),
        (TextRole.TITLE, "T"),
        (TextRole.CONTEXT, "D"),
        (TextRole.KEYWORD, "k"),
    ]
    assert (sub.licence, sub.attribution, sub.meta) == ("CC0", "Ann", {"year": 1999})
    assert found["c.jpg"].reason is Reason.TEXT_MISSING


def test_text_comes_before_json_and_images_may_share_both(read):
    found = read({"a.jpg": b"1", "a.png": b"2", "a.txt": b"text", "a.json": {"alt": "json"}})
    for name in ("a.jpg", "a.png"):
        assert [text.text for text in found[name].texts] == ["text", "json"]


def test_limits(read):
    limits = Ingest(max_media_bytes=10, max_text_bytes=5)
    found = read(
        {"a.jpg": b"1" * 11, "a.txt": b"t", "b.jpg": b"1" * 10, "b.txt": b"123456"}, limits
    )
    assert found["a.jpg"].reason is Reason.MEDIA_TOO_LARGE
    assert found["b.jpg"].reason is Reason.TEXT_TOO_LARGE


def test_broken_json(read):
    found = read({"a.jpg": b"1", "a.json": b"{", "b.jpg": b"1", "b.json": b"{", "b.txt": b"t"})
    assert found["a.jpg"].reason is Reason.ROW_MALFORMED
    assert found["b.jpg"].reason is None
    assert found["b.jpg"].error.startswith("json cannot be parsed: ")


def test_empty_images_are_for_measure_to_refuse(read):
    assert read({"a.jpg": b"", "a.txt": b"t"})["a.jpg"].reason is None


def test_an_image_that_has_gone_is_missing(tmp_path):
    gone = Entry("a.jpg", 3, None)
    (sample,) = read_images(open_folder(str(tmp_path)), [gone], Ingest())
    assert (sample.locator, sample.reason) == ("a.jpg", Reason.MEDIA_MISSING)
