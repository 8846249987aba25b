"""Commits shards: the tar first, then the index that makes it count. Whoever is second adopts."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.digests import canonical_json
from schemas.shards import Shard
from storage.folders import Folder
from transforms.shards.write import WrittenShard

_TAR = ".tar"
_INDEX = ".idx.parquet"
_METADATA = b"mixwright.shard"
_HASHED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kept sample that is not in its shard: one row of `schemas.tables.EVENTS`."""

    sample_id: str
    stage: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class BuiltShard:
    """A tar that is ready to be committed.

    Attributes:
        written: what is in it.
        refusals: what should have been in it, by rank.
    """

    written: WrittenShard
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """What is known of a committed shard without reading its tar; kept in its index.

    Attributes:
        name: number of the shard in its series, six digits.
        samples: how many it holds.
        bytes: size of the tar.
        sha256: of the tar.
        index_sha256: of the index file.
        refusals: samples of the shard that could not be written.
    """

    name: str
    samples: int
    bytes: int
    sha256: str
    index_sha256: str
    refusals: tuple[Refusal, ...] = ()

    def to_shard(self, folder: str) -> Shard:
        """Returns the shard's entry in a manifest.

        Args:
            folder: folder of the series, relative to the work directory.
        """
        return Shard(
            path=f"{folder}/{self.name}{_TAR}",
            index=f"{folder}/{self.name}{_INDEX}",
            samples=self.samples,
            bytes=self.bytes,
            sha256=self.sha256,
            index_sha256=self.index_sha256,
        )


def shard_name(number: int) -> str:
    """Returns the name of a shard of a series, without extension: `000000` is the first."""
    return f"{number:06d}"


def is_committed(folder: Folder, name: str) -> bool:
    """Returns whether a shard is committed: whether it has an index."""
    return folder.exists(name + _INDEX)


def committed_names(folder: Folder) -> set[str]:
    """Returns the names of the committed shards of a series."""
    names = (entry.name for entry in folder.list())
    return {name.removesuffix(_INDEX) for name in names if name.endswith(_INDEX)}


def read_summaries(folder: Folder) -> Iterator[ShardSummary]:
    """Yields the committed shards of a series, in order."""
    for name in sorted(committed_names(folder), key=int):
        yield read_summary(folder, name)


def read_summary(folder: Folder, name: str) -> ShardSummary:
    """Returns what the index of a committed shard says of it.

    Raises:
        FileNotFoundError: the shard has no index: it is not committed.
        ValueError: the index is not one of ours.
    """
    data = folder.read(name + _INDEX)
    metadata = pq.read_metadata(io.BytesIO(data)).metadata or {}
    if _METADATA not in metadata:
        raise ValueError(
            f"{folder.locate(name + _INDEX)} is not an index of mixwright's; move it away"
        )
    values = json.loads(metadata[_METADATA])
    values["refusals"] = tuple(Refusal(**one) for one in values["refusals"])
    return ShardSummary(name=name, index_sha256=hashlib.sha256(data).hexdigest(), **values)


def encode_index(built: BuiltShard) -> bytes:
    """Returns the index file of a shard; its metadata hold the shard's summary."""
    written = built.written
    summary = {
        "samples": written.samples,
        "bytes": written.bytes,
        "sha256": written.sha256,
        "refusals": [asdict(one) for one in built.refusals],
    }
    table = written.index.replace_schema_metadata({_METADATA: canonical_json(summary)})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def commit_shard(
    folder: Folder,
    name: str,
    tar: Path,
    built: BuiltShard,
    adopt: Callable[[BinaryIO], BuiltShard | None],
) -> ShardSummary:
    """Commits a shard and returns what is committed, which may be another worker's.

    Args:
        folder: folder of the series.
        name: of the shard.
        tar: the finished tar, from `folder.temporary_file()`.
        built: what is in it, and what is not.
        adopt: describes a committed tar that has no index and is not this one (an attempt that
            could read other samples was cut off between its two commits); None where the tar is
            not of this series.

    Raises:
        ValueError: a tar of something else has the name.
    """
    if not folder.create(name + _TAR, tar):
        if is_committed(folder, name):
            return read_summary(folder, name)
        with folder.open(name + _TAR) as file:
            adopted = built if sha256_of(file) == built.written.sha256 else adopt(file)
        if adopted is None:
            raise ValueError(
                f"{folder.locate(name + _TAR)} has no index and is not of this series: delete it "
                "and run the stage again"
            )
        built = adopted
    folder.create(name + _INDEX, encode_index(built))
    return read_summary(folder, name)


def read_index(folder: Folder, name: str) -> pa.Table:
    """Returns the index of a committed shard (`schemas.shards.INDEX`)."""
    return pq.read_table(io.BytesIO(folder.read(name + _INDEX)), use_threads=False)


def sha256_of(file: BinaryIO) -> str:
    """Returns sha256 of a file from its start, as hex; leaves the file at its start."""
    hasher = hashlib.sha256()
    file.seek(0)
    while block := file.read(_HASHED_AT_ONCE):
        hasher.update(block)
    file.seek(0)
    return hasher.hexdigest()
