from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from schemas.shards import Shard
from storage.folders import open_folder
from trainer.loader.cache import ShardCache
from trainer.loader.errors import ShardError


def shards_of(work: Any) -> tuple[Shard, ...]:
    return tuple(work.manifest.sources[0].shards)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_the_least_recently_used_copy_goes_first(build: Callable[..., Any], tmp_path: Path) -> None:
    work = build({"a": [5, 5, 5]})
    first, second, third = shards_of(work)
    cache = ShardCache(open_folder(str(work.root)), tmp_path / "cache", first.bytes * 2 + 1000)
    for age, shard in enumerate((first, second)):
        cache.fetch(shard)
        os.utime(tmp_path / "cache" / f"{shard.sha256}.tar", (age, age))
    cache.fetch(first)
    cache.fetch(third)
    assert names(tmp_path / "cache") == {f"{first.sha256}.tar", f"{third.sha256}.tar"}


def test_a_reader_outlives_its_copy(build: Callable[..., Any], tmp_path: Path) -> None:
    work = build({"a": [5, 5]})
    first, second = shards_of(work)
    cache = ShardCache(open_folder(str(work.root)), tmp_path / "cache", first.bytes)
    with cache.open(first) as reader:
        cache.fetch(second)
        assert names(tmp_path / "cache") == {f"{second.sha256}.tar"}
        assert reader.read_at(0, first.bytes) == work.tar(0, 0).read_bytes()


def test_a_later_run_finds_the_copies(build: Callable[..., Any], tmp_path: Path) -> None:
    work = build({"a": [5]})
    (shard,) = shards_of(work)
    folder = open_folder(str(work.root))
    ShardCache(folder, tmp_path / "cache", 10**9).fetch(shard)
    work.tar().unlink()
    ShardCache(folder, tmp_path / "cache", 10**9).fetch(shard)


def test_many_threads_fetch_a_shard_once(build: Callable[..., Any], tmp_path: Path) -> None:
    work = build({"a": [5]})
    (shard,) = shards_of(work)
    opened = []

    class Counting:
        locate = open_folder(str(work.root)).locate

        def open(self, name: str) -> Any:
            opened.append(name)
            return open_folder(str(work.root)).open(name)

    cache = ShardCache(Counting(), tmp_path / "cache", 10**9)  # type: ignore[arg-type]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cache.fetch, [shard] * 32))
    assert opened == [shard.path]


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_shard_leaves_nothing_behind(
    build: Callable[..., Any], tmp_path: Path, damage: str
) -> None:
    work = build({"a": [5]})
    (shard,) = shards_of(work)
    data = work.tar().read_bytes()
    if damage == "missing":
        work.tar().unlink()
    else:
        work.tar().write_bytes(data[:-600] if damage == "truncated" else b"x" + data[1:])
    cache = ShardCache(open_folder(str(work.root)), tmp_path / "cache", 10**9)
    with pytest.raises(ShardError, match="is missing" if damage == "missing" else "the manifest"):
        cache.fetch(shard)
    assert names(tmp_path / "cache") == set()
