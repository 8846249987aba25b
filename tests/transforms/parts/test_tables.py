from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.layout import Part
from storage.folders import open_folder
from transforms.parts.tables import (
    ROW_GROUP_ROWS,
    KeptSplit,
    PartFile,
    commit_table,
    encode_table,
    list_committed,
    part_of,
    read_all_notes,
    read_chunks,
    read_counts,
    read_notes,
    read_table,
    status_counts,
)

PART = Part("i0", "web", "part-00000000000000aa")
TABLE = pa.table({"sample_id": ["a", "b", "c"], "n": pa.array([1, None, 3], pa.int32())})


@pytest.fixture
def folder(tmp_path):
    return open_folder(str(tmp_path))


def test_a_part_is_named_by_source_intake_and_version():
    file = PartFile(PART, 3)
    assert file.name == "web/i0/part-00000000000000aa.v3.parquet"
    assert part_of(PART.stem) == PART


def test_what_is_committed_is_read_back(folder):
    file = PartFile(PART, 1)
    splits = {"train": KeptSplit(2, "ab"), "test": KeptSplit(0, "00")}
    assert commit_table(folder, file, TABLE, {"rows": 3, "kept": 2}, splits)
    assert read_table(folder, file.name).equals(TABLE)
    assert read_table(folder, file.name, ["n"]).column_names == ["n"]
    assert read_counts(folder, file.name) == {"rows": 3, "kept": 2}
    assert read_notes(folder, file.name).splits == splits
    assert read_all_notes(folder, [file, file]) == [read_notes(folder, file.name)] * 2


def test_the_first_commit_wins(folder):
    file = PartFile(PART, 1)
    assert commit_table(folder, file, TABLE, {"rows": 3})
    assert not commit_table(folder, file, TABLE.slice(1), {"rows": 2})
    assert read_counts(folder, file.name) == {"rows": 3}


def test_a_file_of_another_writer_has_no_notes(folder, tmp_path):
    pq.write_table(TABLE, tmp_path / "other.parquet")
    assert read_notes(folder, "other.parquet") == ({}, {})


def test_the_highest_version_of_each_part_is_listed_and_nothing_else(folder):
    other = Part("i1", "web", "part-00000000000000ab")
    for part, version in ((PART, 1), (PART, 10), (PART, 9), (other, 1)):
        commit_table(folder, PartFile(part, version), TABLE, {})
    for name in ("web/i0/parts.parquet", "web/i0/part-00aa.v1.parquet", "runs/ingest.json"):
        folder.create(name, b"")
    folder.create("web/i0/part-00000000000000aa.1234.tar", b"")
    assert list_committed(folder) == {PART: PartFile(PART, 10), other: PartFile(other, 1)}
    assert list_committed(folder, "web/i1/") == {other: PartFile(other, 1)}
    assert list_committed(folder.child("nowhere")) == {}


def test_equal_tables_give_equal_bytes_however_they_are_chunked():
    chunked = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])
    counts = {"rows": 3, "a": 1}
    data = encode_table(TABLE, counts)
    assert encode_table(chunked.combine_chunks(), dict(reversed(counts.items()))) == data
    assert encode_table(TABLE, {"rows": 4}) != data


def test_a_reader_of_a_long_part_holds_one_row_group(folder):
    rows = ROW_GROUP_ROWS * 2 + 5
    file = PartFile(PART, 1)
    commit_table(folder, file, pa.table({"n": range(rows)}), {})
    with folder.open(file.name) as handle:
        metadata = pq.read_metadata(handle)
    sizes = [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]
    assert sizes == [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 5]
    chunks = list(read_chunks(folder, file.name, 300, ["n"]))
    assert max(len(chunk) for chunk in chunks) == 300
    assert [n for chunk in chunks for n in chunk["n"].to_pylist()] == list(range(rows))


def test_statuses_are_counted_and_nulls_only_as_rows():
    status = pa.chunked_array([["ok", None, "ok"], ["media_unreadable"]])
    assert status_counts(status) == {"rows": 4, "ok": 2, "media_unreadable": 1}
    assert status_counts(pa.chunked_array([], pa.string())) == {"rows": 0}
