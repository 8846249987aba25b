"""Makes text tables sliceable: CSV, TSV and JSONL, packed or not, become Parquet, once.

A packed file, or a CSV with line breaks inside quotes, cannot be read from the middle. One worker
streams it into a Parquet file whose row groups can be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.digests import hex_digest
from schemas.reasons import Reason
from schemas.sources import TableSource, TextPairSource, UrlSource
from storage.folders import Entry, Folder
from transforms.fetch.cc_lines import CcLines
from transforms.fetch.url_columns import url_columns
from transforms.ingest.columns import Column, table_columns
from transforms.ingest.csv_rows import CsvRows
from transforms.ingest.jsonl_rows import JsonlRows
from transforms.ingest.streams import TextStream
from transforms.ingest.tables import (
    MALFORMED_COLUMN,
    MalformedRow,
    malformed_batch,
    table_metadata,
)

ListSource = TableSource | TextPairSource | UrlSource
"""Sources whose files are tables."""

MAX_GROUP_BYTES = 64 << 20
"""A row group is written at the latest when so many bytes are in hand."""

_VERSION = 1
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_FORMAT = re.compile(r".*\.(csv|tsv|jsonl|ndjson)(\.gz|\.zst)?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class TranscodeSummary:
    """What became of a text table.

    Attributes:
        rows: rows of the Parquet file, malformed ones included.
        malformed: rows that could not be read.
        broken: why the rest of the file could not be read, which counts as one row; empty where it
            could.
    """

    rows: int
    malformed: int
    broken: str


def needs_transcoding(name: str) -> bool:
    """Returns whether a table is a text table, by its name."""
    return _FORMAT.fullmatch(name) is not None


def transcoded_name(table: Entry) -> str:
    """Returns the name for the Parquet file of a text table: a digest of name, size, checksum."""
    digest = hex_digest(
        "transcode", str(_VERSION), table.name, str(table.size), table.checksum or ""
    )
    return f"{digest}.parquet"


def transcode_table(
    folder: Folder,
    name: str,
    source: ListSource,
    out_path: Path,
    part_rows: int,
) -> TranscodeSummary:
    """Streams a text table into a Parquet file; the same bytes give the same file.

    A row that cannot be read becomes a malformed row, and so does the rest of a file that breaks
    off. A file without a byte has one row that says so; one with nothing but a header has none.

    Args:
        folder: the root of the source.
        name: name of the text table.
        source: the source; its columns must be there.
        out_path: where to write, an existing directory's file. What is left there after an error is
            no table.
        part_rows: a row group has at most so many rows.

    Raises:
        SourceError: the table has no header, or not the columns that are needed.
    """
    label = f"source {source.name!r}, {name}"
    kind = _kind(name)
    with folder.open(name) as file:
        stream = TextStream(file)
        rows: JsonlRows | CsvRows
        if kind == "jsonl":
            rows = JsonlRows(stream)
        else:
            cc = isinstance(source, UrlSource) and source.layout == "cc"
            lines = CcLines(stream) if cc else stream
            rows = CsvRows(lines, "\t" if cc else _DELIMITERS[kind], label)
        if kind != "jsonl" and rows.columns:
            # A wrong header is worth knowing before gigabytes are read.
            _check_columns(source, name, rows.columns)
        with pq.ParquetWriter(out_path, rows.schema, compression="zstd") as writer:
            groups = _RowGroups(writer, rows.schema, part_rows)
            for batch in rows:
                groups.add(batch)
            broken = rows.broken or stream.broken
            if not (broken or rows.columns or groups.rows):
                broken = "the file is empty: there is not even a header"
            if broken:
                ending = MalformedRow(Reason.CONTAINER_TRUNCATED, broken)
                groups.add(malformed_batch(rows.schema, [ending]))
            groups.flush()
            writer.add_key_value_metadata(table_metadata(rows.format, rows.columns))
    if rows.columns:
        _check_columns(source, name, rows.columns)
    return TranscodeSummary(groups.rows, groups.malformed, broken)


class _RowGroups:
    """Writes batches as row groups of at most so many rows, and about `MAX_GROUP_BYTES` bytes.

    Attributes:
        rows, malformed: what has been added.
    """

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema, part_rows: int) -> None:
        self.rows = 0
        self.malformed = 0
        self._writer = writer
        self._part_rows = part_rows
        self._held = schema.empty_table()

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds rows; writes the row groups that are full."""
        self.rows += batch.num_rows
        self.malformed += len(batch) - batch.column(MALFORMED_COLUMN).null_count
        self._held = pa.concat_tables([self._held, pa.Table.from_batches([batch])])
        while self._held.num_rows >= self._part_rows:
            self._write(self._part_rows)
        if self._held.nbytes >= MAX_GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what is left."""
        if self._held.num_rows:
            self._write(self._held.num_rows)

    def _write(self, rows: int) -> None:
        self._writer.write_table(self._held.slice(0, rows), row_group_size=rows)
        self._held = self._held.slice(rows)


def _kind(name: str) -> str:
    match = _FORMAT.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no text table: its name ends in none of .csv, .tsv, .jsonl")
    kind = match[1].lower()
    return "jsonl" if kind == "ndjson" else kind


def _check_columns(source: ListSource, name: str, columns: list[str]) -> None:
    found = [Column(column) for column in columns]
    if isinstance(source, UrlSource):
        url_columns(source, name, found)
    else:
        table_columns(source, name, found)
