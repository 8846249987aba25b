from __future__ import annotations

import hashlib
import io
import tarfile

import pyarrow as pa
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.shards import INDEX, split_member
from transforms.shards.members import Member
from transforms.shards.write import write_shard

KEY = "{:032x}".format

members = st.dictionaries(
    st.sampled_from(["jpg", "txt", "json", "passage.txt", "npz"]),
    st.binary(max_size=2000),
    min_size=1,
).map(lambda found: [Member(extension, data) for extension, data in found.items()])


def shard_of(samples, path):
    return write_shard(((KEY(n), ones) for n, ones in enumerate(samples)), path)


@settings(max_examples=80)
@given(st.lists(members, max_size=8))
def test_the_index_says_where_every_member_is(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("tar") / "shard.tar"
    written = shard_of(samples, path)
    content = path.read_bytes()
    with tarfile.open(path) as tar:
        listed = [(one.name, one.offset_data, one.size) for one in tar]
    rows = written.index.to_pylist()
    assert [(row["member"], row["offset"], row["length"]) for row in rows] == listed
    for row in rows:
        data = content[row["offset"] : row["offset"] + row["length"]]
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert split_member(row["member"])[0] == row["key"]
    assert written.samples == len(samples)
    assert written.bytes == len(content)
    assert written.sha256 == hashlib.sha256(content).hexdigest()
    assert written.index.schema == INDEX


@settings(max_examples=40)
@given(st.lists(members, max_size=5))
def test_the_bytes_are_those_of_the_webdataset_library(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("tar") / "shard.tar"
    shard_of(samples, path)
    sink = io.BytesIO()
    fixed = {"mtime": 0, "user": "", "group": "", "mode": 0o644}
    with webdataset.TarWriter(sink, encoder=False, compress=False, **fixed) as writer:
        for n, ones in enumerate(samples):
            writer.write({"__key__": KEY(n)} | {one.extension: one.data for one in ones})
    assert path.read_bytes() == sink.getvalue()


def test_headers_are_fixed(tmp_path):
    shard_of([[Member("txt", b"a"), Member("jpg", b"b" * 600)]], tmp_path / "shard.tar")
    with tarfile.open(tmp_path / "shard.tar") as tar:
        infos = tar.getmembers()
    assert [info.name.partition(".")[2] for info in infos] == ["jpg", "txt"]
    for info in infos:
        assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")
        assert (info.mode, info.type, info.pax_headers) == (0o644, tarfile.REGTYPE, {})


def test_facts_of_members_come_into_the_index(tmp_path):
    image = Member("jpg", b"x", "ab" * 32, width=3, height=4)
    text = Member("txt", b"y", caption_tokens=5)
    rows = shard_of([[text, image]], tmp_path / "shard.tar").index.to_pylist()
    assert [(row["width"], row["height"], row["caption_tokens"]) for row in rows] == [
        (3, 4, None),
        (None, None, 5),
    ]
    assert rows[0]["sha256"] == "ab" * 32


def test_an_empty_shard_is_an_empty_tar(tmp_path):
    written = write_shard([], tmp_path / "shard.tar")
    assert (written.samples, written.bytes, len(written.index)) == (0, 10240, 0)
    assert isinstance(written.index, pa.Table)
    with tarfile.open(tmp_path / "shard.tar") as tar:
        assert tar.getmembers() == []


@pytest.mark.parametrize("key", ["img.v1", "a/b", "", "a\0"])
def test_keys_that_readers_would_split_elsewhere_are_refused(tmp_path, key):
    with pytest.raises(ValueError, match="shard key"):
        write_shard([(key, [Member("txt", b"")])], tmp_path / "shard.tar")


@pytest.mark.parametrize("extension", ["", "JPG", "a/b"])
def test_extensions_that_readers_would_change_are_refused(tmp_path, extension):
    with pytest.raises(ValueError, match="extension"):
        write_shard([("k", [Member(extension, b"")])], tmp_path / "shard.tar")


def test_what_comes_twice_is_refused(tmp_path):
    text = Member("txt", b"")
    with pytest.raises(ValueError, match="repeat"):
        write_shard([("k", [text, text])], tmp_path / "shard.tar")
    with pytest.raises(ValueError, match="'k': two samples"):
        write_shard([("k", [text]), ("k", [text])], tmp_path / "shard.tar")


def test_names_that_a_header_cannot_hold_are_refused(tmp_path):
    text = Member("txt", b"a")
    assert write_shard([("k" * 96, [text])], tmp_path / "shard.tar").samples == 1
    with pytest.raises(ValueError, match="does not fit a ustar header"):
        write_shard([("k" * 97, [text])], tmp_path / "shard.tar")
