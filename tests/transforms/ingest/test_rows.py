from __future__ import annotations

import csv
import datetime
import decimal
import hashlib
import io
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from schemas.recipe import Ingest
from schemas.samples import TextRole
from schemas.sources import TableSource
from transforms.ingest.inputs import SourceError
from transforms.ingest.rows import matches

HF_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture
def root(tmp_path, image):
    for number in range(3):
        path = tmp_path / f"images/{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image(number))
    return tmp_path


@pytest.fixture
def read(root, read_source):
    def read_table(limits=None, **settings):
        settings = {"path": str(root), "files": "*", **settings}
        return read_source(TableSource(name="t", type="table", **settings), limits)

    return read_table


def write_csv(path, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def told(sample):
    return [(text.role, text.text) for text in sample.texts]


def test_a_csv_with_paths(root, read, image):
    write_csv(
        root / "a.csv",
        ("file_name", "text", "title", "license", "author", "width", "note"),
        ("images/0.png", "a cat", "Cat", "CC0", "Ann", "640", ""),
        ("./images//1.png", "ein Hund", "", "", "", "", "x" * 3000),
    )
    first, second = read(licence="CC-BY")
    assert first.locator == "images/0.png"
    assert first.media[0].data == image(0)
    assert told(first) == [(TextRole.ALT, "a cat"), (TextRole.TITLE, "Cat")]
    assert (first.licence, first.attribution, first.meta) == ("CC0", "Ann", {"width": "640"})
    assert second.locator == "images/1.png"
    assert second.media[0].data == image(1)
    assert (second.licence, second.meta, second.reason) == ("CC-BY", {}, None)


def test_every_text_format_gives_the_same_samples(root, read):
    rows = [{"file_name": f"images/{n}.png", "caption": f"text {n}"} for n in range(3)]
    found = []
    for name in ("a.csv", "a.tsv", "a.jsonl", "a.parquet"):
        for old in root.glob("a.*"):
            old.unlink()
        if name == "a.parquet":
            pq.write_table(pa.Table.from_pylist(rows), root / name)
        elif name == "a.jsonl":
            (root / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            mark = "\t" if name == "a.tsv" else ","
            lines = [mark.join(row.values()) for row in [{name: name for name in rows[0]}, *rows]]
            (root / name).write_text("\n".join(lines))
        found.append([(s.locator, told(s), s.media, s.reason, s.meta) for s in read()])
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == 3


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("images/9.png", Reason.MEDIA_MISSING),
        ("images", Reason.MEDIA_MISSING),
        ("", Reason.MEDIA_MISSING),
        ("/etc/passwd", Reason.MEDIA_REFUSED_PATH),
        ("../x.png", Reason.MEDIA_REFUSED_PATH),
        ("images/../../x.png", Reason.MEDIA_REFUSED_PATH),
        ("http://example.org/x.png", Reason.MEDIA_REFUSED_PATH),
        ("gs://bucket/x.png", Reason.MEDIA_REFUSED_PATH),
        ("images\\0.png", Reason.MEDIA_REFUSED_PATH),
    ],
)
def test_paths_without_media(root, read, path, reason):
    write_csv(root / "a.csv", ("file_name", "text"), (path, "a cat"))
    (sample,) = read()
    assert (sample.reason, sample.media) == (reason, ())
    assert sample.error
    assert path in ("", sample.locator)
    assert told(sample) == [(TextRole.ALT, "a cat")]


def test_media_that_are_too_large_are_not_read(root, read, monkeypatch, image):
    write_csv(root / "a.csv", ("file_name", "text"), ("images/0.png", "a"))
    monkeypatch.setattr("storage.readers.LocalReader.read_at", None)
    (sample,) = read(Ingest(max_media_bytes=len(image(0)) - 1))
    assert sample.reason is Reason.MEDIA_TOO_LARGE


def test_paths_are_relative_to_the_table_or_to_media_root(root, read, image):
    (root / "sub").mkdir()
    (root / "sub/0.png").write_bytes(image(7))
    write_csv(root / "sub/a.csv", ("file_name", "text"), ("0.png", "a"))
    (sample,) = read(files="sub/*")
    assert (sample.locator, sample.media[0].data) == ("sub/0.png", image(7))
    (sample,) = read(files="sub/*", media_root=str(root / "images"))
    assert (sample.locator, sample.media[0].data) == ("0.png", image(0))


def test_ids_name_rows_and_empty_ids_do_not(root, read):
    write_csv(
        root / "a.csv",
        ("id", "file_name", "text"),
        ("7", "images/0.png", "a"),
        (" ", "images/1.png", "b"),
    )
    assert [sample.locator for sample in read(id_column="id")] == ["7", "images/1.png"]
    table = {"uid": ["u1", None], "file_name": ["images/0.png"] * 2, "text": ["a", "b"]}
    (root / "a.csv").unlink()
    pq.write_table(pa.table(table), root / "a.parquet")
    assert [sample.locator for sample in read()] == ["u1", "images/0.png"]


def test_texts_that_are_not_utf8_refuse_their_row_only(root, read):
    data = b"file_name,text\nimages/0.png,caf\xe9\nimages/1.png,caf\xc3\xa9\nimages/2.png,a\0b\n"
    (root / "a.csv").write_bytes(data)
    first, second, third = read()
    assert first.reason is third.reason is Reason.TEXT_UNDECODABLE
    assert first.texts[0].text == b"caf\xe9"
    assert (second.reason, told(second)) == (None, [(TextRole.ALT, "café")])
    bad = pa.array([b"\xff"], pa.binary()).view(pa.string())
    (root / "a.csv").unlink()
    pq.write_table(pa.table({"file_name": ["images/0.png"], "text": bad}), root / "a.parquet")
    assert read()[0].reason is Reason.TEXT_UNDECODABLE


def test_malformed_rows_are_inputs(root, read):
    (root / "a.csv").write_bytes(b"file_name,text\nimages/0.png,a\nimages/1.png\n,b,c\n")
    sound, *broken = read()
    assert sound.reason is None
    assert {sample.reason for sample in broken} == {Reason.ROW_MALFORMED}
    digest = hashlib.blake2b(b"images/1.png", digest_size=16).hexdigest()
    assert broken[0].locator == f"a.csv#{digest}"
    assert broken[0].error == "1 columns instead of 2: images/1.png"


def test_an_empty_table_file_is_an_input_and_a_table_without_rows_holds_none(root, read):
    (root / "a.csv").write_bytes(b"")
    (root / "b.csv").write_bytes(b"file_name,text\n")
    pq.write_table(
        pa.table({"file_name": pa.array([], pa.string()), "text": []}), root / "c.parquet"
    )
    (sample,) = read()
    assert (sample.locator, sample.reason) == ("a.csv", Reason.CONTAINER_TRUNCATED)


def test_where_chooses_rows(root, read):
    write_csv(
        root / "a.csv",
        ("file_name", "text", "split"),
        ("images/0.png", "a", "train"),
        ("images/1.png", "b", "test"),
        ("images/2.png", "c", "train"),
    )
    found = read(where={"split": "train"})
    assert [sample.locator for sample in found] == ["images/0.png", "images/2.png"]
    assert found[0].meta == {"split": "train"}


@pytest.mark.parametrize(
    ("value", "wanted", "same"),
    [
        (b"a", "a", True),
        ("a", "a", True),
        (1, "1", True),
        (1.0, "1", True),
        (1.5, "1.5", True),
        (True, "true", True),
        (False, "False", False),
        (None, "", False),
        (b"", "", True),
        ([1], "[1]", False),
        (math.nan, "nan", True),
        (b"a ", "a", False),
    ],
)
def test_where_compares_as_text(value, wanted, same):
    assert matches({"x": value}, {"x": wanted}) is same


def test_media_in_the_table(root, read, image):
    images = [
        {"bytes": image(0), "path": "x.png"},
        {"bytes": image(1), "path": "x.png"},
        {"bytes": None, "path": "images/2.png"},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"", "path": "../x"},
    ]
    table = {"image": pa.array(images, HF_IMAGE), "text": [f"text {n}" for n in range(6)]}
    pq.write_table(pa.table(table), root / "a.parquet")
    first, second, by_path, *none, refused = read()
    assert first.locator == f"sha256:{hashlib.sha256(image(0)).hexdigest()}"
    assert first.media[0].data == image(0)
    assert second.locator != first.locator
    assert (by_path.locator, by_path.media[0].data) == ("images/2.png", image(2))
    assert {sample.reason for sample in none} == {Reason.MEDIA_MISSING}
    assert len({sample.locator for sample in none}) == 2
    assert all(sample.locator.startswith("a.parquet#") for sample in none)
    assert (refused.locator, refused.reason) == ("../x", Reason.MEDIA_REFUSED_PATH)


def test_binary_columns_with_paths_beside_them(root, read, image):
    table = {"file_name": ["p/0.png", "/abs.png"], "jpg": [image(0), image(1)], "txt": ["a", "b"]}
    pq.write_table(pa.table(table), root / "a.parquet")
    first, second = read()
    assert (first.locator, first.media[0].data) == ("p/0.png", image(0))
    assert (second.locator, second.media[0].data) == ("/abs.png", image(1))
    (sample, _) = read(bytes_column="jpg")
    assert sample.locator.startswith("sha256:")
    large = read(Ingest(max_media_bytes=10))
    assert [sample.reason for sample in large] == [Reason.MEDIA_TOO_LARGE] * 2


def test_parquet_values_become_plain_meta(root, read):
    table = pa.table(
        {
            "file_name": ["images/0.png"],
            "captions": pa.array([["one", None, " ", "two"]]),
            "keywords": ["red, green"],
            "day": [datetime.date(2020, 1, 2)],
            "at": pa.array([datetime.datetime(2020, 1, 2)], pa.timestamp("ns", "Nowhere/City")),
            "price": [decimal.Decimal("1.20")],
            "kind": pa.array(["x"]).dictionary_encode(),
            "share": pa.array([0.5], pa.float16()),
            "nan": [math.nan],
            "flag": [True],
            "none": pa.nulls(1),
            "boxes": [[[1.0]]],
            "nested": [{"a": 1}],
        }
    )
    pq.write_table(table, root / "a.parquet")
    (sample,) = read()
    assert told(sample) == [
        (TextRole.ALT, "one"),
        (TextRole.ALT, "two"),
        (TextRole.KEYWORD, "red, green"),
    ]
    assert sample.meta == {
        "day": "2020-01-02",
        "at": "2020-01-02 00:00:00.000000000",
        "price": "1.20",
        "kind": "x",
        "share": 0.5,
        "flag": True,
    }


def test_jsonl_values(root, read):
    rows = [
        b'{"file_name": "images/0.png", "text": "lone \\ud800"}',
        b'{"file_name": "images/0.png", "text": ["a", "b"], "n": {"x": 1}}',
        b'{"file_name": 7, "text": 7}',
        b'{"file_name": ["x"], "text": {"en": "x"}}',
        b'{"text": "no media"}',
    ]
    (root / "a.jsonl").write_bytes(b"\n".join(rows))
    found = read()
    assert [sample.reason for sample in found] == [
        Reason.TEXT_UNDECODABLE,
        None,
        Reason.MEDIA_MISSING,
        Reason.MEDIA_MISSING,
        Reason.MEDIA_MISSING,
    ]
    assert found[2].locator == "7"
    assert told(found[1]) == [(TextRole.ALT, "a"), (TextRole.ALT, "b")]


def test_damaged_parquet(root, read):
    table = pa.table(
        {"file_name": ["images/0.png"] * 3000, "text": [str(n) * 50 for n in range(3000)]}
    )
    pq.write_table(table, root / "a.parquet", row_group_size=1000, use_dictionary=False)
    whole = (root / "a.parquet").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 200] = bytes(200)
    (root / "a.parquet").write_bytes(damaged)
    *before, broken = read()
    assert broken.reason is Reason.CONTAINER_TRUNCATED
    assert broken.error.startswith("the table breaks off: ")
    assert len(before) >= 768
    assert all(sample.reason is None for sample in before)
    for junk in (b"", b"PAR1", b"not parquet at all", whole[:-10]):
        (root / "a.parquet").write_bytes(junk)
        (sample,) = read()
        assert (sample.locator, sample.reason) == ("a.parquet", Reason.CONTAINER_TRUNCATED)


def test_lists_of_urls_are_refused_with_the_way_out(root, read):
    pq.write_table(pa.table({"URL": ["http://x/1"], "TEXT": ["a"]}), root / "a.parquet")
    with pytest.raises(SourceError, match="type `urls`"):
        read()


def test_ranges_of_rows_give_what_the_whole_gives(root, read):
    table = pa.table({"file_name": ["images/0.png"] * 100, "text": [f"t{n}" for n in range(100)]})
    pq.write_table(table, root / "a.parquet", row_group_size=40)
    whole = read()
    assert [sample.texts[0].text for sample in whole] == [f"t{n}" for n in range(100)]
    assert read(Ingest(part_rows=7)) == whole


@given(st.permutations(range(6)), st.integers(1, 5))
def test_order_of_rows_and_cut_of_files_do_not_matter(tmp_path_factory, read_source, order, cut):
    def read(numbers, cut):
        root = tmp_path_factory.mktemp("rows")
        for number in range(5):
            (root / f"{number}.png").write_bytes(bytes([number + 1]))
        lines = [f"{number % 5}.png,text {number % 4}" for number in numbers]
        for name, part in (("a.csv", lines[:cut]), ("b.csv", lines[cut:])):
            (root / name).write_text("\n".join(["file_name,text", *part]))
        source = TableSource(name="t", type="table", path=str(root))
        return sorted((s.locator, told(s), s.media[0].data) for s in read_source(source))

    assert read(order, cut) == read(range(6), 3)


def test_base64_is_not_bytes(root, read):
    sink = io.StringIO("image,text\nAAAA,a\n")
    (root / "a.csv").write_text(sink.getvalue())
    with pytest.raises(SourceError, match="does not hold bytes"):
        read(bytes_column="image")
