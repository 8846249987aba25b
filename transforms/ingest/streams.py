"""Text files as streams of bytes: unpacked, without byte order mark, and whole to the last line."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES = 1 << 20

MAX_HELD_BYTES = 4 << 20
"""So much of a line is held back until its end is seen."""

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_CHUNK_BYTES = 64 << 10
_UTF8_BOM = b"\xef\xbb\xbf"


class TextStream(io.RawIOBase):
    """The bytes of a text file, plain or packed with gzip or zstd, which content tells.

    Where a packed file breaks off, the stream ends after the last whole line before the break: half
    a line could pass for a row.

    Attributes:
        broken: why the stream ended before its end; empty where it did not.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Reads the text in `file`, which is seekable and at its start."""
        self.broken = ""
        self._next_chunk = _unpack(file)
        self._ready = memoryview(b"")
        self._held = self._chunk().removeprefix(_UTF8_BOM)
        self._ended = not self._held

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills `buffer` with what is in hand; returns the bytes, 0 at the end."""
        while not self._ready and not self._ended:
            self._fill()
        view = memoryview(buffer).cast("B")
        length = min(len(view), len(self._ready))
        view[:length] = self._ready[:length]
        self._ready = self._ready[length:]
        return length

    def _fill(self) -> None:
        """Makes the next whole lines ready."""
        chunk = self._chunk()
        data = self._held + chunk
        self._ended = not chunk
        whole = data.rfind(b"\n") + 1
        if (self._ended and not self.broken) or len(data) - whole > MAX_HELD_BYTES:
            whole = len(data)
        self._ready, self._held = memoryview(data)[:whole], data[whole:]

    def _chunk(self) -> bytes:
        """Returns the next bytes; none at the end, or where the file breaks off."""
        try:
            return self._next_chunk()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.broken = f"the file breaks off: {error}"
        except OSError as error:
            # pyarrow reports damage as a bare OSError without a number; storage has its own.
            if type(error) is not OSError or error.errno is not None:
                raise
            self.broken = f"the file breaks off: {error}"
        return b""


def _unpack(file: BinaryIO) -> Callable[[], bytes]:
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(_GZIP_MAGIC):
        # `read` would lose what it has when a break follows; `read1` hands it out first.
        unpacked = gzip.GzipFile(fileobj=file)
        return lambda: unpacked.read1(CHUNK_BYTES)
    if magic == _ZSTD_MAGIC:
        stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
        return lambda: bytes(stream.read(_ZSTD_CHUNK_BYTES))
    return lambda: file.read(CHUNK_BYTES)
