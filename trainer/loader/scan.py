"""Makes a mixture of plain WebDataset tars: each is read once, and its index kept in a cache."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import IO, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.digests import hex_digest
from schemas.shards import (
    INDEX,
    Manifest,
    MixtureSource,
    Shard,
    merkle_root,
    shard_leaves,
    split_member,
)
from storage.folders import Entry, Folder, open_folder
from trainer.loader.errors import ShardError
from trainer.loader.mixture import Mixture

_CHUNK = 1 << 20


def scan_mixture(
    uri: str, sources: Mapping[str, str], cache: str, *, seed: int = 0, threads: int = 4
) -> Mixture:
    """Returns a mixture of the `.tar` files of a folder, which need no index and no manifest.

    Args:
        uri: folder of the tars, a path or `gs://…`.
        sources: by name of source, the prefix of the names of its tars below `uri`; an empty
            prefix takes all. Sources weigh in proportion to their samples.
        cache: local folder that keeps the indexes, so that a tar is read through only once.
        seed: seed of the mixture.
        threads: tars read at the same time.

    Raises:
        ShardError: a file is no tar, is truncated or compressed.
        ValueError: there are no tars, or no samples in them.
    """
    folder, indexes = open_folder(uri), open_folder(cache)
    scan = partial(_scan_once, folder, indexes)
    found: dict[str, tuple[Shard, ...]] = {}
    with ThreadPoolExecutor(threads) as pool:
        for name, prefix in sources.items():
            tars = [entry for entry in folder.list(prefix) if entry.name.endswith(".tar")]
            if not tars:
                raise ValueError(f"source {name!r}: no .tar files at {folder.uri}/{prefix}*")
            found[name] = tuple(pool.map(scan, tars))
    samples = {name: sum(shard.samples for shard in shards) for name, shards in found.items()}
    total = sum(samples.values())
    parts = tuple(
        MixtureSource(
            name=name,
            weight=samples[name] / total if total else 0.0,
            samples=samples[name],
            shards=shards,
        )
        for name, shards in found.items()
    )
    manifest = Manifest(
        mixture="plain",
        recipe_digest="",
        seed=seed,
        layout="by_source",
        samples=total,
        sources=parts,
        merkle_root=merkle_root(shard_leaves(parts)),
    )
    return Mixture(manifest, folder, indexes, plain=True)


def scan_tar(file: BinaryIO) -> tuple[pa.Table, str, int]:
    """Reads a tar through.

    Args:
        file: the tar, read from start to end.

    Returns:
        The index (`schemas.shards.INDEX`; sizes of images are not looked at), the sha256 of the
        whole file as hex, and its length in bytes.

    Raises:
        tarfile.TarError: it is no tar, or ends in the middle of a member.
    """
    hashed = _Hashed(file)
    with tarfile.open(fileobj=hashed, mode="r|", bufsize=_CHUNK) as archive:
        rows = list(_members(archive))
    while hashed.read(_CHUNK):
        pass
    return pa.Table.from_pylist(rows, INDEX), hashed.hasher.hexdigest(), hashed.length


class _Hashed(io.RawIOBase):
    """A file that is read in order and hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hasher = hashlib.sha256()
        self.length = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.hasher.update(data)
        self.length += len(data)
        return data


def _members(archive: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    for member in archive:
        content = archive.extractfile(member) if member.isreg() else None
        split = split_member(member.name)
        # WebDataset keeps `__name__` for notes about the tar itself.
        if content is None or split is None or _is_note(member.name):
            continue
        yield {
            "key": split[0],
            "member": member.name,
            "offset": member.offset_data,
            "length": member.size,
            "sha256": _digest(content),
        }


def _digest(content: IO[bytes]) -> str:
    hasher = hashlib.sha256()
    while data := content.read(_CHUNK):
        hasher.update(data)
    return hasher.hexdigest()


def _is_note(name: str) -> bool:
    return "/" not in name and name.startswith("__") and name.endswith("__")


def _scan_once(folder: Folder, indexes: Folder, tar: Entry) -> Shard:
    """Returns the shard of a tar, from the cache where it was read before."""
    location = folder.locate(tar.name)
    identity = hex_digest(location, str(tar.size), tar.checksum or "")
    record, index = f"{identity}.json", f"{identity}.idx.parquet"
    if indexes.exists(record):
        return Shard.model_validate_json(indexes.read(record))
    try:
        with folder.open(tar.name) as file:
            table, sha256, size = scan_tar(file)
    except tarfile.TarError as error:
        raise ShardError(
            f"{location} is no plain tar, or ends too early ({error}); fetch it again, and "
            "decompress it if it is compressed"
        ) from error
    sink = io.BytesIO()
    pq.write_table(table, sink)
    indexes.replace(index, sink.getvalue())
    shard = Shard(
        path=tar.name,
        index=index,
        samples=_count(table["key"].to_pylist()),
        bytes=size,
        sha256=sha256,
        index_sha256=hashlib.sha256(sink.getvalue()).hexdigest(),
    )
    indexes.replace(record, shard.model_dump_json().encode())
    return shard


def _count(keys: Iterable[str]) -> int:
    return sum(1 for _ in groupby(keys))
