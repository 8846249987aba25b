"""Samples of committed shards by reference: where their bytes lie, and how they are copied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.digests import canonical_json
from storage.folders import Folder
from transforms.shards.gather import ByteRange, Unreadable, gather
from transforms.shards.members import Member
from transforms.shards.write import WrittenShard, write_shard


class MemberSpan(NamedTuple):
    """A member within the bytes of its sample; `start` counts from the first member's data."""

    extension: str
    start: int
    length: int
    sha256: str
    width: int | None
    height: int | None
    caption_tokens: int | None


@dataclass(frozen=True, slots=True)
class SampleSpan:
    """A sample of a committed shard, by reference.

    Attributes:
        rank: its place in the mixed series, from 0.
        key: of the sample.
        tar: the tar that it is in, relative to the work directory.
        offset: of the first member's data in the tar; the members follow one another.
        members: in the order of the tar.
    """

    rank: int
    key: str
    tar: str
    offset: int
    members: tuple[MemberSpan, ...]

    @property
    def length(self) -> int:
        """Bytes from the first member's data to the end of the last member's."""
        last = self.members[-1]
        return last.start + last.length

    def to_line(self) -> bytes:
        """Returns the span as one line of canonical JSON."""
        return canonical_json([self.rank, self.key, self.tar, self.offset, self.members]).encode()

    @classmethod
    def from_line(cls, line: bytes) -> SampleSpan:
        """Returns the span that `to_line` wrote."""
        rank, key, tar, offset, members = json.loads(line)
        return cls(rank, key, tar, offset, tuple(MemberSpan(*one) for one in members))


def read_spans(index: pa.Table, tar: str, ranks: Sequence[int]) -> Iterator[SampleSpan]:
    """Yields the first samples of a shard as spans.

    Args:
        index: `schemas.shards.INDEX`.
        tar: the shard's tar.
        ranks: of the samples that are wanted, from the shard's first on.
    """
    samples = groupby(index.to_pylist(), key=itemgetter("key"))
    for rank, (key, rows) in zip(ranks, samples, strict=False):
        members = list(rows)
        first = members[0]["offset"]
        yield SampleSpan(rank, key, tar, first, tuple(_member(key, row, first) for row in members))


def copy_samples(
    spans: Sequence[SampleSpan], work: Folder, out: Path, pool: Executor | None = None
) -> WrittenShard:
    """Writes a shard of samples that are copied, byte for byte, from other shards.

    Args:
        spans: the samples, in order.
        work: the work directory.
        out: local file to write.
        pool: threads that read and verify ahead of the writer.

    Raises:
        ValueError: a source shard is missing, cut off, or differs from its index.
    """

    def prepare(index: int, data: bytes) -> list[Member] | Unreadable:
        return _cut(spans[index], data)

    def samples() -> Iterator[tuple[str, list[Member]]]:
        ranges = [ByteRange(span.tar, span.offset, span.length) for span in spans]
        for span, members in zip(spans, gather(work, ranges, prepare, pool), strict=True):
            if isinstance(members, Unreadable):
                raise ValueError(
                    f"sample {span.key}: {members.detail}; the shard is damaged: delete it with "
                    "its index and run `shard` again"
                )
            yield span.key, members

    return write_shard(samples(), out)


def _member(key: str, row: dict[str, Any], first: int) -> MemberSpan:
    return MemberSpan(
        row["member"].removeprefix(f"{key}."),
        row["offset"] - first,
        row["length"],
        row["sha256"],
        row["width"],
        row["height"],
        row["caption_tokens"],
    )


def _cut(span: SampleSpan, data: bytes) -> list[Member] | Unreadable:
    """Returns the members of a sample from its bytes, verified."""
    members = []
    for extension, start, length, sha256, *facts in span.members:
        content = data[start : start + length]
        if hashlib.sha256(content).hexdigest() != sha256:
            return Unreadable(f"{span.tar}: member {extension!r} differs from its index")
        members.append(Member(extension, content, sha256, *facts))
    return members
