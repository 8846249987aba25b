"""Builds small mixtures as `schemas.shards` describes them: tars, indexes, manifest."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from schemas import layout
from schemas.digests import canonical_json, hex_digest
from schemas.shards import INDEX, Manifest, MixtureSource, Shard, merkle_root, shard_leaves


def make_jpeg(seed: int, width: int = 40, height: int = 32, **save: Any) -> bytes:
    """Returns a JPEG of soft random colours."""
    colours = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    image = Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=90, **save)
    return sink.getvalue()


@dataclass
class Spec:
    """A sample to write: its members, by extension, in this order."""

    key: str
    members: dict[str, bytes] = field(default_factory=dict)


def make_spec(source: str, number: int, **changes: Any) -> Spec:
    """Returns an ordinary pair; `changes` replace fields of its `json` member."""
    key = hex_digest(source, str(number), size=16)
    image = make_jpeg(number)
    metadata = {
        "sample_id": key,
        "source": source,
        "locator": f"{number}.jpg",
        "kind": "pair",
        "texts": [{"role": "alt", "text": f"{source} picture {number}"}],
        "media": {"jpg": hashlib.sha256(image).hexdigest()},
        "width": 40,
        "height": 32,
        "query_id": hashlib.sha256(image).hexdigest(),
        "positive_id": hex_digest(f"{source} picture {number}"),
    } | changes
    return Spec(
        key,
        {
            "jpg": image,
            "txt": metadata["texts"][0]["text"].encode() if metadata["texts"] else b"",
            "json": canonical_json(metadata).encode(),
        },
    )


def write_tar(specs: Sequence[Spec]) -> tuple[bytes, pa.Table]:
    """Returns a tar of samples and its index."""
    sink = io.BytesIO()
    rows = []
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for spec in specs:
            for extension, data in spec.members.items():
                info = tarfile.TarInfo(f"{spec.key}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
                offset = sink.tell() - -(-len(data) // 512) * 512
                rows.append(
                    {
                        "key": spec.key,
                        "member": info.name,
                        "offset": offset,
                        "length": len(data),
                        "sha256": hashlib.sha256(data).hexdigest(),
                    }
                )
    return sink.getvalue(), pa.Table.from_pylist(rows, INDEX)


@dataclass
class Work:
    """A work directory with one mixture, `m`."""

    root: Path
    manifest: Manifest

    def tar(self, source: int = 0, shard: int = 0) -> Path:
        return self.root / self.manifest.sources[source].shards[shard].path

    def index(self, source: int = 0, shard: int = 0) -> Path:
        return self.root / self.manifest.sources[source].shards[shard].index

    def save(self, manifest: Manifest) -> None:
        """Stores another manifest, its Merkle root and counts made right."""
        sources = tuple(
            source.model_copy(update={"samples": sum(shard.samples for shard in source.shards)})
            for source in manifest.sources
        )
        self.manifest = manifest.model_copy(
            update={
                "sources": sources,
                "samples": sum(source.samples for source in sources),
                "merkle_root": merkle_root(shard_leaves(sources)),
            }
        )
        path = self.root / layout.manifest("m")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.manifest.to_bytes())


def write_work(
    root: Path, sources: dict[str, Sequence[Sequence[Spec]]], weights: dict[str, float] | None
) -> Work:
    """Writes shards, by source and shard, and the manifest."""
    parts = []
    total = sum(len(specs) for shards in sources.values() for specs in shards)
    for name, shards in sources.items():
        written = []
        for number, specs in enumerate(shards):
            tar, table = write_tar(specs)
            sink = io.BytesIO()
            pq.write_table(table, sink)
            stem = f"shards/{name}/i0/train/d0/{number:06d}"
            for path, data in ((f"{stem}.tar", tar), (f"{stem}.idx.parquet", sink.getvalue())):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(data)
            written.append(
                Shard(
                    path=f"{stem}.tar",
                    index=f"{stem}.idx.parquet",
                    samples=len(specs),
                    bytes=len(tar),
                    sha256=hashlib.sha256(tar).hexdigest(),
                    index_sha256=hashlib.sha256(sink.getvalue()).hexdigest(),
                )
            )
        samples = sum(map(len, shards))
        weight = weights[name] if weights else samples / max(total, 1)
        parts.append(MixtureSource(name=name, weight=weight, samples=samples, shards=written))
    manifest = Manifest(
        mixture="m",
        recipe_digest="0" * 16,
        seed=7,
        layout="by_source",
        samples=0,
        sources=tuple(parts),
        merkle_root="",
    )
    work = Work(root, manifest)
    work.save(manifest)
    return work


@pytest.fixture
def spec() -> Callable[..., Spec]:
    return make_spec


@pytest.fixture
def jpeg() -> Callable[..., bytes]:
    return make_jpeg


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Work]:
    """Builds a mixture: from numbers of samples per shard by source, or from specs."""

    def build_work(
        sources: dict[str, Sequence[int | Sequence[Spec]]],
        weights: dict[str, float] | None = None,
        name: str = "work",
    ) -> Work:
        made: dict[str, list[Sequence[Spec]]] = {}
        for source, shards in sources.items():
            made[source] = []
            first = 0
            for shard in shards:
                specs = (
                    [make_spec(source, first + at) for at in range(shard)]
                    if isinstance(shard, int)
                    else shard
                )
                made[source].append(specs)
                first += len(specs)
        return write_work(tmp_path / name, made, weights)

    return build_work
