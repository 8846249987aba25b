from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.reasons import Reason
from schemas.samples import TextRole
from schemas.sources import UrlSource
from transforms.fetch.cc_lines import CcLines
from transforms.fetch.records import Evidence, FetchResult, Refusal
from transforms.fetch.url_columns import url_columns
from transforms.fetch.url_rows import UrlReader, UrlRow, parse_hash, with_result
from transforms.ingest.columns import Column
from transforms.ingest.csv_rows import CsvRows
from transforms.ingest.inputs import SourceError
from transforms.ingest.parquet_rows import open_parquet
from transforms.ingest.streams import TextStream
from transforms.ingest.tables import Table, table_metadata

SOURCE = UrlSource(type="urls", name="web", path="lists")
SHA256 = hashlib.sha256(b"x").hexdigest()
MD5 = hashlib.md5(b"x", usedforsecurity=False)


def read_parquet(table: pa.Table, source: UrlSource = SOURCE) -> list[UrlRow]:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    opened = Table(open_parquet(io.BytesIO(sink.getvalue())), transcoded=False)
    columns = url_columns(source, "list.parquet", opened.columns)
    batches = opened.read(0, table.num_rows, columns.names)
    return list(UrlReader("list.parquet", source, columns).rows(batches))


def read_text(data: bytes, delimiter: str, tmp_path: Path, cc: bool = False) -> list[UrlRow]:
    stream = TextStream(io.BytesIO(data))
    lines = CcLines(stream) if cc else stream
    rows = CsvRows(lines, delimiter, "list")  # type: ignore[arg-type]
    path = tmp_path / "list.parquet"
    with pq.ParquetWriter(path, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)
        writer.add_key_value_metadata(table_metadata("csv", rows.columns))
    with path.open("rb") as file:
        table = Table(open_parquet(file), transcoded=True)
        columns = url_columns(SOURCE, "list", table.columns)
        batches = table.read(0, 10**6, columns.names)
        return list(UrlReader("list", SOURCE, columns).rows(batches))


def test_laion() -> None:
    (row,) = read_parquet(
        pa.table(
            {
                "SAMPLE_ID": [17],
                "URL": ["http://h/a.jpg"],
                "TEXT": ["a dog"],
                "HEIGHT": [100],
                "LICENSE": ["CC0"],
                "NSFW": ["UNLIKELY"],
            }
        )
    )
    assert row.request is not None
    assert (row.request.url, row.request.expected) == ("http://h/a.jpg", None)
    sample = row.sample
    assert sample.locator == "http://h/a.jpg"
    assert [(text.role, text.text) for text in sample.texts] == [(TextRole.ALT, b"a dog")]
    assert sample.licence == "CC0"
    assert sample.meta == {
        "SAMPLE_ID": 17,
        "HEIGHT": 100,
        "NSFW": "UNLIKELY",
        "url": "http://h/a.jpg",
    }


def test_datacomp() -> None:
    (row,) = read_parquet(
        pa.table(
            {
                "uid": ["abc"],
                "url": ["http://h/a.jpg"],
                "text": ["a dog"],
                "original_width": [10],
                "sha256": [SHA256],
            }
        )
    )
    assert row.sample.locator == "abc"
    assert row.request is not None
    assert row.request.expected == parse_hash("sha256", SHA256)
    assert "sha256" not in row.sample.meta


def test_open_images(tmp_path: Path) -> None:
    encoded = base64.b64encode(MD5.digest()).decode()
    data = (
        "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,"
        "OriginalSize,OriginalMD5,Thumbnail300KURL\n"
        '000a,train,https://h/o.jpg,https://h/land,https://cc/by,https://h/me,Jo,"A, dog",12,'
        f"{encoded},https://h/t.jpg\n"
    )
    (row,) = read_text(data.encode(), ",", tmp_path)
    assert row.request is not None
    assert row.request.url == "https://h/o.jpg"
    assert row.request.expected == parse_hash("md5", MD5.hexdigest())
    sample = row.sample
    assert [(text.role, text.text) for text in sample.texts] == [(TextRole.TITLE, b"A, dog")]
    assert (sample.licence, sample.attribution) == ("https://cc/by", "Jo")
    assert sample.meta["OriginalLandingURL"] == "https://h/land"


@pytest.mark.parametrize(
    "data",
    [
        b'a "big" dog\thttp://h/1\n" quoted "\thttp://h/2\nunclosed " here\thttp://h/3\n',
        b'http://h/1\ta "big" dog\nhttp://h/2\t" quoted "\nhttp://h/3\tunclosed " here\n',
    ],
)
def test_conceptual_captions_in_both_orders(data: bytes, tmp_path: Path) -> None:
    rows = read_text(data, "\t", tmp_path, cc=True)
    assert [row.request.url for row in rows if row.request] == [f"http://h/{n}" for n in (1, 2, 3)]
    assert [row.sample.texts[0].text for row in rows] == [
        b'a "big" dog',
        b'" quoted "',
        b'unclosed " here',
    ]


def test_conceptual_captions_with_bad_lines_and_without_any(tmp_path: Path) -> None:
    rows = read_text(b"one\thttp://h/1\nno url here\ntwo\thttp://h/2", "\t", tmp_path, cc=True)
    reasons = sorted(str(row.sample.reason) for row in rows)
    assert reasons == ["None", "None", "row_malformed"]
    assert CcLines(TextStream(io.BytesIO(b""))).read() == b""


def test_rows_without_url_or_with_a_bad_hash() -> None:
    table = pa.table(
        {
            "url": [None, "", "http://h/a", "http://h/b"],
            "caption": ["a", "b", "c", "d"],
            "md5": [None, None, "zz", None],
        }
    )
    rows = read_parquet(table)
    assert [row.sample.reason for row in rows] == [
        Reason.MEDIA_MISSING,
        Reason.MEDIA_MISSING,
        Reason.ROW_MALFORMED,
        None,
    ]
    assert [row.request is None for row in rows] == [True, True, True, False]
    assert len({row.sample.locator for row in rows}) == 4


def test_where_chooses_rows() -> None:
    source = SOURCE.model_copy(update={"where": {"split": "train"}})
    table = pa.table({"url": ["u1", "u2"], "text": ["a", "b"], "split": ["train", "test"]})
    assert [row.sample.meta["url"] for row in read_parquet(table, source)] == ["u1"]


@pytest.mark.parametrize(
    ("names", "changes", "message"),
    [
        (["text"], {}, "no URL column is recognised; set url_column"),
        (["url", "width"], {}, "no text column is recognised"),
        (["url", "text"], {"url_column": "link"}, "there is no column 'link'"),
        (["url", "url", "text"], {"url_column": "url"}, "'url' is repeated"),
    ],
)
def test_columns_that_are_missing(names: list[str], changes: dict[str, str], message: str) -> None:
    source = SOURCE.model_copy(update=changes)
    with pytest.raises(SourceError, match=message):
        url_columns(source, "list.csv", [Column(name) for name in names])


@pytest.mark.parametrize("text", ["", "zz", SHA256[:-2], "=" * 44, "é" * 64])
def test_hashes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no sha256"):
        parse_hash("sha256", text)


def test_results_complete_samples() -> None:
    (row,) = read_parquet(pa.table({"url": ["http://h/a"], "text": ["a"]}))
    evidence = Evidence("http://h/a")
    good = with_result(row.sample, FetchResult(b"bytes", None, False, evidence))
    assert [media.data for media in good.media] == [b"bytes"]
    assert good.meta["hash_matches"] is False
    refusal = Refusal(Reason.FETCH_FAILED_HTTP, "HTTP status 404")
    bad = with_result(row.sample, FetchResult(None, refusal, None, evidence))
    assert (bad.reason, bad.error, bad.media) == (refusal.reason, "HTTP status 404", ())
