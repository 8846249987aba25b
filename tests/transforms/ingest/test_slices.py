from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.recipe import Ingest
from schemas.sources import FolderSource, Img2DatasetSource, TableSource, WebDatasetSource
from storage.folders import Entry, open_folder
from transforms.ingest.inputs import SourceError, list_inputs
from transforms.ingest.slices import Slice, cut_ranges, cut_slices, part_name
from transforms.ingest.transcode import transcode_table, transcoded_name

FILE = Entry("a.parquet", 10, "crc32c:00000000")


LIMITS = Ingest()


def cut(root, source, limits=LIMITS, tables=None):
    folder = open_folder(str(root))
    return list(cut_slices(folder, source, list_inputs(folder, source), limits, tables))


def table_source(root, **settings):
    settings = {"path_column": "path", "texts": {"alt": "text"}, **settings}
    return TableSource(name="t", type="table", path=str(root), **settings)


def write_table(path, rows, group=1000, **columns):
    columns = {"path": ["x.jpg"] * rows, "text": ["t"] * rows, **columns}
    pq.write_table(pa.table(columns), path, row_group_size=group)


def test_slices_travel_as_canonical_json():
    piece = Slice("rows", (FILE, Entry("b", 2, None)), 3, 7, "t.parquet")
    assert Slice.from_json(piece.to_json()) == piece
    assert piece.to_json() == (
        '{"files":[["a.parquet",10,"crc32c:00000000"],["b",2,null]],"kind":"rows","start":3,'
        '"stop":7,"table":"t.parquet"}'
    )


def test_part_names_are_digests_of_all_that_they_cover():
    piece = Slice("rows", (FILE,), 0, 7)
    name = part_name("web", "i0", piece)
    assert name == part_name("web", "i0", Slice.from_json(piece.to_json()))
    assert name.startswith("part-")
    assert len(name) == 21
    others = [
        part_name("web2", "i0", piece),
        part_name("web", "i1", piece),
        part_name("web", "i0", Slice("rows", (FILE,), 0, 8)),
        part_name("web", "i0", Slice("rows", (Entry("a.parquet", 11, FILE.checksum),), 0, 7)),
        part_name("web", "i0", Slice("rows", (Entry("a.parquet", 10, None),), 0, 7)),
        part_name("web", "i0", Slice("rows", (Entry("b.parquet", 10, FILE.checksum),), 0, 7)),
    ]
    assert len({name, *others}) == len(others) + 1


@pytest.mark.parametrize(
    ("groups", "ranges"),
    [
        ([], []),
        ([(0, 0)], []),
        ([(10, 0)], [(0, 10)]),
        ([(4, 0), (4, 0), (4, 0)], [(0, 8), (8, 12)]),
        ([(25, 0)], [(0, 8), (8, 16), (16, 25)]),
        ([(3, 0), (25, 0), (1, 0)], [(0, 3), (3, 11), (11, 19), (19, 29)]),
        ([(4, 300.0)], [(0, 1), (1, 2), (2, 4)]),
        ([(1, 1000.0), (1, 1.0)], [(0, 1), (1, 2)]),
    ],
)
def test_ranges_keep_row_groups_whole_where_they_can(groups, ranges):
    assert list(cut_ranges(groups, 10, 100.0)) == ranges


@given(
    st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1000))),
    st.integers(1, 20),
    st.floats(1, 500),
)
def test_ranges_cover_all_rows_once_within_the_limit(groups, most_rows, most_bytes):
    ranges = list(cut_ranges(groups, most_rows, most_bytes))
    total = sum(rows for rows, _ in groups)
    assert [row for start, stop in ranges for row in range(start, stop)] == list(range(total))
    assert all(0 < stop - start <= most_rows for start, stop in ranges)


def test_tables_are_cut_by_their_footers(tmp_path):
    write_table(tmp_path / "a.parquet", 2500)
    write_table(tmp_path / "b.parquet", 10)
    write_table(tmp_path / "c.parquet", 0)
    pieces = cut(tmp_path, table_source(tmp_path), Ingest(part_rows=2000))
    assert [(p.files[0].name, p.start, p.stop) for p in pieces] == [
        ("a.parquet", 0, 2000),
        ("a.parquet", 2000, 2500),
        ("b.parquet", 0, 10),
    ]
    assert {piece.kind for piece in pieces} == {"rows"}


def test_known_media_bytes_limit_a_slice(tmp_path):
    images = pa.array(
        [{"bytes": bytes(1000), "path": None}] * 100,
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({"image": images, "text": [str(n) for n in range(100)]})
    pq.write_table(
        table, tmp_path / "a.parquet", row_group_size=50, use_dictionary=False, compression="none"
    )
    source = TableSource(name="t", type="table", path=str(tmp_path))
    pieces = cut(tmp_path, source, Ingest(part_bytes=30_000))
    assert [(piece.start, piece.stop) for piece in pieces] == [
        (0, 25),
        (25, 50),
        (50, 75),
        (75, 100),
    ]


def test_new_inputs_leave_the_slices_of_others_alone(tmp_path):
    write_table(tmp_path / "b.parquet", 10)
    before = cut(tmp_path, table_source(tmp_path))
    write_table(tmp_path / "a.parquet", 10)
    write_table(tmp_path / "c.parquet", 10)
    assert set(before) < set(cut(tmp_path, table_source(tmp_path)))


def test_a_table_that_cannot_be_opened_is_a_slice_of_its_own(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    (piece,) = cut(tmp_path, table_source(tmp_path))
    assert (piece.start, piece.stop) == (0, 0)


def test_wrong_columns_fail_before_any_work(tmp_path):
    write_table(tmp_path / "a.parquet", 1)
    with pytest.raises(SourceError, match="there is no column 'nope'"):
        cut(tmp_path, table_source(tmp_path, path_column="nope"))


def test_text_tables_are_cut_once_they_are_parquet(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("path,text\n" + "x.jpg,t\n" * 25)
    source = table_source(tmp_path / "in")
    with pytest.raises(ValueError, match=r"a\.csv: a text table is sliced after"):
        cut(tmp_path / "in", source)
    folder = open_folder(str(tmp_path / "in"))
    (file,) = list_inputs(folder, source)
    transcode_table(folder, "a.csv", source, tmp_path / transcoded_name(file), 10)
    pieces = cut(tmp_path / "in", source, Ingest(part_rows=10), open_folder(str(tmp_path)))
    assert [(piece.start, piece.stop) for piece in pieces] == [(0, 10), (10, 20), (20, 25)]
    assert {piece.table for piece in pieces} == {transcoded_name(file)}
    assert {piece.files for piece in pieces} == {(file,)}


def test_a_tar_is_one_slice_and_a_shard_is_its_two_files(tmp_path):
    for name in ("0.tar", "1.tar", "1.parquet", "2.parquet"):
        (tmp_path / name).write_bytes(bytes(5000))
    tars = WebDatasetSource(name="w", type="webdataset", path=str(tmp_path))
    pieces = cut(tmp_path, tars, Ingest(part_bytes=1))
    assert [[file.name for file in piece.files] for piece in pieces] == [["0.tar"], ["1.tar"]]
    shards = Img2DatasetSource(name="i", type="img2dataset", path=str(tmp_path))
    pieces = cut(tmp_path, shards)
    assert [[file.name for file in piece.files] for piece in pieces] == [
        ["0.tar"],
        ["1.parquet", "1.tar"],
        ["2.parquet"],
    ]


def test_folders_are_cut_into_runs_of_images_with_their_sidecars(tmp_path):
    for name in ("a.jpg", "a.json", "a.txt", "b.jpg", "c.jpg", "c.png", "c.txt", "d.jpg"):
        (tmp_path / name).write_bytes(bytes(100))
    source = FolderSource(name="f", type="folder", path=str(tmp_path))

    def names(limits):
        return [" ".join(f.name for f in piece.files) for piece in cut(tmp_path, source, limits)]

    assert names(Ingest(part_rows=2)) == ["a.jpg a.json a.txt b.jpg", "c.jpg c.png c.txt", "d.jpg"]
    assert names(Ingest(part_rows=3)) == [
        "a.jpg a.json a.txt b.jpg c.jpg c.txt",
        "c.png c.txt d.jpg",
    ]
    assert len(names(Ingest(part_bytes=250))) == 3
    assert len(names(Ingest(part_bytes=1))) == 5
    assert len(names(Ingest())) == 1
