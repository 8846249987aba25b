"""Reads the members of a tar as a stream, whatever is in it.

Nothing is ever written under a member's name: names are text, and members are bytes in memory, as
many as the caller asks for. Links, devices, directories and sparse files are passed over.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_HEADER_BYTES = 64 << 10
"""Most bytes of headers before one member: names have at most 4,096, hostile ones have no end."""

_GZIP_MAGIC = b"\x1f\x8b"
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_DAMAGE = (tarfile.ReadError, EOFError, gzip.BadGzipFile, zlib.error)
# What `tarfile` lets through from headers that make no sense.
_NONSENSE = (ValueError, IndexError, OverflowError, RecursionError)
_END = bytes(tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar.

    Attributes:
        name: as stored, with `/` between segments; bytes that are not UTF-8 as lone surrogates.
        size: bytes that it has.
        data: its first bytes, as many as were asked for.
    """

    name: str
    size: int
    data: bytes


class TarMembers:
    """The regular members of a tar, in order; iterate once.

    Attributes:
        broken: why reading stopped before the end of the archive; empty where it did not.
    """

    def __init__(self, file: BinaryIO, size: int, wanted: Callable[[str, int], int]) -> None:
        """Reads the tar in `file`.

        Args:
            file: the tar, seekable, at its start; gzip is recognised by content.
            size: bytes of the file.
            wanted: bytes to read of a member, by its name and size; the rest is skipped by a seek.
        """
        self.broken = ""
        self._file = file
        self._size = size
        self._wanted = wanted

    def __iter__(self) -> Iterator[Member]:
        if self._size == 0:
            self.broken = "the file is empty: 0 bytes"
            return
        packed = self._file.read(2) == _GZIP_MAGIC
        self._file.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=self._file) as stream:
                yield from self._members(stream, None)
        else:
            yield from self._members(self._file, self._size)

    def _members(self, stream: BinaryIO | gzip.GzipFile, size: int | None) -> Iterator[Member]:
        guarded = _GuardedFile(stream, size)
        try:
            tar = _open(guarded)
            at = -1
            while (info := _next_member(tar, guarded)) is not None:
                if info.size < 0 or info.offset_data <= at:
                    raise tarfile.ReadError(f"{info.name!r} leads back to where reading has been")
                at = info.offset_data
                if info.type not in _REGULAR or info.issparse():
                    continue
                if size is not None and at + info.size > size:
                    raise tarfile.ReadError(f"{info.name!r} ends after the end of the file")
                yield self._read(stream, info)
        except _DAMAGE as error:
            self.broken = f"the tar breaks off: {error}"

    def _read(self, stream: BinaryIO | gzip.GzipFile, info: tarfile.TarInfo) -> Member:
        length = min(info.size, self._wanted(info.name, info.size))
        data = stream.read(length)
        if len(data) < length:
            raise tarfile.ReadError(f"{info.name!r} has {length} bytes, {len(data)} are there")
        return Member(info.name, info.size, data)


class _GuardedFile:
    """What `tarfile` reads headers through: never more than a member may need."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, size: int | None) -> None:
        self._stream = stream
        self._size = size
        self.left = MAX_HEADER_BYTES
        self.last = b""

    def read(self, length: int) -> bytes:
        """Reads up to `length` bytes; `tarfile.ReadError` where headers have no end."""
        self.left -= length
        if length < 0 or self.left < 0:
            raise tarfile.ReadError(f"more than {MAX_HEADER_BYTES} bytes of headers for one member")
        self.last = self._stream.read(length)
        return self.last

    def seek(self, offset: int) -> int:
        """Moves forward to `offset`; `tarfile.ReadError` where the file ends before it."""
        if self._size is not None and offset >= self._size:
            raise tarfile.ReadError(f"byte {offset} was expected, the file has {self._size}")
        return self._stream.seek(offset)

    def tell(self) -> int:
        """Returns the position."""
        return self._stream.tell()


def _open(file: _GuardedFile) -> tarfile.TarFile:
    try:
        return tarfile.TarFile(fileobj=file)  # type: ignore[arg-type]
    except _NONSENSE as error:
        raise tarfile.ReadError(f"a header makes no sense: {error}") from error


def _next_member(tar: tarfile.TarFile, file: _GuardedFile) -> tarfile.TarInfo | None:
    """Returns the header of the next member; None at the end of the archive."""
    file.left = MAX_HEADER_BYTES
    try:
        info = tar.next()
    except _NONSENSE as error:
        raise tarfile.ReadError(f"a header makes no sense: {error}") from error
    # It would remember every member.
    tar.members.clear()  # type: ignore[attr-defined]
    if info is None and file.last != _END:
        # It ends quietly where a header is damaged or missing.
        raise tarfile.ReadError(f"no valid header, and no end of the archive, at byte {tar.offset}")
    return info
