from __future__ import annotations

import hashlib
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.digests import media_id
from schemas.layout import Part
from transforms.parts.media import MediaTar

PART = Part("i0", "web", "part-00000000000000aa")


def write(path, media):
    """Returns the closed tar of these media, and where each lies."""
    with MediaTar(path, PART) as tar:
        return tar, [tar.add(media_id(data), data) for data in media]


@given(st.lists(st.binary(max_size=1500), max_size=6))
def test_media_are_where_the_tar_says(tmp_path_factory, media):
    path = tmp_path_factory.mktemp("tar") / "media.tar"
    tar, places = write(path, media)
    data = path.read_bytes()
    assert [data[offset : offset + length] for offset, length in places] == media
    assert tar.empty == (not media)
    assert tar.name == f"{PART.name}.{hashlib.sha256(data).hexdigest()[:32]}.tar"


def test_media_are_stored_once_and_found_by_any_reader(tmp_path):
    media = [b"one", b"two" * 512, b"one", b""]
    path = tmp_path / "media.tar"
    _, places = write(path, media)
    assert places[0] == places[2]
    with tarfile.open(path) as opened:
        members = {info.name: (info.offset_data, info.size) for info in opened}
        assert {info.mtime for info in opened} == {0}
        assert {(info.uid, info.uname, info.mode) for info in opened} == {(0, "", 0o644)}
    assert members == {media_id(data): place for data, place in zip(media, places, strict=True)}


def test_the_same_media_in_the_same_order_give_the_same_name(tmp_path):
    one, _ = write(tmp_path / "one.tar", [b"a", b"b"])
    again, _ = write(tmp_path / "again.tar", [b"a", b"b", b"a"])
    other, _ = write(tmp_path / "other.tar", [b"b", b"a"])
    assert one.name == again.name != other.name
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "again.tar").read_bytes()


def test_what_goes_wrong_in_the_body_is_raised(tmp_path):
    with pytest.raises(KeyError, match="mine"), MediaTar(tmp_path / "media.tar", PART):
        raise KeyError("mine")
