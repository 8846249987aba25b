"""Tables that rows are read from: Parquet as it is, and Parquet that a text table became.

A transcoded table has its columns by position (`0`, `1`, … as bytes) or its lines (`json`), and a
column of what is malformed. The names of the source's columns are in the file's metadata, so that
no name of theirs can clash with one of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.reasons import Reason
from transforms.ingest.columns import Column
from transforms.ingest.json_values import parse_json
from transforms.ingest.parquet_rows import Row, columns_of, read_rows

Format = Literal["csv", "jsonl"]

JSON_COLUMN = "json"
MALFORMED_COLUMN = "malformed"
MALFORMED_TYPE = pa.struct(
    [("reason", pa.string()), ("error", pa.string()), ("digest", pa.string())]
)

MAX_ROW_BYTES = 8 << 20
"""Longer rows of a text table are malformed."""

MAX_COLUMNS = 10_000
"""A text table has no more columns than this."""

_METADATA = b"mixwright.table"


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """What stands in the place of a row that could not be read.

    Attributes:
        reason: `row_malformed`; `container_truncated` for all that a damaged file no longer holds.
        error: what is wrong, with the beginning of the row.
        digest: of the whole row, as hex; empty where there is no row.
    """

    reason: Reason
    error: str
    digest: str = ""


def transcoded_schema(kind: Format, columns: int) -> pa.Schema:
    """Returns the schema of a transcoded table with so many columns (of no account to JSON)."""
    names = [JSON_COLUMN] if kind == "jsonl" else [str(number) for number in range(columns)]
    fields = [pa.field(name, pa.large_binary()) for name in names]
    return pa.schema([*fields, pa.field(MALFORMED_COLUMN, MALFORMED_TYPE)])


def table_metadata(kind: Format, columns: Sequence[str]) -> dict[bytes, bytes]:
    """Returns the file metadata that tells a transcoded table from any other Parquet."""
    return {_METADATA: json.dumps({"format": kind, "columns": list(columns)}).encode()}


def malformed_batch(schema: pa.Schema, rows: Sequence[MalformedRow]) -> pa.RecordBatch:
    """Returns malformed rows as a batch of a transcoded schema, null in every other column."""
    malformed = pa.array([asdict(row) for row in rows], MALFORMED_TYPE)
    columns = [
        malformed if field.name == MALFORMED_COLUMN else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)


def sound_batch(schema: pa.Schema, columns: Sequence[pa.Array]) -> pa.RecordBatch:
    """Returns rows that could be read as a batch of a transcoded schema."""
    cast = [column.cast(pa.large_binary()) for column in columns]
    nothing = pa.nulls(len(cast[0]), MALFORMED_TYPE)
    return pa.record_batch([*cast, nothing], schema=schema)


class Table:
    """An open table.

    Attributes:
        columns: the columns of the source, in order.
    """

    def __init__(self, parquet: pq.ParquetFile, transcoded: bool) -> None:
        """Reads what `parquet` says of itself; `transcoded` where we made it from a text table."""
        self._parquet = parquet
        self._format: Format | None = None
        self.columns = columns_of(parquet)
        if transcoded:
            described = json.loads(parquet.metadata.metadata[_METADATA])
            self._format = described["format"]
            self.columns = [Column(name) for name in described["columns"]]

    def read(
        self, start: int, stop: int, names: Sequence[str]
    ) -> Iterator[list[Row | MalformedRow]]:
        """Yields the rows [start, stop) in batches.

        Args:
            start: first row.
            stop: the row after the last.
            names: columns of the source to read, each there exactly once.

        Raises:
            BrokenFileError: see `read_rows`.
        """
        if self._format is None:
            for rows in read_rows(self._parquet, start, stop, names):
                yield [*rows]
            return
        places: dict[str, str] = {}
        for at, column in enumerate(self.columns):
            places.setdefault(column.name, str(at))
        in_json = self._format == "jsonl"
        stored = {name: JSON_COLUMN if in_json else places[name] for name in names}
        wanted = [*dict.fromkeys(stored.values()), MALFORMED_COLUMN]
        for rows in read_rows(self._parquet, start, stop, wanted):
            yield [self._source_row(row, stored) for row in rows]

    def _source_row(self, row: Row, stored: dict[str, str]) -> Row | MalformedRow:
        malformed = row[MALFORMED_COLUMN]
        if malformed is not None:
            told = {name: value.decode() for name, value in malformed.items()}
            return MalformedRow(Reason(told["reason"]), told["error"], told["digest"])
        if self._format == "jsonl":
            value: dict[str, Any] = parse_json(row[JSON_COLUMN])
            return {name: value.get(name) for name in stored}
        return {name: row[column] for name, column in stored.items()}
