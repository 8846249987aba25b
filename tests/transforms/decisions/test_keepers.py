from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.decisions.keepers import (
    KEEPERS,
    choose_keepers,
    clustered_rows,
    drop_duplicates,
    keeper_id,
    keeper_keys,
    keepers_of,
    key_width,
)
from transforms.decisions.refusals import Verdict

A, B = "a" * 32, "b" * 32
CAPTION = {
    "text.boilerplate": "",
    "text.mojibake": False,
    "text.urls": 0,
    "text.unigrams": 8,
    "text.language_confidence": 0.9,
}


def key(table, row, prefer, earlier=False):
    chosen = table.slice(row, 1)
    return keeper_keys(chosen, prefer, np.array([earlier]))[0].tobytes()


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"text.boilerplate": "file_name"}),
        ({}, {"text.mojibake": True}),
        ({}, {"text.urls": 2}),
        ({"text.urls": 9}, {"text.urls": 1, "text.mojibake": True}),
        ({"text.unigrams": 5}, {"text.unigrams": 4}),
        ({"text.unigrams": 20}, {"text.unigrams": 21}),
        ({"text.unigrams": 4}, {"text.unigrams": 22}),
        ({"text.unigrams": 300}, {"text.boilerplate": "size"}),
        ({}, {"text.unigrams": None}),
        ({"text.language_confidence": 0.9001}, {}),
        ({"text.language_confidence": 0.0}, {"text.unigrams": 4}),
        ({}, {"text.language_confidence": None}),
        ({}, {"text.language_confidence": float("nan")}),
    ],
)
def test_text_quality(make_part, better, worse):
    table = make_part([CAPTION | worse, CAPTION | better])
    assert key(table, 1, ["text_quality"]) < key(table, 0, ["text_quality"])


def test_equal_quality_is_decided_by_id(make_part):
    table = make_part(
        [CAPTION | {"text.unigrams": 20}, CAPTION | {"text.unigrams": 5, "text.boilerplate": None}]
    )
    assert key(table, 0, ["text_quality"])[:-16] == key(table, 1, ["text_quality"])[:-16]
    assert key(table, 0, ["text_quality"]) < key(table, 1, ["text_quality"])


def test_more_pixels_win_and_no_image_comes_last(make_part):
    sizes = [(None, None), (100, 100), (101, 100), (2**31 - 1, 2**31 - 1)]
    table = make_part([{"image.width": w, "image.height": h} for w, h in sizes])
    keys = [key(table, row, ["resolution"]) for row in range(4)]
    assert sorted(keys) == keys[::-1]


def test_preferences_count_in_their_order_and_earlier_rows_beat_them(make_part):
    table = make_part(
        [
            CAPTION | {"image.width": 9, "image.height": 9, "text.mojibake": True},
            CAPTION | {"image.width": 8, "image.height": 8},
        ]
    )
    by_size, by_text = ["resolution", "text_quality"], ["text_quality", "resolution"]
    assert key(table, 0, by_size) < key(table, 1, by_size)
    assert key(table, 0, by_text) > key(table, 1, by_text)
    assert key(table, 0, by_size) > key(table, 1, by_size, earlier=True)
    assert len(key(table, 0, by_size)) == key_width(by_size) == 1 + 8 + 8 + 16
    assert len(key(table, 0, [])) == key_width([]) == 1 + 16
    assert keeper_id(key(table, 1, by_size)) == table["sample_id"][1].as_py()


@given(
    st.lists(st.tuples(st.sampled_from("pqr"), st.integers(1, 3)), min_size=1),
    st.randoms(use_true_random=False),
)
def test_keepers_are_the_minima_that_a_combiner_finds_in_any_order(make_part, rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    table = make_part([{"image.width": w, "image.height": 1} for _, w in rows]).take(order)
    clusters = pa.array([rows[at][0] for at in order])
    keys = keeper_keys(table, ["resolution"], np.zeros(len(rows), dtype=np.bool_))

    keepers = choose_keepers(clusters, keys)

    minima: dict[str, bytes] = {}
    for cluster, one in zip(clusters.to_pylist(), keys, strict=True):
        minima[cluster] = min(minima.get(cluster, one.tobytes()), one.tobytes())
    expected = [{"cluster_id": c, "keeper_id": keeper_id(k)} for c, k in sorted(minima.items())]
    assert keepers.to_pylist() == expected
    assert keepers.schema == KEEPERS


def test_keys_that_end_in_zero_bytes_keep_them(make_part):
    ids = ["0" * 31 + "1", "1" + "0" * 31]
    table = make_part([{"sample_id": one} for one in ids])
    keys = keeper_keys(table, [], np.zeros(2, dtype=np.bool_))
    keepers = choose_keepers(pa.array(["p", "q"]), keys)
    assert keepers["keeper_id"].to_pylist() == ids


def test_only_survivors_of_a_cluster_take_part_and_losers_are_duplicates(make_part):
    rows = [{"cluster_id": one} for one in (A, A, A, None, B)]
    table = make_part(rows)
    ids = table["sample_id"].to_pylist()
    verdicts = np.array([0, -1, -1, -1, 0], dtype=np.int16)
    chosen = clustered_rows(table, verdicts)
    assert chosen.tolist() == [1, 2]
    keys = keeper_keys(table.take(chosen), [], np.zeros(2, dtype=np.bool_))
    keepers = choose_keepers(table["cluster_id"].combine_chunks().take(chosen), keys)
    assert keepers.to_pylist() == [{"cluster_id": A, "keeper_id": ids[1]}]
    of_rows = keepers_of(table["cluster_id"].combine_chunks(), keepers)
    assert of_rows.to_pylist() == [ids[1], ids[1], ids[1], None, None]
    decided = drop_duplicates(table, verdicts, keepers)
    assert decided.tolist() == [0, -1, Verdict.DUPLICATE, -1, 0]
    assert verdicts.tolist() == [0, -1, -1, -1, 0]


def test_no_cluster_means_no_keeper(make_part):
    table = make_part([{}, {}])
    verdicts = np.full(2, Verdict.SURVIVES, dtype=np.int16)
    assert drop_duplicates(table, verdicts, KEEPERS.empty_table()).tolist() == [-1, -1]
    nothing = choose_keepers(
        pa.array([], pa.string()), keeper_keys(table.slice(0, 0), [], np.zeros(0, dtype=np.bool_))
    )
    assert nothing.num_rows == 0
