"""Makes text tables sliceable: CSV, TSV and JSONL, packed or not, become Parquet, once.

A packed file, or a CSV with line breaks inside quotes, cannot be read from the middle. One worker
streams it into a Parquet file whose row groups can be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.digests import hex_digest
from schemas.reasons import Reason
from schemas.recipe import TableSource, TextPairSource
from storage.folders import Entry, Folder
from transforms.ingest.columns import Column, table_columns
from transforms.ingest.csv_rows import read_csv
from transforms.ingest.jsonl_rows import read_jsonl
from transforms.ingest.streams import TextStream
from transforms.ingest.tables import MALFORMED_COLUMN, MalformedRow, table_metadata

MAX_GROUP_BYTES = 64 << 20
"""A row group is written at the latest when so many bytes are in hand."""

_VERSION = 1
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
    source: TableSource | TextPairSource,
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
    kind = _FORMAT.fullmatch(name)[1].lower()
    with folder.open(name) as file, _Writer(out_path, part_rows) as writer:
        stream = TextStream(file)
        rows = _rows_of(stream, kind, f"source {source.name!r}, {name}")
        broken = rows.broken or stream.broken
