"""Positional readers and the file over them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.local import LocalFolder
from storage.readers import LocalReader, ReaderFile

DATA = bytes(number % 251 for number in range(1000))


@pytest.fixture
def reader(tmp_path: Path) -> LocalReader:
    folder = LocalFolder(str(tmp_path))
    folder.create("data", DATA)
    return folder.open_reader("data")


def test_a_closed_reader_reads_nothing(reader: LocalReader) -> None:
    with reader:
        assert reader.read_at(5, 3) == DATA[5:8]
    with pytest.raises(ValueError, match="closed"):
        reader.read_at(5, 3)


def test_pieces_of_a_large_read_are_put_together(
    reader: LocalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, length, at: pread(file, min(length, 64), at))
    with reader:
        assert reader.read_at(1, 900) == DATA[1:901]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, 1200), st.just(os.SEEK_SET)),
        st.tuples(st.just("seek"), st.integers(-1000, 200), st.just(os.SEEK_END)),
        st.tuples(st.just("read"), st.integers(-1, 400)),
        st.tuples(st.just("tell")),
    ),
    max_size=20,
)


class BytesReader:
    """A `Reader` over `DATA` that refuses what a file must not ask for."""

    size = len(DATA)

    def read_at(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert 0 < length <= len(DATA) - offset
        return DATA[offset : offset + length]

    def close(self) -> None: ...

    def __enter__(self) -> BytesReader:
        return self

    def __exit__(self, *raised: object) -> None: ...


@given(steps, st.integers(1, 300))
def test_the_file_behaves_like_one_in_memory(
    calls: list[tuple[str, int]], buffer_bytes: int
) -> None:
    file = io.BufferedReader(ReaderFile(BytesReader()), buffer_bytes)
    twin = io.BytesIO(DATA)
    for method, *arguments in calls:
        assert getattr(file, method)(*arguments) == getattr(twin, method)(*arguments)


def test_a_seek_before_the_start_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot seek to -1"):
        ReaderFile(BytesReader()).seek(-1)
