"""Positional readers: many ranges of one file, from many threads."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Protocol, Self

from storage.errors import short_read

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import WriteableBuffer


class Reader(Protocol):
    """An open file that is read by position. Threads may share it; processes may not."""

    @property
    def size(self) -> int:
        """Bytes of the file when it was opened."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Returns exactly `length` bytes from `offset`.

        Raises:
            StorageError: the file ends before `offset + length`, or could not be read.
        """
        ...

    def close(self) -> None:
        """Releases the file; reading from it afterwards is a `ValueError`."""
        ...

    def __enter__(self) -> Self:
        """Returns the reader."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the reader."""
        ...


class LocalReader:
    """A `Reader` over one file descriptor, by `pread`."""

    def __init__(self, file: io.FileIO, location: str) -> None:
        self._file = file
        self._location = location
        self._size = os.fstat(file.fileno()).st_size

    @property
    def size(self) -> int:
        """Bytes of the file when it was opened."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Returns exactly `length` bytes from `offset`; see `Reader`."""
        check_range(offset, length)
        data = os.pread(self._file.fileno(), length, offset)
        if len(data) == length:
            return data
        # One call reads at most 2 GiB less a page.
        parts = [data]
        got = len(data)
        while data and got < length:
            data = os.pread(self._file.fileno(), length - got, offset + got)
            parts.append(data)
            got += len(data)
        if got < length:
            size = os.fstat(self._file.fileno()).st_size
            raise short_read(self._location, offset, length, size)
        return b"".join(parts)

    def close(self) -> None:
        """Closes the descriptor."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ReaderFile(io.RawIOBase):
    """A seekable raw file over a `Reader`, which it closes; wrap it in `io.BufferedReader`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._position = 0

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def tell(self) -> int:
        """Returns the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to `offset` from the start, the position or the end; returns the position."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._reader.size}
        position = origin[whence] + offset
        if position < 0:
            raise ValueError(f"cannot seek to {position}: positions are 0 or more")
        self._position = position
        return position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills `buffer` from the position; returns the bytes read, 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self._read(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """Returns the rest in one read; the inherited one asks for 8 KiB at a time."""
        return self._read(self._reader.size)

    def close(self) -> None:
        """Closes the reader too."""
        self._reader.close()
        super().close()

    def _read(self, at_most: int) -> bytes:
        length = max(0, min(at_most, self._reader.size - self._position))
        data = self._reader.read_at(self._position, length) if length else b""
        self._position += length
        return data


def check_range(offset: int, length: int) -> None:
    """Refuses what cannot be a range of a file.

    Raises:
        ValueError: `offset` or `length` is negative.
    """
    if offset < 0 or length < 0:
        raise ValueError(f"range ({offset}, {length}): offset and length are 0 or more")
