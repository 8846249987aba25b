"""Measures the images of a part: every stored image once, in the order in which it lies in its tar.

Decoding libraries release the interpreter lock, so threads inside a part use all cores; nothing is
shuffled between reading a part and committing its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection

from schemas.tables import family_schema
from storage.folders import Folder
from storage.ranges import read_many
from transforms.measure.threads import decoding_pool
from transforms.parts.heartbeat import beat
from transforms.parts.rows import first_media
from transforms.parts.tables import PartFile, commit_table, read_table, status_counts
from transforms.signals.image import measure_images

FAMILY = "measure/image"

CHUNK_IMAGES = 256
CHUNK_BYTES = 32 << 20
"""Encoded bytes held at once: one chunk is decoded while the next is read."""

_PLACE = ["part_tar", "offset", "length", "media_id"]


class Chunk(NamedTuple):
    """Images that are read and decoded together: ranges (offset, length) of one tar."""

    tar: str
    ranges: list[tuple[int, int]]


def cut_chunks(
    images: list[tuple[str, int, int]], most: int = CHUNK_IMAGES, most_bytes: int = CHUNK_BYTES
) -> Iterator[Chunk]:
    """Cuts images, given as (tar, offset, length) in order, into chunks.

    A chunk lies in one tar and holds at most `most` images and `most_bytes` bytes; an image that is
    larger than that is a chunk of its own.
    """
    chunk: Chunk | None = None
    held = 0
    for tar, offset, length in images:
        if chunk is not None and (
            tar != chunk.tar or len(chunk.ranges) >= most or held + length > most_bytes
        ):
            yield chunk
            chunk, held = None, 0
        if chunk is None:
            chunk = Chunk(tar, [])
        chunk.ranges.append((offset, length))
        held += length
    if chunk is not None:
        yield chunk


def measure_chunks(
    folder: Folder, chunks: list[Chunk], max_pixels: int, pool: ThreadPoolExecutor
) -> Iterator[pa.RecordBatch]:
    """Yields the signals of each chunk's images; the next chunk is read meanwhile.

    Args:
        folder: the folder that the tars lie in.
        chunks: what to read.
        max_pixels: images that announce more are refused before decoding.
        pool: threads that read and decode.
    """
    reads = [pool.submit(read_many, folder, *chunk) for chunk in chunks[:1]]
    for number in range(len(chunks)):
        blobs = reads.pop().result()
        reads += [pool.submit(read_many, folder, *chunk) for chunk in chunks[number + 1 :][:1]]
        yield measure_images(blobs, max_pixels, pool)
        beat("measure", len(blobs))


def measure_part(
    ingest: Folder, file: PartFile, max_pixels: int, pool: ThreadPoolExecutor
) -> pa.Table:
    """Returns the `measure/image` columns of a part, one row for each of its rows."""
    rows = read_table(ingest, file.name, ["sample_id", "media"])
    media = first_media(rows["media"])
    places = pa.table({name: pc.struct_field(media, name) for name in _PLACE})
    images = (
        places.filter(places["media_id"].is_valid())
        .group_by(_PLACE, use_threads=False)
        .aggregate([])
        .sort_by([("part_tar", "ascending"), ("offset", "ascending")])
    )
    located = list(zip(*(images[name].to_pylist() for name in _PLACE[:3]), strict=True))
    folder = ingest.child(f"{file.part.source}/{file.part.intake}")
    schema = family_schema(FAMILY)
    measured = pa.Table.from_batches(
        measure_chunks(folder, list(cut_chunks(located)), max_pixels, pool), schema.remove(0)
    )
    measured_ids = images["media_id"].combine_chunks()
    columns = measured.take(pc.index_in(places["media_id"], value_set=measured_ids))
    return columns.add_column(0, schema.field(0), rows["sample_id"])


class MeasureImages(beam.PTransform[PCollection[PartFile], PCollection[str]]):
    """Part files → the names of the committed files of `measure/image`."""

    def __init__(self, ingest: Folder, family: Folder, max_pixels: int, threads: int) -> None:
        """Reads parts below `ingest`, commits below `family`, decodes with `threads` threads."""
        super().__init__()
        self._measure = _MeasurePart(ingest, family, max_pixels, threads)

    def expand(self, parts: PCollection[PartFile]) -> PCollection[str]:
        """Measures part by part, without a shuffle."""
        return parts | "Measure" >> beam.ParDo(self._measure)


class _MeasurePart(beam.DoFn):
    def __init__(self, ingest: Folder, family: Folder, max_pixels: int, threads: int) -> None:
        self._ingest = ingest
        self._family = family
        self._max_pixels = max_pixels
        self._threads = threads

    def setup(self) -> None:
        self._pool = decoding_pool(self._threads)

    def teardown(self) -> None:
        self._pool.shutdown()

    def process(self, file: PartFile) -> Iterator[str]:
        table = measure_part(self._ingest, file, self._max_pixels, self._pool)
        commit_table(self._family, file, table, status_counts(table["status"]))
        yield file.name
