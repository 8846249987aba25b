"""Reads any slice of any source: chunks of clean raw samples, one for every input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from posixpath import dirname

from schemas.reasons import Reason
from schemas.recipe import Ingest
from schemas.samples import RawSample, TextRole
from schemas.sources import Source, TableSource, TextPairSource, WebDatasetSource
from storage.folders import Folder, open_folder
from transforms.ingest.columns import NO_COLUMNS, table_columns
from transforms.ingest.image_folders import read_images
from transforms.ingest.img2dataset import read_shard
from transforms.ingest.parquet_rows import BrokenFileError, open_parquet
from transforms.ingest.rows import TableReader
from transforms.ingest.slices import Slice
from transforms.ingest.tables import Table
from transforms.ingest.text_pairs import TextPairReader
from transforms.ingest.texts import clean_sample
from transforms.ingest.webdataset import read_tar

CHUNK_SAMPLES = 256
CHUNK_BYTES = 64 << 20
"""A chunk holds at most so many samples and media bytes; one sample may hold more."""


def read_slice(
    folder: Folder, source: Source, piece: Slice, limits: Ingest, tables: Folder | None = None
) -> Iterator[list[RawSample]]:
    """Yields the samples of a slice in chunks, clean and with the primary text first.

    Every input yields exactly one sample, usable or with its reason (`clean_sample` has the order
    of reasons); a container that breaks off, or holds nothing, yields one of its own. A sample
    depends on nothing but its input: not on its neighbours, its place or the cutting of slices.

    Args:
        folder: the root of the source; see `rooted`.
        source: how to read it.
        piece: what to read.
        limits: largest media and texts.
        tables: where text tables have been transcoded to.

    Raises:
        SourceError: a table has not the columns that are needed.
        StorageError: the folder cannot be read.
    """
    roles = _roles(source)
    clean = (
        clean_sample(sample, roles, limits.max_text_bytes, source.licence)
        for sample in _samples(folder, source, piece, limits, tables)
    )
    yield from cut_chunks(clean, CHUNK_SAMPLES, CHUNK_BYTES)


def cut_chunks(
    samples: Iterable[RawSample], most: int, most_bytes: int
) -> Iterator[list[RawSample]]:
    """Yields samples in lists of at most `most` samples and `most_bytes` media bytes.

    A sample with more media bytes than that has a list of its own.
    """
    chunk: list[RawSample] = []
    held = 0
    for sample in samples:
        size = sum(len(media.data) for media in sample.media)
        if chunk and (len(chunk) >= most or held + size > most_bytes):
            yield chunk
            chunk, held = [], 0
        chunk.append(sample)
        held += size
    if chunk:
        yield chunk


def _roles(source: Source) -> tuple[TextRole, ...]:
    match source:
        case TableSource() | WebDatasetSource():
            return tuple(source.texts)
        case TextPairSource():
            return (TextRole.QUERY, TextRole.PASSAGE)
        case _:
            return ()


def _samples(
    folder: Folder, source: Source, piece: Slice, limits: Ingest, tables: Folder | None
) -> Iterator[RawSample]:
    match source:
        case TableSource() | TextPairSource():
            return _read_rows(folder, source, piece, limits, tables)
        case WebDatasetSource():
            read = read_tar(folder, piece.files[0], limits, source.texts)
            return (sample for _, sample in read)
        case _ if piece.kind == "shard":
            return read_shard(folder, piece.files, limits)
        case _:
            return read_images(folder, piece.files, limits)


def _read_rows(
    folder: Folder,
    source: TableSource | TextPairSource,
    piece: Slice,
    limits: Ingest,
    tables: Folder | None,
) -> Iterator[RawSample]:
    name = piece.files[0].name
    holder = folder
    if piece.table:
        if tables is None:
            raise ValueError(f"{name}: its rows are in {piece.table}; say where that lies")
        holder = tables
    with holder.open(piece.table or name) as file:
        try:
            table = Table(open_parquet(file), transcoded=bool(piece.table))
            columns = NO_COLUMNS
            if table.columns:
                columns = table_columns(source, name, table.columns)
            rows = table.read(piece.start, piece.stop, columns.names)
            if isinstance(source, TableSource):
                media = open_folder(source.media_root) if source.media_root else folder
                below = "" if source.media_root else dirname(name)
                yield from TableReader(name, source, columns, media, below, limits).samples(rows)
            else:
                yield from TextPairReader(name, columns).samples(rows)
        except BrokenFileError as error:
            reason = Reason.CONTAINER_TRUNCATED
            yield RawSample(name, reason=reason, error=f"the table breaks off: {error}")
