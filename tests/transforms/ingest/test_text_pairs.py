from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.reasons import Reason
from schemas.samples import Kind, TextRole
from schemas.sources import TextPairSource


@pytest.fixture
def read(tmp_path, read_source):
    def read_pairs(**settings):
        settings = {"negatives_column": "negatives", **settings}
        return read_source(
            TextPairSource(name="p", type="text_pairs", path=str(tmp_path), **settings)
        )

    return read_pairs


def told(sample):
    return [(text.role, text.text) for text in sample.texts]


EXPECTED = [
    (TextRole.QUERY, "q"),
    (TextRole.PASSAGE, "p"),
    (TextRole.NEGATIVE, "n1"),
    (TextRole.NEGATIVE, "n2"),
]


def test_negatives_as_a_list_as_json_and_as_one_text(tmp_path, read):
    table = pa.table({"query": ["q"], "passage": ["p"], "negatives": [["n1", "n2"]], "score": [1]})
    pq.write_table(table, tmp_path / "a.parquet")
    (sample,) = read()
    assert (sample.kind, sample.reason, sample.media) == (Kind.TEXT_PAIR, None, ())
    assert told(sample) == EXPECTED
    assert sample.meta == {"score": 1}
    (tmp_path / "a.parquet").unlink()
    (tmp_path / "a.tsv").write_text('query\tpassage\tnegatives\nq\tp\t"[""n1"", ""n2""]"\n')
    (again,) = read()
    assert told(again) == EXPECTED
    assert again.locator == sample.locator
    (tmp_path / "a.tsv").unlink()
    rows = [
        {"query": "q", "passage": "p", "negatives": ["n1", "n2"]},
        {"query": "q", "passage": "p", "negatives": "[not json] n"},
        {"query": "q", "passage": "p"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, bracket, none = read()
    assert told(first) == EXPECTED
    assert told(bracket)[2:] == [(TextRole.NEGATIVE, "[not json] n")]
    assert told(none) == EXPECTED[:2]


def test_locators_are_ids_or_the_pair(tmp_path, read):
    rows = [
        {"id": i, "query": q, "passage": "p", "negatives": ""}
        for i, q in (("x", "q"), (None, "q"), (None, "r"), (None, " "))
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    named, one, other, blank = read(id_column="id")
    assert named.locator == "x"
    assert one.locator.startswith("pair:")
    assert len({one.locator, other.locator, blank.locator}) == 3


def test_halves_and_malformed_rows(tmp_path, read):
    (tmp_path / "a.csv").write_bytes(b"query,passage,negatives\nq,,\n,p,\n,,\nq,\xff,\nbad\n")
    found = read()
    assert [sample.reason for sample in found] == [
        Reason.TEXT_MISSING,
        Reason.TEXT_MISSING,
        Reason.TEXT_MISSING,
        Reason.TEXT_UNDECODABLE,
        Reason.ROW_MALFORMED,
    ]
    assert {sample.kind for sample in found} == {Kind.TEXT_PAIR}
    assert found[2].locator.startswith("a.csv#")
