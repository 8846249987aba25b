from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.errors import StorageError
from transforms.ingest import parquet_rows
from transforms.ingest.parquet_rows import (
    BrokenFileError,
    bytes_per_row,
    columns_of,
    open_parquet,
    read_rows,
)


def stored(table: pa.Table, **options) -> io.BytesIO:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return io.BytesIO(sink.getvalue())


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 100), (0, 1), (29, 31), (30, 60), (45, 46), (99, 100), (7, 93), (5, 5)]
)
def test_a_range_of_rows_across_row_groups(start, stop):
    parquet = open_parquet(stored(pa.table({"n": range(100), "m": range(100)}), row_group_size=30))
    rows = [row for batch in read_rows(parquet, start, stop, ["n"]) for row in batch]
    assert rows == [{"n": number} for number in range(start, stop)]


def test_row_groups_outside_the_range_are_not_touched():
    data = bytearray(
        stored(
            pa.table({"n": [str(n) * 20 for n in range(100)]}),
            row_group_size=50,
            compression="snappy",
            use_dictionary=False,
        ).getvalue()
    )
    data[10:200] = bytes(190)
    parquet = open_parquet(io.BytesIO(data))
    assert sum(map(len, read_rows(parquet, 50, 100, ["n"]))) == 50
    with pytest.raises(BrokenFileError):
        list(read_rows(parquet, 49, 100, ["n"]))


def test_batches_are_small_in_rows_and_in_bytes(monkeypatch):
    small = open_parquet(stored(pa.table({"n": range(1000)})))
    assert [len(rows) for rows in read_rows(small, 0, 1000, ["n"])] == [256, 256, 256, 232]
    monkeypatch.setattr(parquet_rows, "BATCH_BYTES", 10_000)
    table = pa.table({"data": [bytes([n]) * 1000 for n in range(50)], "n": range(50)})
    large = open_parquet(stored(table, use_dictionary=False))
    assert {len(rows) for rows in read_rows(large, 0, 50, ["data"])} <= set(range(1, 10))
    assert len(next(read_rows(large, 0, 50, ["n"]))) == 50
    assert 1000 < bytes_per_row(large.metadata.row_group(0), ["data"]) < 1100
    assert bytes_per_row(large.metadata.row_group(0), []) == 0


def test_text_is_bytes_whatever_its_type_and_its_encoding():
    bad = pa.array([b"\xff"], pa.binary())
    table = pa.table(
        {
            "string": bad.view(pa.string()),
            "large": bad.cast(pa.large_binary()).view(pa.large_string()),
            "view": pa.array(["a"], pa.string_view()),
            "dictionary": pa.array(["a"]).dictionary_encode(),
            "list": pa.array([["a", None]]),
            "fixed": pa.array([b"ab"], pa.binary(2)),
            "struct": [{"bytes": b"1", "path": "p"}],
        }
    )
    parquet = open_parquet(stored(table))
    ((row,),) = read_rows(parquet, 0, 1, table.schema.names)
    assert row == {
        "string": b"\xff",
        "large": b"\xff",
        "view": b"a",
        "dictionary": b"a",
        "list": [b"a", None],
        "fixed": b"ab",
        "struct": {"bytes": b"1", "path": b"p"},
    }
    assert [column.name for column in columns_of(parquet)] == table.schema.names


def test_declared_extension_types_are_read_as_what_they_are_stored_as():
    table = pa.table({"id": pa.array([b"0" * 16], pa.uuid())})
    ((row,),) = read_rows(open_parquet(stored(table)), 0, 1, ["id"])
    assert row == {"id": b"0" * 16}


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 100, b"PAR1" + bytes(50) + b"PAR1"])
def test_what_is_no_parquet(data):
    with pytest.raises(BrokenFileError):
        open_parquet(io.BytesIO(data))


def test_errors_of_storage_are_not_damage():
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise StorageError("gave up")

    with pytest.raises(StorageError, match="gave up"):
        open_parquet(Failing(b"x" * 100))
