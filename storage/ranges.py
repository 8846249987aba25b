"""Many small ranges of one file, read as few large spans."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from storage.readers import check_range

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from storage.folders import Folder
    from storage.readers import Reader

GAP = 256 * 1024
"""Bytes worth reading through rather than asking again: a request to `gs://` costs tens of ms."""

LIMIT = 16 * 1024 * 1024
"""Bytes of a span: bounds the memory of a read that serves many ranges."""


class Cut(NamedTuple):
    """Where one of the wanted ranges lies in a span.

    Attributes:
        position: of the range in the caller's sequence.
        start: bytes from the start of the span.
        length: bytes.
    """

    position: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Span:
    """One read, and the ranges to cut out of it.

    Attributes:
        offset: bytes from the start of the file.
        length: bytes.
        cuts: in order of `start`.
    """

    offset: int
    length: int
    cuts: tuple[Cut, ...]


def coalesce(ranges: Sequence[tuple[int, int]], gap: int = GAP, limit: int = LIMIT) -> list[Span]:
    """Returns the spans to read for `ranges`, by offset; every range is cut out of exactly one.

    Args:
        ranges: (offset, length) in any order; they may overlap, repeat or be empty.
        gap: a neighbour joins a span when at most this many unwanted bytes lie between them.
        limit: most bytes of a span, unless a single range is larger.

    Raises:
        ValueError: an offset or a length is negative.
    """
    spans: list[Span] = []
    cuts: list[Cut] = []
    start = end = 0
    for position in sorted(range(len(ranges)), key=lambda position: ranges[position]):
        offset, length = ranges[position]
        check_range(offset, length)
        stop = offset + length
        # An empty range never stretches a span: it may lie past the end of the file.
        fits = stop <= end or (length and offset - end <= gap and stop - start <= limit)
        if cuts and not fits:
            spans.append(Span(start, end - start, tuple(cuts)))
            cuts = []
        if not cuts:
            start = end = offset
        cuts.append(Cut(position, offset - start, length))
        end = max(end, stop)
    if cuts:
        spans.append(Span(start, end - start, tuple(cuts)))
    return spans


def read_ranges(
    reader: Reader, ranges: Sequence[tuple[int, int]], pool: Executor | None = None
) -> list[bytes]:
    """Reads ranges (offset, length) of an open file, neighbours together, in the given order.

    Args:
        reader: the open file.
        ranges: what to read. All of it is held in memory: the caller bounds their sum.
        pool: threads to read spans with; None reads them one after another. Never the pool that
            runs the caller, which could wait for itself.

    Raises:
        StorageError: a range reaches past the end of the file, or a read failed.
    """
    spans = coalesce(ranges)
    read = partial(_read_span, reader)
    results = [b""] * len(ranges)
    for span, parts in zip(spans, (pool.map if pool else map)(read, spans), strict=True):
        for cut, part in zip(span.cuts, parts, strict=True):
            results[cut.position] = part
    return results


def read_many(
    folder: Folder, name: str, ranges: Sequence[tuple[int, int]], pool: Executor | None = None
) -> list[bytes]:
    """Opens a file of `folder` and reads ranges of it; see `read_ranges`."""
    with folder.open_reader(name) as reader:
        return read_ranges(reader, ranges, pool)


def _read_span(reader: Reader, span: Span) -> list[bytes]:
    data = reader.read_at(span.offset, span.length)
    return [data[cut.start : cut.start + cut.length] for cut in span.cuts]
