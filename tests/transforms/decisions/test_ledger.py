from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from schemas.layout import Part
from schemas.recipe import Recipe, Rule
from schemas.tables import LEDGER
from transforms.decisions.ledger import (
    Outcome,
    UnbalancedBooksError,
    build_ledger,
    check_balance,
    summarise,
)
from transforms.decisions.refusals import Verdict

PART = Part("i0", "web", "part-0123456789abcdef")
RULES = [
    Rule(signal="image.aspect_ratio", keep="< 3", reason="image_aspect"),
    Rule(signal="image.mime", keep="in [image/jpeg]", reason="image_format"),
    Rule(signal="text.mojibake", keep="is false", reason="text_mojibake"),
    Rule(keep="sample 50%", reason="not_sampled"),
    Rule(signal="image.bytes", keep="top 50%", reason="image_too_small"),
]
CLUSTER = "c" * 32
IDS = [f"{number:032x}" for number in range(11)]


def recipe(rules):
    source = {"type": "folder", "name": "web", "path": "."}
    return Recipe(name="test", sources=[source], select={"rules": rules})


@pytest.fixture
def ledger(make_part):
    rows = [
        {},
        {"status": "fetch_failed_http", "error": "HTTP 404"},
        {"image_status": "media_unreadable", "image_error": "truncated"},
        {},
        {},
        {"image.aspect_ratio": 2.985},
        {"image.mime": "image/webp"},
        {"text.mojibake": True},
        {"cluster_id": CLUSTER},
        {"image.bytes": 12, "cluster_id": CLUSTER},
        {"cluster_id": CLUSTER},
    ]
    verdicts = [
        Verdict.SURVIVES,
        Verdict.INGEST,
        Verdict.MEASURE,
        Verdict.DUPLICATE_ROW,
        Verdict.TAKEN_DOWN,
        0,
        1,
        2,
        3,
        4,
        Verdict.DUPLICATE,
    ]
    keepers = pa.array([None] * 8 + [IDS[0]] * 3, pa.string())
    return build_ledger(make_part(rows), PART, recipe(RULES), np.array(verdicts, np.int16), keepers)


def test_every_row_has_its_evidence(ledger):
    columns = ["decision", "stage", "reason", "signal", "value", "detail", "threshold"]
    assert [tuple(row.values()) for row in ledger.select(columns).to_pylist()] == [
        ("kept", None, None, None, None, None, None),
        ("dropped", "ingest", "fetch_failed_http", None, None, "HTTP 404", None),
        ("dropped", "measure", "media_unreadable", None, None, "truncated", None),
        ("dropped", "select", "duplicate_row", None, None, None, None),
        ("dropped", "select", "taken_down", None, None, None, None),
        ("dropped", "select", "image_aspect", "image.aspect_ratio", 2.985, None, "< 3"),
        ("dropped", "select", "image_format", "image.mime", None, "image/webp", "in [image/jpeg]"),
        ("dropped", "select", "text_mojibake", "text.mojibake", 1.0, None, "is false"),
        ("dropped", "select", "not_sampled", None, None, None, "sample 50%"),
        ("dropped", "select", "image_too_small", "image.bytes", 12.0, None, "top 50%"),
        ("dropped", "dedupe", "duplicate_exact", None, None, None, None),
    ]


def test_rows_keep_their_order_and_place(ledger):
    assert ledger.schema == LEDGER
    assert ledger["sample_id"].to_pylist() == IDS
    assert ledger["row"].to_pylist() == list(range(11))
    assert set(ledger["part"].to_pylist()) == {PART.stem}
    ledger.validate(full=True)


def test_only_rows_that_reach_the_choice_name_a_keeper(ledger):
    assert ledger["cluster_id"].to_pylist() == [None] * 8 + [CLUSTER] * 3
    assert ledger["keeper_id"].to_pylist() == [None] * 10 + [IDS[0]]


def test_a_kept_row_of_a_cluster_is_its_own_keeper(make_part):
    table = make_part([{"cluster_id": CLUSTER}])
    verdicts = np.array([Verdict.SURVIVES], np.int16)
    (row,) = build_ledger(table, PART, recipe([]), verdicts, pa.array([IDS[0]])).to_pylist()
    assert (row["decision"], row["cluster_id"], row["keeper_id"]) == ("kept", CLUSTER, IDS[0])


def test_an_empty_part_has_an_empty_ledger(make_part):
    table = make_part([{}]).slice(0, 0)
    ledger = build_ledger(table, PART, recipe([]), np.empty(0, np.int16), pa.nulls(0, pa.string()))
    assert ledger.schema == LEDGER
    assert summarise(ledger) == Counter()


def test_a_status_that_is_no_reason_is_refused(make_part):
    table = make_part([{"status": "gone_fishing"}])
    verdicts = np.array([Verdict.INGEST], np.int16)
    with pytest.raises(ValueError, match="'gone_fishing' is not in the closed list of reasons"):
        build_ledger(table, PART, recipe([]), verdicts, pa.nulls(1, pa.string()))


def test_counts_add_up_by_source_stage_and_reason(ledger):
    counts = summarise(ledger) + summarise(ledger)
    assert counts[Outcome("web", "kept", "", "")] == 2
    assert counts[Outcome("web", "dropped", "dedupe", "duplicate_exact")] == 2
    assert counts.total() == 2 * ledger.num_rows
    assert len(counts) == ledger.num_rows


def test_balanced_books_pass(ledger):
    check_balance({"web": 11, "empty": 0}, summarise(ledger))


@pytest.mark.parametrize(
    ("inputs", "figures"),
    [
        ({"web": 12}, "web: 12 inputs, 1 kept \\+ 10 dropped"),
        ({}, "web: 0 inputs, 1 kept \\+ 10 dropped"),
        ({"web": 11, "art": 3}, "art: 3 inputs, 0 kept \\+ 0 dropped"),
    ],
)
def test_unbalanced_books_fail_with_their_figures(ledger, inputs, figures):
    with pytest.raises(UnbalancedBooksError, match=figures):
        check_balance(inputs, summarise(ledger))
