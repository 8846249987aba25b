"""Whole shards of an object store, kept on a local disk up to a size."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from schemas.shards import Shard
from storage.folders import Folder, open_folder
from storage.readers import Reader
from trainer.loader.errors import ShardError
from trainer.loader.mixture import Mixture
from trainer.loader.options import LoaderOptions

_CHUNK = 8 << 20

_LEFT_OVER_S = 24 * 3600.0
"""Age of a half-fetched shard whose process must be dead."""


class ShardCache:
    """Local copies of shards, the least recently used ones removed first.

    Copies are named after their sha256 and appear whole, so processes can share the directory, and
    a later run finds what an earlier one left. A copy that is removed while a reader has it open
    stays readable.
    """

    def __init__(self, folder: Folder, directory: Path, max_bytes: int) -> None:
        """Sets up a cache.

        Args:
            folder: where the shards come from.
            directory: local directory of the copies; made where it is missing.
            max_bytes: size to keep the copies below. One shard is always kept.
        """
        self._folder = folder
        self._directory = directory
        self._max_bytes = max_bytes
        self._copies = open_folder(str(directory))
        self._lock = Lock()
        self._arriving = 0
        self._fetching: dict[str, Lock] = {}
        directory.mkdir(parents=True, exist_ok=True)
        self._copies.sweep(_LEFT_OVER_S)

    def open(self, shard: Shard) -> Reader:
        """Opens the local copy of a shard, fetching it where there is none.

        Raises:
            ShardError: the shard is missing, or its bytes are not those of the manifest.
        """
        name = f"{shard.sha256}.tar"
        with self._lock:
            fetching = self._fetching.setdefault(name, Lock())
        with fetching:
            while True:
                try:
                    reader = self._copies.open_reader(name)
                except FileNotFoundError:
                    self._fetch(shard, name)
                    continue
                self._touch(self._directory / name)
                return reader

    def fetch(self, shard: Shard) -> None:
        """Makes sure that there is a local copy of a shard; raises as `open` does."""
        self.open(shard).close()

    def _touch(self, path: Path) -> None:
        """Marks a copy as used now."""
        try:
            os.utime(path)
        except FileNotFoundError:
            # Removed by another process since it was opened: the open one stays readable.
            return

    def _fetch(self, shard: Shard, name: str) -> None:
        location = self._folder.locate(shard.path)
        hasher = hashlib.sha256()
        with self._copies.temporary_file() as part:
            try:
                with self._folder.open(shard.path) as source, part.open("wb") as target:
                    while data := source.read(_CHUNK):
                        hasher.update(data)
                        target.write(data)
            except FileNotFoundError as error:
                raise ShardError(
                    f"{location} is missing; restore it, or train on a mixture without it"
                ) from error
            if hasher.hexdigest() != shard.sha256:
                raise ShardError(
                    f"{location}: sha256 of its {part.stat().st_size} bytes is "
                    f"{hasher.hexdigest()}, the manifest says {shard.sha256} of {shard.bytes}: "
                    "the shard was truncated or altered; run `mixwright verify`"
                )
            self._make_room(shard.bytes)
            try:
                self._copies.create(name, part)
            finally:
                with self._lock:
                    self._arriving -= shard.bytes

    def _make_room(self, wanted: int) -> None:
        """Removes copies, the least recently used first, until `wanted` more bytes fit."""
        with self._lock:
            self._arriving += wanted
            copies = self._list()
            excess = sum(size for _, size, _ in copies) + self._arriving - self._max_bytes
            for _, size, copy in copies:
                if excess <= 0:
                    break
                copy.unlink(missing_ok=True)
                excess -= size

    def _list(self) -> Sequence[tuple[int, int, Path]]:
        """Returns (time of use, bytes, path) of every copy, oldest first."""
        copies = []
        for path in self._directory.glob("*.tar"):
            try:
                status = path.stat()
            except FileNotFoundError:
                # Another process removed it.
                continue
            copies.append((status.st_mtime_ns, status.st_size, path))
        return sorted(copies)


def make_cache(mixture: Mixture, options: LoaderOptions) -> ShardCache | None:
    """Returns the cache that the options ask for; None where they ask for none.

    Raises:
        ValueError: the shards are in a store and there is no cache, or it is too small.
    """
    if options.cache is None:
        if "://" in mixture.shards.uri:
            raise ValueError(
                f"the shards are at {mixture.shards.uri}; name a local directory for them: cache"
            )
        return None
    window = options.sampling.window
    needed = 0
    for source in mixture.manifest.sources:
        sizes = sorted((shard.bytes for shard in source.shards), reverse=True)
        needed += sum(sizes if window is None else sizes[: 2 * window])
    if needed > options.cache_bytes:
        raise ValueError(
            f"a cache of {options.cache_bytes} bytes is below the {needed} bytes of "
            + ("all shards" if window is None else f"two windows of {window} shards")
            + ", so that shards would be fetched again and again; raise cache_bytes, or set a "
            "smaller window"
        )
    return ShardCache(mixture.shards, options.cache, options.cache_bytes)
