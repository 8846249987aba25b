"""Reads row ranges of Parquet files as plain rows, a small batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from transforms.ingest.columns import Column

BATCH_ROWS = 256
BATCH_BYTES = 64 << 20
"""A batch holds at most so many rows, and about so many bytes."""

_READ_AHEAD_BYTES = 1 << 20
"""Without it, pyarrow reads the whole column of a row group at once, however large."""

Row = dict[str, Any]
"""A row by column name: bytes, str, int, float, bool, None, and lists and dicts of these."""


class BrokenFileError(Exception):
    """A Parquet file ends too early, or holds what is no Parquet."""


def open_parquet(file: BinaryIO) -> pq.ParquetFile:
    """Opens a Parquet file by its footer.

    Raises:
        BrokenFileError: there is no valid footer.
    """
    with _damage():
        return pq.ParquetFile(
            file,
            pre_buffer=False,
            buffer_size=_READ_AHEAD_BYTES,
        )


def columns_of(parquet: pq.ParquetFile) -> list[Column]:
    """Returns the columns of an open file."""
    return [Column(field.name, _storage_type(field.type)) for field in parquet.schema_arrow]


def read_rows(
    parquet: pq.ParquetFile, start: int, stop: int, names: Sequence[str]
) -> Iterator[list[Row]]:
    """Yields the rows [start, stop) of a file in batches.

    Text comes as bytes, whether or not it is UTF-8: Parquet does not check. Dates, times and
    decimals come as text.

    Args:
        parquet: the open file; row groups outside the range are not touched.
        start: first row.
        stop: the row after the last.
        names: columns to read.

    Raises:
        BrokenFileError: a page cannot be read; the rows before it have been yielded.
    """
    first = 0
    for number in range(parquet.metadata.num_row_groups):
        rows = parquet.metadata.row_group(number).num_rows
        if first < stop and first + rows > start:
            low, high = max(start - first, 0), min(stop - first, rows)
            yield from _read_group(parquet, number, low, high, names)
        first += rows


def bytes_per_row(group: Any, names: Sequence[str]) -> float:
    """Returns the average bytes of a row in the named columns of a row group, uncompressed."""
    columns = (group.column(index) for index in range(group.num_columns))
    sizes = (
        column.total_uncompressed_size
        for column in columns
        if column.path_in_schema.partition(".")[0] in names
    )
    return sum(sizes) / max(group.num_rows, 1)


def _read_group(
    parquet: pq.ParquetFile, number: int, low: int, high: int, names: Sequence[str]
) -> Iterator[list[Row]]:
    average = bytes_per_row(parquet.metadata.row_group(number), names)
    batch_rows = int(min(BATCH_ROWS, max(1, BATCH_BYTES // max(average, 1))))
    batches = parquet.iter_batches(
        batch_size=batch_rows, row_groups=[number], columns=list(names), use_threads=False
    )
    at = 0
    while at < high:
        with _damage():
            batch = next(batches)
        first, last = max(low - at, 0), min(high - at, batch.num_rows)
        if first < last:
            yield _plain_rows(batch.slice(first, last - first))
        at += batch.num_rows


def _plain_rows(batch: pa.RecordBatch) -> list[Row]:
    columns = [_plain_column(column).to_pylist() for column in batch.columns]
    return [
        dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)
    ]


def _storage_type(kind: pa.DataType) -> pa.DataType:
    """Returns what values are stored as: a file may declare any extension type."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _plain_column(column: pa.Array) -> pa.Array:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if types.is_timestamp(column.type):
        # As UTC: a zone that this machine does not know must not matter.
        column = column.cast(pa.timestamp(column.type.unit))
    return column.cast(_plain_type(column.type))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Returns the type whose Python values cannot fail: text as bytes, times as text."""
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if types.is_struct(kind):
        return pa.struct([field.with_type(_plain_type(field.type)) for field in kind.fields])
    if types.is_nested(kind):
        return pa.large_list(_plain_type(kind.value_type))
    if types.is_temporal(kind) or types.is_decimal(kind):
        return pa.string()
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.large_binary()
    return kind


@contextmanager
def _damage() -> Iterator[None]:
    """Turns what pyarrow raises about damaged bytes into `BrokenFileError`."""
    try:
        yield
    except pa.ArrowInvalid as error:
        raise BrokenFileError(str(error)) from error
    except OSError as error:
        # pyarrow reports damage as a bare OSError without a number; storage has errors of its own.
        if type(error) is not OSError or error.errno is not None:
            raise
        raise BrokenFileError(str(error)) from error
