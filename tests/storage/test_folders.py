"""The contract of a folder, asserted on a local disk and on two object stores."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.errors import StorageError
from storage.folders import Folder, open_folder
from storage.local import LocalFolder
from storage.ranges import read_many

NAMES = [
    "a.txt",
    "a/b.txt",
    "a/c/d.txt",
    "ab.txt",
    "b #%?&=+;,@~!$'()*[].jpg",
    "z",
    "é/ﬀ 日本語.jpg",
    "\uffee.png",
    "\U0001f600.png",
]
"""In byte order of UTF-8, which is not that of UTF-16."""


@pytest.fixture(params=["local", "gcs_emulator", "fake_gcs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return open_folder(str(tmp_path / "not yet" / "there"))
    bucket = "gcs_bucket" if request.param == "gcs_emulator" else "fake_gcs_bucket"
    return open_folder(f"{request.getfixturevalue(bucket)}/not yet/there")


def names(folder: Folder, prefix: str = "") -> list[str]:
    return [entry.name for entry in folder.list(prefix)]


def test_an_empty_folder_has_no_files(folder: Folder) -> None:
    assert list(folder.list()) == []
    assert list(folder.list("a/")) == []
    assert not folder.exists("a")
    assert folder.stat("a") is None


def test_content_comes_back_as_it_was_created(folder: Folder) -> None:
    for data in (b"", b"x", bytes(range(256)) * 400):
        name = f"data/{len(data)}"
        assert folder.create(name, data)
        assert folder.read(name) == data
        assert folder.exists(name)
        entry = folder.stat(name)
        assert entry is not None
        assert (entry.name, entry.size) == (name, len(data))


def test_the_first_commit_wins(folder: Folder) -> None:
    assert folder.create("part.parquet", b"first") is True
    assert folder.create("part.parquet", b"second") is False
    assert folder.create("part.parquet", b"first") is False
    assert folder.read("part.parquet") == b"first"


def test_create_takes_a_file_and_leaves_it(folder: Folder, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"content")
    assert folder.create("copy", source)
    assert not folder.create("copy", source)
    source.write_bytes(b"changed")
    assert folder.read("copy") == b"content"


def test_create_takes_a_temporary_file(folder: Folder) -> None:
    with folder.temporary_file() as path:
        assert path.read_bytes() == b""
        path.write_bytes(b"built")
        assert names(folder) == []
        assert folder.create("deep/er/built", path)
        assert not folder.create("deep/er/built", path)
    assert not path.exists()
    assert folder.read("deep/er/built") == b"built"
    assert names(folder) == ["deep/er/built"]


def test_listing_is_recursive_and_sorted_by_bytes(folder: Folder) -> None:
    for name in reversed(NAMES):
        folder.create(name, name.encode())
    listed = list(folder.list())
    assert [entry.name for entry in listed] == NAMES
    assert [entry.size for entry in listed] == [len(name.encode()) for name in NAMES]
    assert [folder.read(name) for name in NAMES] == [name.encode() for name in NAMES]


def test_a_prefix_is_one_of_characters_not_of_segments(folder: Folder) -> None:
    for name in NAMES:
        folder.create(name, b"")
    assert names(folder, "a") == ["a.txt", "a/b.txt", "a/c/d.txt", "ab.txt"]
    assert names(folder, "a/") == ["a/b.txt", "a/c/d.txt"]
    assert names(folder, "a/c") == ["a/c/d.txt"]
    assert names(folder, "a/b.txt") == ["a/b.txt"]
    assert names(folder, "a/b.txt/") == []
    assert names(folder, "nothing") == []


def test_a_child_sees_only_its_own_files(folder: Folder) -> None:
    folder.create("a/x", b"1")
    folder.create("ab/x", b"2")
    child = folder.child("a")
    assert names(child) == ["x"]
    assert child.read("x") == b"1"
    assert child.child("b").create("y", b"3")
    assert names(folder) == ["a/b/y", "a/x", "ab/x"]
    assert child.locate("x") == folder.locate("a/x") == f"{folder.uri}/a/x"


def test_a_folder_travels_by_pickle_and_by_uri(folder: Folder) -> None:
    folder.create("a/x", b"1")
    child = folder.child("a")
    assert pickle.loads(pickle.dumps(child)) == child  # noqa: S301 - our own bytes
    assert len(pickle.dumps(child)) < 400
    assert open_folder(child.uri).read("x") == b"1"


def test_ranges(folder: Folder) -> None:
    folder.create("data", bytes(range(100)))
    assert folder.read_range("data", 10, 5) == bytes(range(10, 15))
    assert folder.read_range("data", 99, 1) == b"\x63"
    assert folder.read_range("data", 0, 100) == bytes(range(100))
    assert folder.read_range("data", 100, 0) == b""


@pytest.mark.parametrize(("offset", "length"), [(99, 2), (0, 101), (100, 1), (5000, 10)])
def test_a_range_past_the_end_is_an_error(folder: Folder, offset: int, length: int) -> None:
    folder.create("data", bytes(range(100)))
    with pytest.raises(StorageError, match=r"data.*ends at 100"):
        folder.read_range("data", offset, length)
    with (
        folder.open_reader("data") as reader,
        pytest.raises(StorageError, match=r"data.*ends at 100"),
    ):
        reader.read_at(offset, length)


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, -1)])
def test_a_negative_range_is_refused(folder: Folder, offset: int, length: int) -> None:
    folder.create("data", b"x")
    with pytest.raises(ValueError, match="0 or more"):
        folder.read_range("data", offset, length)


def test_a_reader_serves_many_threads(folder: Folder) -> None:
    data = bytes(range(256)) * 1024
    folder.create("data", data)
    offsets = range(0, len(data) - 100, 9973)
    with folder.open_reader("data") as reader, ThreadPoolExecutor(8) as pool:
        assert reader.size == len(data)
        parts = list(pool.map(lambda offset: reader.read_at(offset, 100), offsets))
    assert parts == [data[offset : offset + 100] for offset in offsets]


def test_many_ranges_come_back_in_the_order_asked(folder: Folder) -> None:
    data = bytes(range(256)) * 1024
    folder.create("data", data)
    ranges = [(200_000, 10), (0, 1), (5, 0), (0, 1), (262_144 - 3, 3), (100, 5000)]
    wanted = [data[offset : offset + length] for offset, length in ranges]
    assert read_many(folder, "data", ranges) == wanted
    with ThreadPoolExecutor(2) as pool:
        assert read_many(folder, "data", ranges, pool=pool) == wanted


def test_open_is_seekable_and_buffered(folder: Folder) -> None:
    data = bytes(range(256)) * 64
    folder.create("data", data)
    with folder.open("data") as file:
        assert file.read(3) == data[:3]
        assert file.seek(-2, io.SEEK_END) == len(data) - 2
        assert file.read() == data[-2:]
        assert file.read() == b""
        file.seek(256)
        assert file.read() == data[256:]
        file.seek(10)
        file.seek(10, io.SEEK_CUR)
        assert file.tell() == 20
        assert file.read(5) == data[20:25]
    assert file.closed


def test_parquet_reads_through_open(folder: Folder) -> None:
    table = pa.table({"id": list(range(5000)), "text": [str(i) for i in range(5000)]})
    with folder.temporary_file() as path:
        pq.write_table(table, path, row_group_size=1000)
        folder.create("table.parquet", path)
    with folder.open("table.parquet") as file:
        parquet = pq.ParquetFile(file)
        assert parquet.num_row_groups == 5
        assert parquet.read_row_group(3, columns=["id"]).column("id")[0].as_py() == 3000
        assert parquet.read(use_threads=False) == table


def test_tarfile_reads_through_open(folder: Folder) -> None:
    with folder.temporary_file() as path:
        with tarfile.open(path, "w") as tar:
            for number in range(20):
                member = tarfile.TarInfo(f"{number}.txt")
                member.size = 1000
                tar.addfile(member, io.BytesIO(bytes([number]) * 1000))
        folder.create("shard.tar", path)
    with folder.open("shard.tar") as file, tarfile.open(fileobj=file) as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == [f"{number}.txt" for number in range(20)]
        last = tar.extractfile(members[19])
        assert last is not None
        assert last.read() == bytes([19]) * 1000
    offset, size = members[7].offset_data, members[7].size
    assert folder.read_range("shard.tar", offset, size) == bytes([7]) * 1000


@pytest.mark.parametrize("read", ["read", "open", "open_reader", "checksum"])
def test_a_missing_file_is_named(folder: Folder, read: str) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        getattr(folder, read)("not/here")
    assert raised.value.filename == folder.locate("not/here")


def test_a_range_of_a_missing_file(folder: Folder) -> None:
    with pytest.raises(FileNotFoundError):
        folder.read_range("not/here", 0, 1)


def test_replace_writes_again_and_again(folder: Folder) -> None:
    for data in (b"one", b"two, longer", b""):
        folder.replace("runs/measure.json", data)
        assert folder.read("runs/measure.json") == data
    assert names(folder) == ["runs/measure.json"]
    assert not folder.create("runs/measure.json", b"other")


def test_delete(folder: Folder) -> None:
    folder.create("a/x", b"1")
    folder.delete("a/x")
    folder.delete("a/x")
    folder.delete("never")
    assert names(folder) == []
    assert folder.create("a/x", b"2")


def test_a_folder_is_not_a_file(folder: Folder) -> None:
    folder.create("a/x", b"1")
    assert not folder.exists("a")
    assert folder.stat("a") is None
    folder.delete("a")
    with pytest.raises(FileNotFoundError):
        folder.read("a")
    with pytest.raises(FileNotFoundError):
        folder.read("a/x/y")
    assert folder.read("a/x") == b"1"


def test_the_checksum_is_of_the_content(folder: Folder) -> None:
    folder.create("1", b"123456789")
    folder.create("2", b"123456789")
    folder.create("3", b"123456780")
    first, second, third = (folder.checksum(name) for name in "123")
    assert first == second != third
    # e3069283 is the check value of CRC-32C.
    blake2b = hashlib.blake2b(b"123456789", digest_size=16).hexdigest()
    assert first in {"crc32c:e3069283", f"blake2b:{blake2b}"}
    for entry in folder.list():
        assert entry.checksum in (None, folder.checksum(entry.name))
        assert folder.stat(entry.name) == entry


@pytest.mark.parametrize("name", ["../x", "/x", "a//x", "", "a\\x", "a\0", ".tmp-mixwright-x"])
def test_every_method_refuses_a_bad_name(folder: Folder, name: str) -> None:
    for method in ("child", "locate", "exists", "stat", "read", "open", "open_reader", "delete"):
        with pytest.raises(ValueError, match="file name"):
            getattr(folder, method)(name)
    with pytest.raises(ValueError, match="file name"):
        folder.create(name, b"x")
    with pytest.raises(ValueError, match="file name"):
        folder.replace(name, b"x")
    with pytest.raises(ValueError, match="file name"):
        folder.read_range(name, 0, 1)
    if name:
        with pytest.raises(ValueError, match="file name"):
            folder.list(name)


def test_sweep_spares_young_temporaries(folder: Folder) -> None:
    with folder.temporary_file() as path:
        folder.sweep(older_than_s=3600)
        assert path.exists()


def test_a_local_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert open_folder("work") == LocalFolder(f"{tmp_path}/work")
    assert open_folder("./a/../work/") == LocalFolder(f"{tmp_path}/work")
    assert open_folder("~/work").uri == f"{tmp_path}/home/work"
    assert open_folder("/data:old").uri == "/data:old"
    assert open_folder("/").locate("x") == "/x"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://bucket/x", r"'s3://bucket/x': scheme 's3' is not supported.*gs://bucket"),
        ("https://host/x", "scheme 'https'"),
        ("file:///x", "scheme 'file'"),
        ("gs:/bucket/x", "gs://bucket"),
        ("", "not a path"),
        ("a\0b", "not a path"),
        ("gs://", "bucket ''"),
        ("gs://bb/x", "bucket 'bb' is not a valid name: 3 to"),
        ("gs://Bucket/x", "bucket 'Bucket'"),
        ("gs://bucket//x", "absolute"),
        ("gs://bucket/a/../x", r"'\.\.'"),
    ],
)
def test_a_bad_uri_is_named_with_what_is_supported(uri: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_folder(uri)


def test_a_bucket_uri() -> None:
    assert open_folder("gs://bucket").uri == "gs://bucket"
    assert open_folder("gs://bucket/").uri == "gs://bucket"
    assert open_folder("gs://bucket/work/").uri == "gs://bucket/work"
    assert open_folder("gs://bucket").locate("x") == "gs://bucket/x"
    assert open_folder("gs://bucket/work").child("a").locate("x") == "gs://bucket/work/a/x"
