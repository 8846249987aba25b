"""Digests of a whole file and of ranges in it, in one pass and a bounded buffer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

BLOCK_BYTES = 4 << 20
"""Read at once; a thread holds one block."""

_EMPTY = hashlib.sha256().hexdigest()


@dataclass(frozen=True, slots=True)
class HashedFile:
    """What a file holds.

    Attributes:
        size: in bytes.
        sha256: of the file, as hex.
        ranges: sha256 of each range; None for one that the file does not hold, or that overlaps
            the range before it.
    """

    size: int
    sha256: str
    ranges: tuple[str | None, ...]


def hash_file(file: BinaryIO, ranges: Sequence[tuple[int, int]] = ()) -> HashedFile:
    """Reads a file once, from its start to its end.

    Args:
        file: open for reading, at its start.
        ranges: (offset, length), sorted.
    """
    whole, part = hashlib.sha256(), hashlib.sha256()
    digests: list[str | None] = [None if length else _EMPTY for _, length in ranges]
    wanted = iter([at for at, (_, length) in enumerate(ranges) if length])
    at = next(wanted, None)
    position = 0
    while block := file.read(BLOCK_BYTES):
        whole.update(block)
        view, end = memoryview(block), position + len(block)
        while at is not None and ranges[at][0] < end:
            offset, length = ranges[at]
            overlaps = at > 0 and offset < sum(ranges[at - 1])
            if not overlaps:
                part.update(view[max(offset - position, 0) : offset + length - position])
                if offset + length > end:
                    break
                digests[at] = part.hexdigest()
            part = hashlib.sha256()
            at = next(wanted, None)
        position = end
    return HashedFile(position, whole.hexdigest(), tuple(digests))
