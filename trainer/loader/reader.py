"""Reads members of samples out of shards, by position, from many threads."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from schemas.shards import Shard
from storage.readers import Reader
from trainer.loader.cache import ShardCache
from trainer.loader.errors import ShardError
from trainer.loader.index import Member, ShardIndex, read_index
from trainer.loader.mixture import Mixture

_OPEN_SHARDS = 256
"""Descriptors held open: well below the usual limit of 1,024."""

_INDEXED_SAMPLES = 4_000_000
"""Samples whose index is kept in memory, at about 200 bytes each."""


@dataclass(slots=True)
class _Open:
    reader: Reader
    users: int = 0


@dataclass(slots=True)
class _Indexed:
    """An index that is being read, or was."""

    lock: Lock = field(default_factory=Lock)
    index: ShardIndex | None = None


class ShardReader:
    """The shards of a mixture, opened as they are needed.

    Every member's checksum is compared when it is first read: what is trained on is what was
    curated.
    """

    def __init__(self, mixture: Mixture, cache: ShardCache | None, *, verify: bool = True) -> None:
        """Sets up a reader.

        Args:
            mixture: what to read.
            cache: keeps copies of shards; None reads them where they are.
            verify: compare checksums of members.
        """
        self._mixture = mixture
        self._cache = cache
        self._verify = verify
        self._lock = Lock()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._indexes: OrderedDict[str, _Indexed] = OrderedDict()

    def shard(self, source: int, shard: int) -> Shard:
        """Returns shard number `shard` of source number `source`."""
        return self._mixture.manifest.sources[source].shards[shard]

    def index(self, shard: Shard) -> ShardIndex:
        """Returns the index of a shard.

        Raises:
            ShardError: it is missing, or not the one that the manifest names.
        """
        with self._lock:
            entry = self._indexes.setdefault(shard.index, _Indexed())
            self._indexes.move_to_end(shard.index)
        with entry.lock:
            if entry.index is None:
                entry.index = read_index(self._mixture.indexes, shard)
                self._forget_indexes()
            return entry.index

    def read(
        self, shard: Shard, index: ShardIndex, members: Mapping[str, Member]
    ) -> dict[str, bytes]:
        """Returns the bytes of members of one sample, by extension.

        Raises:
            ShardError: the shard is missing, truncated or altered.
        """
        with self._reader(shard) as reader:
            # One by one: the file is local, and cutting a larger read would copy every image.
            data = {
                name: reader.read_at(member.offset, member.length)
                for name, member in members.items()
            }
        if self._verify:
            for name, member in members.items():
                if not index.verified[member.row]:
                    self._check(shard, index, member, data[name])
        return data

    def prefetch(self, shard: Shard) -> None:
        """Fetches a shard into the cache; without a cache, does nothing."""
        if self._cache is not None:
            self._cache.fetch(shard)

    def close(self) -> None:
        """Closes every shard that no thread is reading."""
        with self._lock:
            for entry in self._open.values():
                entry.reader.close()
            self._open.clear()

    def _check(self, shard: Shard, index: ShardIndex, member: Member, data: bytes) -> None:
        found = hashlib.sha256(data).digest()
        expected = index.sha256(member)
        if found != expected:
            raise ShardError(
                f"{self._mixture.shards.locate(shard.path)}: sha256 of the {len(data)} bytes at "
                f"{member.offset} is {found.hex()}, the index says {expected.hex()}: the "
                "shard, or its copy in the cache, was altered; run `mixwright verify`, or empty "
                "the cache"
            )
        index.verified[member.row] = True

    @contextmanager
    def _reader(self, shard: Shard) -> Iterator[Reader]:
        """Lends an open shard; while it is lent nobody closes it."""
        with self._lock:
            entry = self._open.get(shard.path)
            if entry is not None:
                entry.users += 1
                self._open.move_to_end(shard.path)
        if entry is None:
            entry = self._adopt(shard, self._open_shard(shard))
        try:
            yield entry.reader
        finally:
            with self._lock:
                entry.users -= 1
                if not entry.users and self._open.get(shard.path) is not entry:
                    entry.reader.close()

    def _adopt(self, shard: Shard, reader: Reader) -> _Open:
        """Keeps a reader that was just opened, and drops the least recently used ones."""
        with self._lock:
            entry = self._open.get(shard.path)
            if entry is None:
                entry = self._open[shard.path] = _Open(reader)
            else:
                reader.close()
            entry.users += 1
            self._open.move_to_end(shard.path)
            while len(self._open) > _OPEN_SHARDS:
                _, oldest = self._open.popitem(last=False)
                if not oldest.users:
                    oldest.reader.close()
            return entry

    def _open_shard(self, shard: Shard) -> Reader:
        if self._cache is not None:
            return self._cache.open(shard)
        location = self._mixture.shards.locate(shard.path)
        try:
            reader = self._mixture.shards.open_reader(shard.path)
        except FileNotFoundError as error:
            raise ShardError(
                f"{location} is missing; restore it, or train on a mixture without it"
            ) from error
        if reader.size != shard.bytes:
            reader.close()
            raise ShardError(
                f"{location} has {reader.size} bytes, the manifest says {shard.bytes}: the shard "
                "was truncated or replaced; run `mixwright verify`"
            )
        return reader

    def _forget_indexes(self) -> None:
        """Drops the least recently used indexes beyond the memory that they may take."""
        with self._lock:
            total = sum(len(entry.index) for entry in self._indexes.values() if entry.index)
            for name in list(self._indexes)[:-1]:
                entry = self._indexes[name]
                if total <= _INDEXED_SAMPLES:
                    break
                if entry.index is not None:
                    total -= len(entry.index)
                    del self._indexes[name]
