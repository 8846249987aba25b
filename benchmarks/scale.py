"""Measures what a sample costs at each stage: the figures that `docs/scale.md` multiplies.

    python -m benchmarks.scale [folder for its files]

CPU milliseconds of this process, on one thread, without imports, so that other load hardly matters.
Stages that count and decide run through Beam over drawn rows (`benchmarks.measured_work`) at two
sizes; the cost of a row is the slope. Captions are sentences of the docstrings of Python's standard
library: English prose of the length of web captions, at hand everywhere. Bytes of a row are those
of a part of 10,000 rows whose values are drawn from the demo's photographs and these sentences.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import pickle
import platform
import re
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import mix
from benchmarks.figures import PACKAGES, RESULTS, describe_machine
from benchmarks.measure import MAX_PIXELS, make_images
from benchmarks.measured_work import make_recipe, write_measured_work
from pipelines import count, dedupe, select
from pipelines.engine import LocalEngine
from pipelines.jobs import Job, Settings
from schemas.layout import Part
from schemas.samples import MediaRole, RawMedia, RawSample, RawText, TextRole
from schemas.tables import CLUSTERS, family_schema
from storage.folders import open_folder
from transforms.counts.keys import asks
from transforms.counts.ngrams import read_ngrams
from transforms.ingest.blocklist import load_block_list
from transforms.ingest.commit import commit_part
from transforms.parts.tables import PartFile, encode_table, read_table
from transforms.parts.work import NumberedPart
from transforms.shards.series import build_records
from transforms.signals.image import measure_images
from transforms.signals.text import measure_texts
from transforms.work import Work

SIDES = (256, 512, 1024)
IMAGES = 200
CAPTIONS = 10_000
CAPTION_WORDS = range(4, 17)
SMALL, LARGE = 50_000, 200_000
PART = PartFile(Part("i0", "web", "part-0000000000000000"), 1)
SEED = 0

Figures = dict[str, float]


def captions(most: int) -> list[str]:
    """Returns up to `most` different sentences from the docstrings of the standard library."""
    found: dict[str, None] = {}
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if len(found) >= most:
            break
        if "site-packages" not in path.parts and "test" not in path.parts:
            found |= dict.fromkeys(_sentences(path))
    return list(islice(found, most))


def _sentences(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
    for docstring in filter(None, docstrings):
        for sentence in re.split(r"(?<=[.!?])\s+|\n\n", docstring):
            if len(sentence.split()) in CAPTION_WORDS:
                yield " ".join(sentence.split())


def cpu_ms(run: Callable[[], object]) -> float:
    """Returns the CPU milliseconds of a run, by all threads of this process."""
    start = time.process_time()
    run()
    return 1e3 * (time.process_time() - start)


def measure_cost() -> Iterator[tuple[str, float]]:
    """Yields what decoding and measuring an image costs at several sizes, and what a text costs."""
    for side in SIDES:
        blobs = list(make_images(IMAGES, side))
        batch = measure_images(blobs, MAX_PIXELS)
        spent = cpu_ms(partial(measure_images, blobs, MAX_PIXELS))
        yield f"image_{side}px_ms", spent / IMAGES
        yield f"image_{side}px_megapixels", np.mean(batch["image.megapixels"]).item()
        yield f"image_{side}px_bytes", np.mean([len(blob) for blob in blobs]).item()
    texts = captions(CAPTIONS)
    measure_texts(texts[:100])
    yield "text_ms", cpu_ms(partial(measure_texts, texts)) / len(texts)


def part_cost(folder: str) -> Iterator[tuple[str, float]]:
    """Yields what taking in an image costs, and the n-grams and bytes of a part of 10,000 rows."""
    work = Work(open_folder(folder), make_recipe())
    random = np.random.default_rng(SEED)
    texts = captions(CAPTIONS)
    blobs = [random.bytes(60_000) for _ in range(1000)]
    block = load_block_list(work.recipe.ingest.block, MAX_PIXELS)
    large = [_pair(f"{number}", texts[number], blob) for number, blob in enumerate(blobs)]
    file = PartFile(Part("i0", "large", PART.part.name), 1)
    yield (
        "ingest_60kB_ms",
        cpu_ms(partial(commit_part, work.ingest, file, [large], block)) / len(large),
    )
    small = [_pair(random.bytes(12).hex(), text, random.bytes(64)) for text in texts]
    commit_part(work.ingest, PART, [small], block)
    found = read_ngrams(work.ingest, PART)
    yield "words_per_text", (len(found.keys) / len(texts) + 1) / 2
    yield "ngrams_per_text", len(found.keys) / len(texts)
    yield "distinct_ngrams_of_part_per_text", len(asks(found.keys, 0)) / len(texts)
    yield "stored_ingest_bytes", len(work.ingest.read(PART.name)) / len(texts)
    ids = read_table(work.ingest, PART.name, ["sample_id"])["sample_id"].combine_chunks()
    for name, table in _families(ids, texts, random):
        size = len(encode_table(table, {"rows": len(table)}))
        yield f"stored_{name.replace('/', '_')}_bytes", size / len(texts)


def _pair(name: str, text: str, data: bytes) -> RawSample:
    locator = f"https://images.example/{name}/picture.jpg"
    texts = (RawText(TextRole.ALT, text),)
    return RawSample(locator, texts=texts, media=(RawMedia(MediaRole.IMAGE, data),))


def _families(
    ids: pa.Array, texts: list[str], random: np.random.Generator
) -> Iterator[tuple[str, pa.Table]]:
    """Yields tables of every family for these rows; digests and hashes are drawn anew."""
    rows = len(ids)
    measured = measure_images(list(make_images(IMAGES, SIDES[0])), MAX_PIXELS)
    drawn = pa.Table.from_batches([measured]).take(random.integers(0, IMAGES, rows))
    fresh: dict[str, Any] = {
        "image.bytes": random.lognormal(11, 0.7, rows).astype(np.int64),
        "image.pixel_digest": [random.bytes(16).hex() for _ in range(rows)],
        "image.phash": random.integers(0, 1 << 63, rows).astype(np.uint64),
        "image.dhash": random.integers(0, 1 << 63, rows).astype(np.uint64),
        "image.entropy": random.normal(6.5, 1, rows).clip(0, 8).round(4),
        "image.sharpness": random.lognormal(6, 2, rows).round(4),
        "image.luminance": random.normal(120, 40, rows).round(4),
    }
    for name, values in fresh.items():
        at = drawn.column_names.index(name)
        drawn = drawn.set_column(at, drawn.field(name), pa.array(values, drawn.field(name).type))
    yield "measure/image", drawn.add_column(0, family_schema("measure/image").field(0), ids)
    text = pa.Table.from_batches([measure_texts(texts)])
    yield "measure/text", text.add_column(0, family_schema("measure/text").field(0), ids)
    for family in ("count/sharing", "count/ngrams"):
        schema = family_schema(family)
        values = [random.zipf(1.6, rows).clip(max=1 << 30) for _ in range(len(schema) - 1)]
        yield family, pa.table([ids, *values], names=schema.names).cast(schema)
    clustered = random.random(rows) < 0.1
    names = [one[:32] for one in ids.to_pylist()]
    columns = [
        ids,
        pa.array(names, mask=~clustered),
        pa.array(np.full(rows, 2), mask=~clustered),
        pa.array(["bytes"] * rows, mask=~clustered),
    ]
    yield "dedupe/exact", pa.Table.from_arrays(columns, schema=CLUSTERS)


def global_cost(folder: str) -> Iterator[tuple[str, float]]:
    """Yields what a row costs to count, deduplicate and decide, as the slope between two sizes."""
    spent: dict[int, Figures] = {}
    stored = 0.0
    for rows in (SMALL, LARGE):
        work = write_measured_work(f"{folder}/{rows}", rows, make_recipe(quantile=True))
        _forget(work, "count/sharing", "count/ngrams", "dedupe/exact")
        jobs = chain(
            count.jobs(work, Settings(threads=1)),
            dedupe.jobs(work, Settings(threads=1)),
            select.jobs(work, Settings(threads=1)),
        )
        spent[rows] = {job.title.removesuffix(" i0"): _run(job) for job in jobs}
        (ledger,) = work.ledgers().values()
        stored = sum(entry.size for entry in ledger.list()) / rows
    for title, large in spent[LARGE].items():
        slope = (large - spent[SMALL][title]) / (LARGE - SMALL)
        yield f"{title.replace('/', '_')}_ms", slope
    yield "stored_select_ledger_bytes", stored


def _forget(work: Work, *families: str) -> None:
    parts = work.parts(*work.intakes())
    for family in families:
        folder = work.global_family(family, parts)
        for entry in list(folder.list()):
            folder.delete(entry.name)


def _run(job: Job) -> float:
    return cpu_ms(partial(LocalEngine().execute, job.build))


def shard_cost(folder: str) -> Iterator[tuple[str, float]]:
    """Yields what writing a shard costs per megabyte, and its index per sample."""
    work = open_folder(folder)
    source = mix.ingest(work, "web", SEED)
    spent = cpu_ms(partial(mix.gather, work, [source], "shards"))
    shards = mix.shards_of(work, "shards", "web")
    yield "shard_ms_per_MB", spent / (sum(shard.bytes for shard in shards) / 1e6)
    samples = sum(shard.samples for shard in shards)
    media = sum(entry.size for entry in source.media.list())
    indexes = sum(len(work.read(shard.index)) for shard in shards)
    yield "stored_shard_texts_bytes", (sum(shard.bytes for shard in shards) - media) / samples
    yield "stored_index_bytes", indexes / samples
    rows = source("0000")
    ranks = np.arange(len(rows)) + 10**9
    lines = [one.to_line() for one in build_records(rows, ranks, np.arange(len(rows)), None)]
    yield "shard_reference_bytes", np.mean([len(line) for line in lines]).item()
    yield "part_description_bytes", len(pickle.dumps(NumberedPart(10**5, PART, 10**4)))


def main() -> None:
    """Prints every figure and writes them to `benchmarks/results/scale.json`."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as folder:
        for name, value in chain(
            measure_cost(),
            part_cost(f"{folder}/part"),
            global_cost(f"{folder}/global"),
            shard_cost(f"{folder}/shards"),
        ):
            figures[name] = float(f"{value:.4g}")
            print(f"{name} {figures[name]:g}", flush=True)
    result = {
        "benchmark": "scale",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe_machine(),
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in PACKAGES},
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "scale.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
