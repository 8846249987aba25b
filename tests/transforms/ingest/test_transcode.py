from __future__ import annotations

import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from schemas.sources import TableSource
from storage.errors import StorageError
from storage.folders import Entry, open_folder
from transforms.ingest import csv_rows, jsonl_rows, tables
from transforms.ingest.inputs import SourceError
from transforms.ingest.parquet_rows import open_parquet
from transforms.ingest.tables import MalformedRow, Table
from transforms.ingest.transcode import (
    TranscodeSummary,
    needs_transcoding,
    transcode_table,
    transcoded_name,
)


def source(**settings):
    settings = {"path_column": "p", "texts": {"alt": "t"}, **settings}
    return TableSource(name="s", type="table", path="x", **settings)


@pytest.fixture
def transcode(tmp_path):
    """Transcodes bytes; returns the summary, the column names, and the rows by those names."""

    def run(data, name="a.csv", part_rows=10, **settings):
        (tmp_path / name).write_bytes(data)
        out = tmp_path / "out.parquet"
        summary = transcode_table(
            open_folder(str(tmp_path)), name, source(**settings), out, part_rows
        )
        with out.open("rb") as file:
            parquet = open_parquet(file)
            table = Table(parquet, transcoded=True)
            names = list(dict.fromkeys(column.name for column in table.columns))
            batches = table.read(0, parquet.metadata.num_rows, names)
            rows = [row for batch in batches for row in batch]
        assert len(rows) == summary.rows
        assert sum(isinstance(row, MalformedRow) for row in rows) == summary.malformed
        return summary, names, rows

    return run


def values(rows):
    return [tuple(row.values()) for row in rows if not isinstance(row, MalformedRow)]


def malformed(rows):
    return [row for row in rows if isinstance(row, MalformedRow)]


def test_names_of_text_tables():
    for name in ("a.csv", "x/a.TSV", "a.jsonl", "a.ndjson", "a.csv.gz", "a.jsonl.zst"):
        assert needs_transcoding(name)
    for name in ("a.parquet", "a.csv.xz", "a.tar", "csv"):
        assert not needs_transcoding(name)


def test_a_transcoded_table_is_named_after_its_input():
    names = {
        transcoded_name(entry)
        for entry in (
            *(Entry("a.csv", 1, None), Entry("a.csv", 2, None), Entry("b.csv", 1, None)),
            Entry("a.csv", 1, "crc32c:00000000"),
        )
    }
    assert len(names) == 4


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"p,t\na,b\nc,d\n", [(b"a", b"b"), (b"c", b"d")]),
        (b"p,t\r\na,b\r\nc,d", [(b"a", b"b"), (b"c", b"d")]),
        (b"\xef\xbb\xbfp,t\na,b\n", [(b"a", b"b")]),
        (b'\xef\xbb\xbf"p","t"\na,b\n', [(b"a", b"b")]),
        (b"\n\np,t\n\na,b\n\n\n", [(b"a", b"b")]),
        (b'p,t\n"a,1","b\nc ""d"""\n', [(b"a,1", b'b\nc "d"')]),
        (b'p,t\n,\n"",NA\nnull,NaN\n', [(b"", b""), (b"", b"NA"), (b"null", b"NaN")]),
        (b"p,t\na,\x00b\n", [(b"a", b"\x00b")]),
        (
            b"p,t\n\xff,caf\xe9\n\xc3\xa9,\xe2\x82\xac\n",
            [(b"\xff", b"caf\xe9"), ("é".encode(), "€".encode())],
        ),
        (b'p,t\na,5" pipe\nb,it"s\n', [(b"a", b'5" pipe'), (b"b", b'it"s')]),
        (b"p,t\n", []),
        (b"p,t", []),
    ],
)
@pytest.mark.parametrize("pack", ["", ".gz", ".zst"])
def test_csv(transcode, data, rows, pack):
    if pack:
        data = gzip.compress(data) if pack == ".gz" else pa.compress(data, "zstd", asbytes=True)
    summary, names, found = transcode(data, f"a.csv{pack}")
    assert names == ["p", "t"]
    assert values(found) == rows
    assert summary == TranscodeSummary(len(rows), 0, "")


def test_tsv_and_one_column(transcode):
    assert values(transcode(b"p\tt\na,b\tc\n", "a.tsv")[2]) == [(b"a,b", b"c")]
    one = {"path_column": "p", "texts": {"alt": "p"}}
    assert values(transcode(b"p\na\nb\n\nc", **one)[2]) == [(b"a",), (b"b",), (b"c",)]


def test_rows_with_too_few_or_too_many_columns_are_malformed(transcode):
    data = b"p,t\na,b\nlonely\nc,caf\xe9,e\nf,g\n" + b"x," * 2000 + b"\nh,i\n"
    summary, _, rows = transcode(data)
    assert values(rows) == [(b"a", b"b"), (b"f", b"g"), (b"h", b"i")]
    assert [row.error for row in malformed(rows)][:2] == [
        "1 columns instead of 2: lonely",
        "3 columns instead of 2: c,caf\\xe9,e",
    ]
    assert len(malformed(rows)[2].error) < 600
    assert {row.reason for row in malformed(rows)} == {Reason.ROW_MALFORMED}
    assert len({row.digest for row in malformed(rows)}) == 3
    assert summary == TranscodeSummary(6, 3, "")


def test_malformed_rows_are_named_by_content_wherever_they_are(transcode):
    one = malformed(transcode(b"p,t\nbad\na,b\n")[2])
    other = malformed(transcode(b"p,t\n" + b"a,b\n" * 50 + b"bad\n")[2])
    assert one == other


def test_more_malformed_rows_than_memory_wants(transcode, monkeypatch):
    monkeypatch.setattr(csv_rows, "_REFUSED_BATCH_ROWS", 100)
    data = b"p,t\n" + b"".join(b"bad%d\n" % number for number in range(1000)) + b"a,b\n"
    summary, _, rows = transcode(data, part_rows=300)
    assert summary.malformed == 1000
    assert [row.error[-6:] for row in malformed(rows)][-1] == "bad999"


@pytest.mark.parametrize("data", [b'p,t\na,b\nc,"d\ne,f\n', b'p,t\na,b\n"c,d\ne,f\n'])
def test_a_quote_that_is_never_closed_swallows_no_row_unseen(transcode, data):
    summary, _, rows = transcode(data)
    assert values(rows) == [(b"a", b"b")]
    (row,) = malformed(rows)
    assert row.error.startswith("a quote is opened and never closed: ")
    assert summary.broken == ""


def test_a_quote_that_is_never_closed_in_a_single_column(transcode):
    one = {"path_column": "p", "texts": {"alt": "p"}}
    _, _, rows = transcode(b'p\na\n"b\nc\n', **one)
    assert values(rows) == [(b"a",)]
    assert len(malformed(rows)) == 1


def test_a_row_that_is_too_long_ends_the_table(transcode, monkeypatch):
    monkeypatch.setattr(csv_rows, "MAX_ROW_BYTES", 1000)
    data = b"p,t\n" + b"a,b\n" * 10 + b'c,"' + b"x\n" * 5000
    summary, _, rows = transcode(data)
    assert values(rows) == [(b"a", b"b")] * 10
    (row,) = malformed(rows)
    assert (row.reason, row.digest) == (Reason.CONTAINER_TRUNCATED, "")
    assert "a quote is never closed" in row.error
    assert summary.broken == row.error


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.zst"])
def test_a_file_without_a_byte_is_one_row_that_says_so(transcode, name):
    summary, names, rows = transcode(b"", name)
    assert names == []
    assert rows == [MalformedRow(Reason.CONTAINER_TRUNCATED, summary.broken)]
    assert summary.broken == "the file is empty: there is not even a header"


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_a_packed_file_that_breaks_off_keeps_its_whole_rows(transcode, name):
    line = b'{"p": "a", "t": "b"}\n' if "json" in name else b"a,b\n"
    packed = gzip.compress(b"p,t\n" * ("csv" in name) + line * 1000)
    summary, _, rows = transcode(packed[:-9], name)
    assert 0 < len(values(rows)) <= 1000
    assert set(values(rows)) == {(b"a", b"b") if "csv" in name else ("a", "b")}
    assert malformed(rows) == [MalformedRow(Reason.CONTAINER_TRUNCATED, summary.broken)]
    assert summary.broken.startswith("the file breaks off")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a cat,x.jpg\na dog,y.jpg\n", "there is no column 't'"),
        ("p,t\n".encode("utf-16"), "the file is UTF-16; convert it to UTF-8"),
        (b"x" * (2 << 20), "the first line is longer than"),
        (b"p,t\ra,b\rc,d\r", "lines that end in LF or CRLF"),
        (b'p,"t\n', "with quotes closed"),
        (b",".join(b"%d" % n for n in range(20_000)) + b"\n", "20000 columns, more than 10000"),
        (b"p,t,t\na,b,c\n", "column 't' is there 2 times"),
    ],
)
def test_headers_that_cannot_be_used(transcode, data, told):
    with pytest.raises(SourceError, match=told) as caught:
        transcode(data)
    assert "a.csv" in str(caught.value)


def test_columns_may_have_any_name_and_be_there_twice(transcode):
    data = b"p,malformed,0,json,x,x,,caf\xe9,t\n1,2,3,4,5,6,7,8,9\n"
    _, names, rows = transcode(data)
    assert names == ["p", "malformed", "0", "json", "x", "", "caf\\xe9", "t"]
    assert values(rows) == [(b"1", b"2", b"3", b"4", b"5", b"7", b"8", b"9")]


def test_row_groups_are_no_larger_than_parts_and_the_file_is_deterministic(transcode, tmp_path):
    data = b"p,t\n" + b"".join(b"%d,b\n" % number for number in range(95)) + b"bad\n" * 30
    transcode(data)
    first = (tmp_path / "out.parquet").read_bytes()
    metadata = pq.read_metadata(tmp_path / "out.parquet")
    sizes = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    assert max(sizes) == 10
    assert sum(sizes) == 125
    transcode(data)
    assert (tmp_path / "out.parquet").read_bytes() == first


def test_row_groups_hold_few_bytes(transcode, tmp_path, monkeypatch):
    monkeypatch.setattr("transforms.ingest.transcode.MAX_GROUP_BYTES", 1000)
    monkeypatch.setattr(jsonl_rows, "BATCH_ROWS", 5)
    transcode(b'{"p": "a", "t": "%s"}\n' % (b"x" * 300) * 50, "a.jsonl", part_rows=1000)
    assert pq.read_metadata(tmp_path / "out.parquet").num_row_groups == 10


def test_jsonl(transcode):
    lines = [
        b'{"p": "a", "t": "b"}',
        b"",
        b"  ",
        b'{"t": ["x", null], "p": 1, "more": {"n": 1.5}}\r',
        b'{"p": "caf\xe9", "t": NaN}',
        b"{bad",
        b'["list"]',
        b"null",
    ]
    summary, names, rows = transcode(b"\xef\xbb\xbf" + b"\n".join(lines), "a.jsonl")
    assert names == ["p", "t", "more"]
    sound = [row for row in rows if not isinstance(row, MalformedRow)]
    assert sound[:2] == [
        {"p": "a", "t": "b", "more": None},
        {"p": 1, "t": ["x", None], "more": {"n": 1.5}},
    ]
    assert sound[2]["p"] == "caf\udce9"
    assert summary == TranscodeSummary(6, 3, "")
    told = [row.error for row in malformed(rows)]
    assert told[0].startswith("not JSON (")
    assert told[0].endswith("): {bad")
    assert told[1:] == ['a list, not an object: ["list"]', "a NoneType, not an object: null"]


def test_lines_that_are_too_long_are_malformed_and_not_held(transcode, monkeypatch):
    monkeypatch.setattr(jsonl_rows, "MAX_ROW_BYTES", 100)
    long = b'{"p": "a", "t": "' + b"x" * 5000 + b'"}'
    data = b'{"p": "a", "t": "b"}\n' + long + b'\n{"p": "c", "t": "d"}\n' + long
    _, _, rows = transcode(data, "a.jsonl")
    assert values(rows) == [("a", "b"), ("c", "d")]
    one, other = malformed(rows)
    assert one.error.startswith("a line of 5020 bytes, more than 100: {")
    assert other.error.startswith("a line of 5019 bytes")


def test_jsonl_without_one_good_line_has_malformed_rows_only(transcode):
    summary, names, rows = transcode(b"no\njson\n", "a.jsonl")
    assert names == []
    assert len(malformed(rows)) == 2
    assert summary == TranscodeSummary(2, 2, "")


def test_jsonl_needs_the_columns_that_the_recipe_names(transcode):
    with pytest.raises(SourceError, match="there is no column 't'"):
        transcode(b'{"p": "a"}\n', "a.jsonl")


def test_names_of_json_fields_are_not_without_end(transcode, monkeypatch):
    monkeypatch.setattr(jsonl_rows, "MAX_COLUMNS", 3)
    data = b'{"p": "a", "t": "b"}\n' + b"".join(b'{"x%d": 1}\n' % n for n in range(100))
    _, names, rows = transcode(data, "a.jsonl")
    assert names == ["p", "t", "x0"]
    assert len(rows) == 101


def test_errors_of_storage_are_not_damage(transcode, monkeypatch):
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 1 << 20:
                raise StorageError("gave up")
            return super().read(size)

    data = b"p,t\n" + b"a,b\n" * 2_000_000
    monkeypatch.setattr("storage.local.LocalFolder.open", lambda self, name: Failing(data))
    with pytest.raises(StorageError, match="gave up"):
        transcode(b"")


_FIELD = st.binary(max_size=20)


@given(st.lists(st.tuples(_FIELD, _FIELD, _FIELD), max_size=20), st.sampled_from(["\n", "\r\n"]))
def test_every_csv_that_python_writes_reads_back(tmp_path_factory, rows, newline):
    # Latin-1 lets the writer see any bytes as text.
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, quoting=csv.QUOTE_ALL, lineterminator=newline)
    writer.writerow(["p", "t", "x"])
    writer.writerows([[cell.decode("latin-1") for cell in row] for row in rows])
    root = tmp_path_factory.mktemp("csv")
    (root / "a.csv").write_bytes(sink.getvalue().encode("latin-1"))
    out = root / "out.parquet"
    summary = transcode_table(open_folder(str(root)), "a.csv", source(), out, 7)
    assert summary == TranscodeSummary(len(rows), 0, "")
    with out.open("rb") as file:
        read = Table(open_parquet(file), transcoded=True).read(0, len(rows), ["p", "t", "x"])
        assert [row for batch in read for row in values(batch)] == rows


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=20))
def test_any_lines_are_accounted_for(tmp_path_factory, lines):
    root = tmp_path_factory.mktemp("jsonl")
    good = [json.dumps({"p": line.hex(), "t": "t"}).encode() for line in lines]
    (root / "a.jsonl").write_bytes(b'{"p": "", "t": ""}\n' + b"\n".join(lines + good))
    folder, out = open_folder(str(root)), root / "out.parquet"
    summary = transcode_table(folder, "a.jsonl", source(), out, 7)
    blank = sum(not line.strip() for line in lines)
    assert summary.rows == 1 + 2 * len(lines) - blank
    with out.open("rb") as file:
        read = list(Table(open_parquet(file), transcoded=True).read(0, summary.rows, ["p"]))
    found = [row["p"] for batch in read for row in batch if isinstance(row, dict)]
    assert [p for p in found if p is not None][-len(lines) :] == [
        line.hex() for line in lines
    ] or not lines


def test_tables_of_other_files_are_read_as_they_are():
    sink = io.BytesIO()
    pq.write_table(pa.table({"malformed": [1], "0": ["a"]}), sink)
    table = Table(open_parquet(sink), transcoded=False)
    assert [column.name for column in table.columns] == ["malformed", "0"]
    assert list(table.read(0, 1, ["0"])) == [[{"0": b"a"}]]
    assert tables.MALFORMED_COLUMN == "malformed"
