from __future__ import annotations

import gzip
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StorageError
from transforms.ingest.streams import TextStream

TEXT = b"".join(b"%07d,abc\n" % number for number in range(200_000))


def pack(kind: str, data: bytes) -> bytes:
    if kind == "gzip":
        return gzip.compress(data, 1, mtime=0)
    return pa.compress(data, "zstd", asbytes=True) if kind == "zstd" else data


def unpack(packed: bytes) -> tuple[bytes, str]:
    stream = TextStream(io.BytesIO(packed))
    return io.BufferedReader(stream).read(), stream.broken


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd"])
def test_reads_what_was_packed_without_byte_order_mark(kind):
    assert unpack(pack(kind, b"\xef\xbb\xbf" + TEXT + b"tail")) == (TEXT + b"tail", "")
    assert unpack(pack(kind, b"")) == (b"", "")


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_several_packed_pieces_in_a_row(kind):
    assert unpack(pack(kind, b"a\n") + pack(kind, b"b\n")) == (b"a\nb\n", "")


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_break_leaves_whole_lines_and_says_so(kind, share):
    packed = pack(kind, TEXT)
    read, broken = unpack(packed[: int(len(packed) * share)])
    assert TEXT.startswith(read)
    assert read.endswith(b"\n")
    assert len(read) > len(TEXT) * (share - 0.2)
    assert broken.startswith("the file breaks off: ")


def test_damage_within_is_a_break_too():
    packed = bytearray(gzip.compress(TEXT, 1))
    packed[len(packed) // 2 : len(packed) // 2 + 50] = bytes(50)
    read, broken = unpack(bytes(packed))
    assert broken
    assert read.startswith(TEXT[:1000])
    assert unpack(b"\x1f\x8bgarbage")[1] != ""
    assert unpack(b"\x28\xb5\x2f\xfdgarbage")[1] != ""


def test_errors_of_storage_are_not_damage():
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 0:
                raise StorageError("gave up")
            return super().read(size)

    for kind in ("gzip", "zstd"):
        with pytest.raises(StorageError):
            unpacked = TextStream(Failing(pack(kind, TEXT)))
            io.BufferedReader(unpacked).read()


@given(st.binary(max_size=300))
def test_plain_bytes_come_through(data):
    if not data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        assert unpack(data) == (data.removeprefix(b"\xef\xbb\xbf"), "")
