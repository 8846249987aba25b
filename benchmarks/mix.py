"""Writes shards, and mixes them, beside copying the same bytes with the `webdataset` library.

    python -m benchmarks.mix [folder for its files]

Two sources of samples whose media have the sizes of web images. In each round:

- `webdataset` reads the shards of both from start to end and writes them again, fixed headers, no
  hashes, no index.
- `gather` writes them: through Beam, from the tars of ingest parts in which each sample lies
  somewhere; every digest is verified, every tar hashed and indexed.
- `interleave` mixes them: through Beam, from the shards, likewise.

All three leave their tars synced to disk. The rate is bytes of tars per second.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import webdataset
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from benchmarks.figures import Figure, median_ratio, report, take_turns
from schemas.digests import media_id, sample_id
from schemas.layout import Part
from schemas.recipe import ShardSettings
from schemas.shards import Shard
from storage.folders import Folder, open_folder
from transforms.mixtures.interleave import WriteInterleaved, take_first
from transforms.parts.media import MediaTar
from transforms.shards.commit import read_summaries
from transforms.shards.rank import RankSamples, pack_ids
from transforms.shards.series import WriteShards

SOURCES = ("web", "wit")
PARTS = 8
PART_ROWS = 1000
MEDIAN_BYTES = 50_000
SETTINGS = ShardSettings(samples_per_shard=1000)
ROUNDS = 5
SEED = 0


@dataclass(frozen=True)
class Source:
    """An ingested source: the folder of its media, and a file of kept rows per part."""

    name: str
    media: Folder
    rows: Folder

    def __call__(self, part: str) -> pa.Table:
        """Reads the kept rows of a part."""
        with pa.ipc.open_file(self.rows.read(part)) as reader:
            return reader.read_all()

    def ids(self, part: str) -> tuple[str, bytes]:
        """Reads the packed ids of a part."""
        return part, pack_ids(self(part)["sample_id"].to_pylist())


def ingest(work: Folder, name: str, seed: int) -> Source:
    """Makes a source of random bytes: what is not decoded need not be an image."""
    source = Source(name, work.child(f"ingest/{name}/i0"), work.child(f"rows/{name}"))
    random = np.random.default_rng(seed)
    for number in range(PARTS):
        part = Part("i0", name, f"part-{number:016x}")
        sizes = random.lognormal(np.log(MEDIAN_BYTES), 0.7, PART_ROWS).astype(int)
        with source.media.temporary_file() as path:
            with MediaTar(path, part) as tar:
                rows = [
                    make_row(name, f"{number}/{n}", random.bytes(size), tar)
                    for n, size in enumerate(sizes)
                ]
            source.media.create(tar.name, path)
        for row in rows:
            row["media"][0]["part_tar"] = tar.name
        table = pa.Table.from_pylist(rows)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        source.rows.create(f"{number:04d}", sink.getvalue().to_pybytes())
    return source


def make_row(source: str, locator: str, data: bytes, tar: MediaTar) -> dict[str, Any]:
    caption = f"a picture of {locator}, taken on a day of fair weather"
    identity = media_id(data)
    offset, length = tar.add(identity, data)
    text = {"role": "alt", "text": caption, "lang": None}
    text |= {"model": None, "prompt_id": None, "media_id": None}
    return {
        "sample_id": sample_id(source, locator, caption),
        "source": source,
        "kind": "pair",
        "locator": locator,
        "media": [{"role": "image", "media_id": identity, "offset": offset, "length": length}],
        "texts": [text],
        "text": caption,
        "licence": "CC0-1.0",
        "attribution": "",
        "meta": "{}",
        "row_digest": "0" * 32,
        "cluster_id": None,
        "mime": "image/jpeg",
        "width": 640,
        "height": 480,
        "caption_tokens": 10,
    }


def gather(work: Folder, sources: list[Source], out: str) -> None:
    for source in sources:
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            (
                pipeline
                | "Parts" >> beam.Create([f"{number:04d}" for number in range(PARTS)])
                | "Ids" >> beam.Map(source.ids)
                | "Rank" >> RankSamples(SEED, "shard")
                | "Write"
                >> WriteShards(source, source.media, work.child(f"{out}/{source.name}"), SETTINGS)
            )


def interleave(work: Folder, shards: dict[str, list[Shard]], out: str) -> None:
    counts = {name: sum(shard.samples for shard in ones) for name, ones in shards.items()}
    per_shard = SETTINGS.samples_per_shard
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        (
            pipeline
            | "Shards" >> beam.Create(take_first(shards, counts))
            | "Mix" >> WriteInterleaved(work, work.child(out), "mixed", SEED, per_shard)
        )


def copy_with_webdataset(work: Folder, shards: dict[str, list[Shard]], out: str) -> None:
    folder = Path(work.locate(out))
    folder.mkdir()
    fixed = {"mtime": 0, "user": "", "group": "", "mode": 0o644}
    for number, shard in enumerate(shard for ones in shards.values() for shard in ones):
        samples = webdataset.WebDataset([work.locate(shard.path)], shardshuffle=False)
        with (folder / f"{number:06d}.tar").open("wb") as file:
            with webdataset.TarWriter(file, encoder=False, compress=False, **fixed) as writer:
                for sample in samples:
                    writer.write(sample)
            file.flush()
            os.fsync(file.fileno())


def shards_of(work: Folder, out: str, source: str) -> list[Shard]:
    path = f"{out}/{source}"
    return [summary.to_shard(path) for summary in read_summaries(work.child(path))]


def measure(work: Folder) -> list[Figure]:
    sources = [ingest(work, name, seed) for seed, name in enumerate(SOURCES)]
    gather(work, sources, "shards")
    shards = {name: shards_of(work, "shards", name) for name in SOURCES}
    written = sum(shard.bytes for ones in shards.values() for shard in ones)

    def once(run: partial[None]) -> None:
        shutil.rmtree(work.locate("out"), ignore_errors=True)
        run("out")

    seconds = take_turns(
        ROUNDS,
        webdataset=partial(once, partial(copy_with_webdataset, work, shards)),
        gather=partial(once, partial(gather, work, sources)),
        interleave=partial(once, partial(interleave, work, shards)),
    )
    for name, ones in seconds.items():
        rates = ", ".join(f"{written / one / 1e6:.0f}" for one in ones)
        print(f"{name}: {rates} MB/s, {written / 1e6:.0f} MB")
    return [
        Figure(
            f"mix_{name}_rate_vs_webdataset",
            median_ratio(seconds["webdataset"], seconds[name]),
            "ratio",
            ">=",
            0.8,
        )
        for name in ("gather", "interleave")
    ]


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as folder:
        figures = measure(open_folder(folder))
    report("mix", figures)


if __name__ == "__main__":
    main()
