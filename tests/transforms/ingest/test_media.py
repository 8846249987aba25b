from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from storage.folders import open_folder
from storage.names import check_name
from transforms.ingest.media import Refused, read_media, resolve


@pytest.mark.parametrize(
    ("path", "below", "name"),
    [
        ("a.jpg", "", "a.jpg"),
        (b"a.jpg", "train", "train/a.jpg"),
        ("./x//y/./a.jpg", "", "x/y/a.jpg"),
        (" a b.jpg ", "", "a b.jpg"),
        ("foo:bar.jpg", "", "foo:bar.jpg"),
        ("..jpg", "", "..jpg"),
        ("é.jpg".encode(), "", "é.jpg"),
    ],
)
def test_relative_paths_are_names(path, below, name):
    assert resolve(path, below) == name


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "//host/x", "../x.jpg", "a/../../x.jpg", "a/..", "file:///etc/passwd"),
        *("http://host/a.jpg", "gs://bucket/a.jpg", "data:image/png;base64,AAAA", "file:x"),
        *("C:\\a.jpg", "c:/a.jpg", "\\\\host\\a.jpg", "a\\b.jpg", "a\0b.jpg", "a\nb.jpg"),
        *("x" * 2000, "\ud800.jpg", b"\xff.jpg"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused(path):
    refused = resolve(path, "images")
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.MEDIA_REFUSED_PATH
    refused.error.encode("utf-8", "backslashreplace")


@pytest.mark.parametrize("path", ["", "  ", b""])
def test_an_empty_path_is_missing_media(path):
    refused = resolve(path)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.MEDIA_MISSING


@pytest.mark.parametrize("path", [".", "./", "//./"])
def test_a_path_without_a_file_is_refused(path):
    assert isinstance(resolve(path), Refused)


@given(st.text() | st.binary())
def test_what_is_not_refused_is_a_name_below(path):
    name = resolve(path, "images")
    if isinstance(name, str):
        assert check_name(name).startswith("images")
        assert ".." not in name.split("/")


def test_reads_media_up_to_the_limit(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"12345")
    (tmp_path / "folder").mkdir()
    folder = open_folder(str(tmp_path))
    assert read_media(folder, "a.jpg", 5) == b"12345"
    assert read_media(folder, "a.jpg", 4) == Refused(
        Reason.MEDIA_TOO_LARGE, "'a.jpg' has 5 bytes, more than 4"
    )
    for name in ("b.jpg", "folder", "a.jpg/x"):
        missing = read_media(folder, name, 5)
        assert isinstance(missing, Refused)
        assert missing.reason is Reason.MEDIA_MISSING


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"...")
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.jpg").symlink_to(tmp_path / "secret")
    found = read_media(open_folder(str(tmp_path / "media")), "a.jpg", 100)
    assert isinstance(found, Refused)
    assert found.reason is Reason.MEDIA_REFUSED_PATH
    assert "secret" not in found.error
