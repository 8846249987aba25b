"""Gathers bytes by reference: many small ranges of many files, in a bounded window, in order."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from storage.folders import Folder
from storage.ranges import coalesce

T = TypeVar("T")

WINDOW_ROWS = 512
WINDOW_BYTES = 32 * 1024 * 1024
"""A window ends at so many ranges or bytes, or before; two windows are in memory at once."""

GAP = 16 * 1024
"""Bytes read through rather than asked for again: ranges of a window lie far apart."""

_TASK_ROWS = 16


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a file.

    Attributes:
        file: name in the folder that is gathered from.
        offset, length: in bytes.
    """

    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Says why the bytes of a range are not what they should be; the same on every run."""

    detail: str


def gather(
    folder: Folder,
    ranges: Sequence[ByteRange],
    prepare: Callable[[int, bytes], T],
    pool: Executor | None = None,
) -> Iterator[T | Unreadable]:
    """Yields `prepare(index, bytes)` for every range, in order.

    A range whose file is missing or too short yields `Unreadable`, and harms no other. Any other
    failure of the store is raised: it says nothing about the bytes.

    Args:
        folder: where the files are.
        ranges: what to read, in the order wanted; may be many, each is small.
        prepare: called with the index of a range and its bytes, on a thread of `pool`; pure.
        pool: threads that read and prepare ahead of the caller; None does all of it on the caller's
            thread. Never the pool that runs the caller.

    Raises:
        StorageError: the store does not answer.
    """
    ahead: deque[list[Callable[[], list[tuple[int, T | Unreadable]]]]] = deque()
    for window in _windows(ranges):
        tasks = [
            partial(_read, folder, file, {index: ranges[index] for index in indices}, prepare)
            for file, indices in _by_file(ranges, window)
        ]
        ahead.append([pool.submit(task).result for task in tasks] if pool else list(tasks))
        if len(ahead) > 1:
            yield from _in_order(ahead.popleft())
    for started in ahead:
        yield from _in_order(started)


def _in_order(
    started: list[Callable[[], list[tuple[int, T | Unreadable]]]],
) -> Iterator[T | Unreadable]:
    results = dict(pair for finish in started for pair in finish())
    return (results[index] for index in sorted(results))


def _windows(ranges: Sequence[ByteRange]) -> Iterator[range]:
    """Cuts 0 … n - 1 into runs within the limits of a window, or of one range."""
    start = total = 0
    for index, one in enumerate(ranges):
        if index - start == WINDOW_ROWS or (index > start and total + one.length > WINDOW_BYTES):
            yield range(start, index)
            start, total = index, 0
        total += one.length
    if start < len(ranges):
        yield range(start, len(ranges))


def _by_file(ranges: Sequence[ByteRange], window: range) -> Iterator[tuple[str, list[int]]]:
    """Yields (file, indices by offset), a few at a time, so that threads share a large file."""
    by_file: defaultdict[str, list[int]] = defaultdict(list)
    for index in window:
        by_file[ranges[index].file].append(index)
    for file in sorted(by_file):
        indices = sorted(by_file[file], key=lambda index: ranges[index].offset)
        for start in range(0, len(indices), _TASK_ROWS):
            yield file, indices[start : start + _TASK_ROWS]


def _read(
    folder: Folder,
    file: str,
    wanted: dict[int, ByteRange],
    prepare: Callable[[int, bytes], T],
) -> list[tuple[int, T | Unreadable]]:
    """Reads and prepares ranges of one file; returns them with their indices."""
    try:
        reader = folder.open_reader(file)
    except FileNotFoundError:
        missing = Unreadable(f"{file} is missing")
        return [(index, missing) for index in wanted]
    results: list[tuple[int, T | Unreadable]] = []
    with reader:
        within: list[int] = []
        for index, one in wanted.items():
            if one.offset + one.length > reader.size:
                end = one.offset + one.length
                results.append((index, Unreadable(f"{file} ends before byte {end}")))
            else:
                within.append(index)
        spans = coalesce([(wanted[at].offset, wanted[at].length) for at in within], gap=GAP)
        for span in spans:
            data = reader.read_at(span.offset, span.length)
            for at, start, length in span.cuts:
                found = within[at]
                results.append((found, prepare(found, data[start : start + length])))
    return results
