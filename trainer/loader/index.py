"""The index of one shard: where the members of each sample lie in the tar."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schemas.shards import INDEX, Shard
from storage.folders import Folder
from trainer.loader.errors import ShardError

_TAR_BLOCK = 512

_COLUMNS = pa.schema(
    [INDEX.field(name) for name in ("key", "member", "offset", "length", "sha256")]
)
"""What the loader needs of an index."""


class Member(NamedTuple):
    """One file of a sample.

    Attributes:
        row: its row in the index.
        offset, length: of its bytes in the tar.
    """

    row: int
    offset: int
    length: int


class ShardIndex:
    """The samples of a shard, by position, about 200 bytes each.

    Attributes:
        verified: bool[members], which members were read and had the right checksum; the reader
            marks them.
    """

    def __init__(self, table: pa.Table) -> None:
        """Takes the columns key, member, offset, length and sha256 of `schemas.shards.INDEX`.

        Raises:
            ValueError: a member does not belong to its key, or a checksum is not one.
        """
        keys, names = table["key"].to_pylist(), table["member"].to_pylist()
        suffixes = [
            name[len(key) + 1 :] if name.startswith(f"{key}.") else ""
            for key, name in zip(keys, names, strict=True)
        ]
        self._suffixes = list(dict.fromkeys(suffixes))
        numbers = {suffix: number for number, suffix in enumerate(self._suffixes)}
        self._suffix = np.array([numbers[suffix] for suffix in suffixes], np.int16)
        if "" in numbers:
            row = suffixes.index("")
            raise ValueError(f"member {names[row]!r} is listed under the key {keys[row]!r}")
        checksums = bytes.fromhex("".join(table["sha256"].to_pylist()))
        if len(checksums) != 32 * len(names):
            raise ValueError("a checksum does not have 64 hex digits")
        self._checksums = checksums
        self._place = np.stack([table["offset"].to_numpy(), table["length"].to_numpy()], axis=1)
        firsts = [row for row, key in enumerate(keys) if row == 0 or keys[row - 1] != key]
        encoded = [keys[row].encode() for row in firsts]
        self._keys = b"".join(encoded)
        self._key_ends = np.cumsum([len(key) for key in encoded], dtype=np.int64)
        self._first = np.array([*firsts, len(keys)], np.int64)
        self.verified: NDArray[np.bool_] = np.zeros(len(names), np.bool_)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._key_ends)

    @property
    def end(self) -> int:
        """Where the last byte of the last member ends in the tar."""
        return int(self._place.sum(axis=1).max(initial=0))

    @property
    def aligned(self) -> bool:
        """Whether every member begins where a tar can hold one."""
        offset = self._place[:, 0]
        return bool(((offset % _TAR_BLOCK == 0) & (offset >= _TAR_BLOCK)).all())

    def key(self, row: int) -> str:
        """Returns the key of the sample at position `row`."""
        start = self._key_ends[row - 1] if row else 0
        return self._keys[start : self._key_ends[row]].decode()

    def members(self, row: int) -> dict[str, Member]:
        """Returns the members of the sample at position `row` by extension, in the tar's order."""
        start, stop = self._first[row : row + 2].tolist()
        suffixes = self._suffix[start:stop].tolist()
        places = self._place[start:stop].tolist()
        return {
            self._suffixes[suffix]: Member(start + at, offset, length)
            for at, (suffix, (offset, length)) in enumerate(zip(suffixes, places, strict=True))
        }

    def sha256(self, member: Member) -> bytes:
        """Returns the checksum of a member, 32 bytes."""
        return self._checksums[32 * member.row : 32 * member.row + 32]


def read_index(folder: Folder, shard: Shard) -> ShardIndex:
    """Reads and checks the index of a shard.

    Raises:
        ShardError: the index is missing, is not the one that the manifest names, or does not fit
            the shard.
    """
    location = folder.locate(shard.index)
    try:
        data = folder.read(shard.index)
    except FileNotFoundError as error:
        raise ShardError(
            f"{location}: the index of {shard.path} is missing; run `mixwright verify`"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != shard.index_sha256:
        raise ShardError(
            f"{location}: sha256 is {found}, the manifest says {shard.index_sha256}: the index was "
            f"altered or belongs to another shard than {shard.path}; run `mixwright verify`"
        )
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            table = file.read(_COLUMNS.names, use_threads=False).cast(_COLUMNS)
        index = ShardIndex(table)
    except (pa.ArrowInvalid, pa.ArrowKeyError, ValueError) as error:
        raise ShardError(f"{location} is no index of a shard: {error}") from error
    check_fits(index, shard, location)
    return index


def check_fits(index: ShardIndex, shard: Shard, location: str) -> None:
    """Raises ShardError unless `index` can be the index of `shard`."""
    problems = (
        (len(index) == shard.samples, f"it has {len(index)} samples, the shard {shard.samples}"),
        (index.end <= shard.bytes, f"it reaches to byte {index.end}, the shard has {shard.bytes}"),
        (index.aligned, f"a member does not begin at a block of {_TAR_BLOCK} bytes"),
    )
    for fits, problem in problems:
        if not fits:
            raise ShardError(
                f"{location} is not the index of {shard.path}: {problem}; run `mixwright verify`"
            )
