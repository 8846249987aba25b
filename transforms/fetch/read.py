"""Reads the slices of sources whose media have to be fetched: what is wanted, row by row."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.fetch import Fetch
from schemas.reasons import Reason
from schemas.recipe import Ingest
from schemas.samples import RawSample
from schemas.sources import HtmlSource, UrlSource, WarcSource
from storage.folders import Folder
from transforms.extract.page_folders import read_page_file
from transforms.extract.warc import read_warc
from transforms.fetch.url_columns import url_columns
from transforms.fetch.url_rows import UrlReader, UrlRow
from transforms.ingest.parquet_rows import BrokenFileError, open_parquet
from transforms.ingest.slices import Slice
from transforms.ingest.tables import Table

FetchedSource = UrlSource | HtmlSource | WarcSource


def read_url_rows(
    folder: Folder,
    source: FetchedSource,
    piece: Slice,
    limits: Ingest,
    fetch: Fetch,
    tables: Folder,
) -> Iterator[UrlRow]:
    """Yields the rows of a slice, one for every input; the same rows in the same order each time.

    Args:
        folder: the root of the source.
        source: how to read it.
        piece: what to read.
        limits: largest media.
        fetch: whose refusals count, and under which name.
        tables: where text tables have been transcoded to.

    Raises:
        SourceError: a list has not the columns that are needed.
    """
    product, most = fetch.product, limits.max_media_bytes
    match source:
        case UrlSource():
            yield from _read_list(folder, source, piece, tables)
        case HtmlSource():
            for file in piece.files:
                yield from read_page_file(folder, file.name, source, fetch.consent, product, most)
        case WarcSource():
            for file in piece.files:
                yield from read_warc(folder, file.name, fetch.consent, product, most)


def _read_list(folder: Folder, source: UrlSource, piece: Slice, tables: Folder) -> Iterator[UrlRow]:
    name = piece.files[0].name
    holder = tables if piece.table else folder
    with holder.open(piece.table or name) as file:
        try:
            table = Table(open_parquet(file), transcoded=bool(piece.table))
            if not table.columns:
                return
            columns = url_columns(source, name, table.columns)
            batches = table.read(piece.start, piece.stop, columns.names)
            yield from UrlReader(name, source, columns).rows(batches)
        except BrokenFileError as error:
            broken = f"the list breaks off: {error}"
            sample = RawSample(name, reason=Reason.CONTAINER_TRUNCATED, error=broken)
            yield UrlRow(sample, None)
