r"""Lists as Conceptual Captions publishes them, made into TSV that any reader takes.

CC3M has `caption \t url`, CC12M `url \t caption`; neither has a header, and quotes are plain
characters.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from transforms.ingest.streams import TextStream

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LINES_BYTES = 1 << 20
_LONGEST_LINE = 4 << 20


class CcLines(io.RawIOBase):
    """The lines of such a file with a header, `caption` and `url`, and with quotes doubled."""

    def __init__(self, stream: TextStream) -> None:
        """Reads the first line to see which column is the URL."""
        self._stream = stream
        self._lines = io.BufferedReader(stream, _LINES_BYTES)
        first = self._lines.readline(_LONGEST_LINE)
        url_first = first.lstrip()[:8].lower().startswith((b"http://", b"https://"))
        header = b"url\tcaption\n" if url_first else b"caption\turl\n"
        self._ready = memoryview(header + _quoted(first)) if first else memoryview(b"")

    @property
    def broken(self) -> str:
        """Why the file ended before its end; empty where it did not."""
        return self._stream.broken

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills `buffer` with what is in hand; returns the bytes, 0 at the end."""
        if not self._ready:
            lines = self._lines.readlines(_LINES_BYTES)
            self._ready = memoryview(b"".join(map(_quoted, lines)))
        view = memoryview(buffer).cast("B")
        length = min(len(view), len(self._ready))
        view[:length] = self._ready[:length]
        self._ready = self._ready[length:]
        return length


def _quoted(line: bytes) -> bytes:
    """Returns a line whose quotes a reader of CSV takes as they are."""
    if b'"' not in line:
        return line
    fields = line.rstrip(b"\r\n").split(b"\t")
    return b"\t".join(b'"' + field.replace(b'"', b'""') + b'"' for field in fields) + b"\n"
