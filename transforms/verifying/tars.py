"""Shards: a tar is read once, from end to end, and compared with its index as it goes by."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from schemas.digests import SAMPLE_ID_HEX
from schemas.shards import INDEX, Shard, split_member
from storage.folders import Folder
from transforms.shards.commit import Refusal, ShardSummary, read_index, read_summary
from transforms.verifying.findings import Check, Problem, Tally
from transforms.verifying.pairs import (
    TEXT_MEMBERS,
    HeldMember,
    HeldSample,
    InconsistentSampleError,
    read_sample,
)

HELD = np.dtype(
    [
        ("id", "S16"),
        ("content", "S16"),
        ("media", "S32"),
        ("shard", "<u4"),
        ("offset", "<i8"),
        ("length", "<i8"),
    ]
)
"""A sample in a shard, 84 bytes: its content digest, and its media member (zeros without one).

The digest is zero where the sample does not go together, which has been said then.
"""

_ID = re.compile(f"[0-9a-f]{{{SAMPLE_ID_HEX}}}")
_BLOCK_BYTES = 1 << 20
_MOST_TEXT_BYTES = 64 << 20
"""Bytes of a text member that are looked at: nothing that came in has as many."""

_REMEDY = "delete the tar and its index, and run `mixwright run` again: they are made again"


@dataclass
class ScannedShard:
    """What lies under the name of a shard.

    Attributes:
        name: of the shard, six digits.
        shard: the entry that a manifest should have for it; None where tar or index is missing.
        refusals: samples that its index says could not be written.
        samples: its samples, in order: an array of `HELD`.
        tally: counts of `Check.SHARDS`, `Check.MEMBERS` and `Check.PAIRS`.
    """

    name: str
    shard: Shard | None = None
    refusals: tuple[Refusal, ...] = ()
    samples: npt.NDArray[np.void] = field(default_factory=lambda: np.empty(0, HELD))
    tally: Tally = field(default_factory=Tally)


def scan_shard(
    folder: Folder, path: str, name: str, sources: Sequence[str], original: bool
) -> ScannedShard:
    """Reads a shard and its index; holds one sample at a time, and 84 bytes of each.

    Args:
        folder: folder of the series.
        path: that folder, relative to the work directory.
        name: of the shard.
        sources: names of the sources that its samples may come from.
        original: media are original bytes.
    """
    scanned = ScannedShard(name)
    tally = scanned.tally
    tar_at = folder.locate(f"{name}.tar")
    summary, rows = _read_index(folder, name, tally)
    with tally.reading(Check.SHARDS, tar_at, _REMEDY), folder.open(f"{name}.tar") as file:
        stream = _HashingStream(file)
        members = _read_members(stream, tar_at, tally)
        members = members if rows is None else _compare_members(members, rows, tar_at, tally)
        held = list(_read_samples(members, sources, original, tar_at, tally))
        scanned.samples = _pack(held, int(name))
        stream.drain()
        if summary is not None:
            scanned.refusals = summary.refusals
            stated = summary.to_shard(path)
            scanned.shard = stated.model_copy(
                update={
                    "samples": len(held),
                    "bytes": stream.size,
                    "sha256": stream.sha256.hexdigest(),
                }
            )
            compare_shard(scanned.shard, stated, tar_at, "its index", tally, Check.SHARDS)
    return scanned


def compare_shard(
    found: Shard, stated: Shard, at: str, who: str, tally: Tally, check: Check
) -> None:
    """Counts a shard of which everything is as stated, or says what is not.

    Args:
        found: what was read.
        stated: what `who` says.
        at: its tar.
        who: `its index` or a manifest.
        tally: what is counted in.
        check: under which check.
    """
    differ = [
        name for name in type(found).model_fields if getattr(found, name) != getattr(stated, name)
    ]
    for name in differ:
        was, says = getattr(found, name), getattr(stated, name)
        tally.bad(check, Problem(at, f"{name} is {was}", f"{says}, as {who} says", _REMEDY))
    if not differ:
        tally.good(check)


class _HashingStream:
    """Reads a file forward and hashes what passes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self.sha256.update(block)
        self.size += len(block)
        return block

    def drain(self) -> None:
        while self.read(_BLOCK_BYTES):
            pass


def _read_index(
    folder: Folder, name: str, tally: Tally
) -> tuple[ShardSummary | None, list[dict[str, Any]] | None]:
    """Returns what an index says of its shard and of each member; None for what it does not."""
    at = folder.locate(f"{name}.idx.parquet")
    summary: ShardSummary | None = None
    rows: list[dict[str, Any]] | None = None
    with tally.reading(Check.SHARDS, at, _REMEDY):
        table = read_index(folder, name)
        if table.schema.equals(INDEX):
            rows = table.to_pylist()
            try:
                summary = read_summary(folder, name)
            except (ValueError, TypeError, KeyError):
                wanted = "the summary of its shard in its metadata"
                tally.bad(Check.SHARDS, Problem(at, "has none that can be read", wanted, _REMEDY))
        else:
            found = f"has the columns {', '.join(table.column_names)}"
            tally.bad(Check.SHARDS, Problem(at, found, ", ".join(INDEX.names), _REMEDY))
    return summary, rows


def _read_members(
    stream: _HashingStream, at: str, tally: Tally
) -> Iterator[tuple[str, HeldMember]]:
    """Yields (name, member) for every member of a tar; says where it breaks off."""
    number = 0
    try:
        # As a stream: what an archive says of its own layout is never followed backwards.
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK_BYTES) as tar:  # type: ignore[call-overload]
            for number, info in enumerate(tar, 1):  # noqa: B007 - counts what was read
                if info.isreg():
                    yield info.name, _hold(tar, info)
                else:
                    found = f"member {info.name!r} is no regular file"
                    tally.bad(Check.MEMBERS, Problem(at, found, "regular files only", _REMEDY))
    except tarfile.TarError as error:
        found = f"breaks off after {number} members ({error})"
        tally.bad(Check.SHARDS, Problem(at, found, "a whole tar", _REMEDY))


def _hold(tar: tarfile.TarFile, info: tarfile.TarInfo) -> HeldMember:
    content = tar.extractfile(info)
    keep = info.name.partition(".")[2] in TEXT_MEMBERS
    hasher, held = hashlib.sha256(), bytearray()
    while content and (block := content.read(_BLOCK_BYTES)):
        hasher.update(block)
        if keep and len(held) < _MOST_TEXT_BYTES:
            held += block
    return HeldMember(hasher.hexdigest(), info.offset_data, info.size, bytes(held))


def _compare_members(
    members: Iterable[tuple[str, HeldMember]], rows: list[dict[str, Any]], at: str, tally: Tally
) -> Iterator[tuple[str, HeldMember]]:
    """Passes members on; says which are not what the index has in their place."""
    number = 0
    for number, (name, member) in enumerate(members, 1):
        found = (name, member.offset, member.length, member.sha256)
        row = rows[number - 1] if number <= len(rows) else {}
        stated = tuple(row.get(column) for column in ("member", "offset", "length", "sha256"))
        if found == stated and name.startswith(f"{row['key']}."):
            tally.good(Check.MEMBERS)
        else:
            was = f"member {number - 1} is {_describe(*found)}"
            says = f"{_describe(*stated)}, as its index says"
            tally.bad(Check.MEMBERS, Problem(at, was, says, _REMEDY))
        yield name, member
    if number < len(rows):
        problem = Problem(at, f"has {number} members", f"{len(rows)}, as its index says", _REMEDY)
        tally.bad(Check.MEMBERS, problem)


def _describe(name: object, offset: object, length: object, sha256: object) -> str:
    return f"{name} ({length} bytes at {offset}, sha256 {sha256})"


def _read_samples(
    members: Iterable[tuple[str, HeldMember]],
    sources: Sequence[str],
    original: bool,
    at: str,
    tally: Tally,
) -> Iterator[HeldSample]:
    """Yields the samples of a tar; says which are torn apart, and which do not go together."""
    seen: set[str] = set()
    split = ((split_member(name) or (name, ""), member) for name, member in members)
    for key, group in groupby(split, key=lambda one: one[0][0]):
        held = {extension: member for (_, extension), member in group}
        if key in seen or not _ID.fullmatch(key):
            wanted = "the members of a sample together, named by its id"
            tally.bad(Check.MEMBERS, Problem(at, f"{key!r} is torn or no id", wanted, _REMEDY))
            continue
        seen.add(key)
        try:
            yield read_sample(key, held, sources, original)
        except InconsistentSampleError as error:
            wanted = "members that go together"
            tally.bad(Check.PAIRS, Problem(at, f"sample {key}: {error}", wanted, _REMEDY))
            # It is there, and that it is wrong has been said.
            yield HeldSample(key, b"", None)


def _pack(samples: Sequence[HeldSample], shard: int) -> npt.NDArray[np.void]:
    packed = np.zeros(len(samples), HELD)
    packed["shard"] = shard
    for at, sample in enumerate(samples):
        packed["id"][at], packed["content"][at] = bytes.fromhex(sample.key), sample.content
        if sample.media is not None:
            packed["media"][at] = bytes.fromhex(sample.media.sha256)
            packed["offset"][at] = sample.media.offset
            packed["length"][at] = sample.media.length
    return packed
