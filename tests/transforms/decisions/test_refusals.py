from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.decisions.refusals import (
    Verdict,
    find_duplicate_rows,
    find_taken_down,
    refuse_unusable,
)

IDS = [f"{number:032x}" for number in range(6)]


def duplicates(rows):
    """rows: (sample_id, row_digest, part, row, kept_earlier)."""
    ids, digests, parts, positions, earlier = zip(*rows, strict=True)
    mask = find_duplicate_rows(
        pa.array(ids),
        pa.array(digests),
        np.array(parts),
        np.array(positions),
        np.array(earlier),
    )
    return mask.tolist()


def test_ingest_comes_before_the_image_and_no_image_is_no_refusal(make_part):
    table = make_part(
        [
            {},
            {"status": "text_missing", "image_status": "media_unreadable"},
            {"image_status": "media_unreadable"},
            {"image_status": None},
        ]
    )
    assert refuse_unusable(table).tolist() == [
        Verdict.SURVIVES,
        Verdict.INGEST,
        Verdict.MEASURE,
        Verdict.SURVIVES,
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(IDS[0], "b", 0, 0, False), (IDS[1], "a", 0, 1, False)], [False, False]),
        ([(IDS[0], "b", 0, 0, False), (IDS[0], "a", 1, 9, False)], [True, False]),
        ([(IDS[0], "a", 1, 0, False), (IDS[0], "a", 0, 9, False)], [True, False]),
        ([(IDS[0], "a", 0, 7, False), (IDS[0], "a", 0, 6, False)], [True, False]),
        ([(IDS[0], "a", 0, 0, False), (IDS[0], "b", 1, 0, True)], [True, False]),
    ],
    ids=["different ids", "row digest", "part", "row", "kept earlier"],
)
def test_which_of_repeated_rows_stays(rows, expected):
    assert duplicates(rows) == expected


def test_ids_that_share_their_first_half_are_not_repeats():
    rows = [(f"{'0' * 16}{number:016x}", "a", 0, number, False) for number in range(3)]
    assert duplicates(rows) == [False] * 3


@given(
    st.lists(
        st.tuples(
            st.sampled_from(IDS),
            st.sampled_from("abc"),
            st.integers(0, 3),
            st.integers(0, 3),
            st.booleans(),
        ),
        min_size=1,
        unique_by=lambda row: (row[2], row[3]),
    )
)
def test_exactly_the_smallest_row_of_each_id_stays(rows):
    stays = {}
    for sample_id, digest, part, row, earlier in rows:
        key = (not earlier, digest, part, row)
        stays[sample_id] = min(stays.get(sample_id, key), key)
    expected = [
        stays[sample_id] != (not earlier, digest, part, row)
        for sample_id, digest, part, row, earlier in rows
    ]
    assert duplicates(rows) == expected


def test_samples_and_media_are_taken_down(make_part):
    media = [[], [{"media_id": "m1"}], [{"media_id": "m2"}, {"media_id": "m3"}], [], None]
    table = make_part([{"media": one} for one in media])
    ids = table["sample_id"].combine_chunks()
    column = table["media"].combine_chunks()
    suppressed = pa.array([IDS[3], "m3", "elsewhere"])
    assert find_taken_down(ids, column, suppressed).tolist() == [False, False, True, True, False]
    nothing = pa.array([], pa.string())
    assert not find_taken_down(ids, column, nothing).any()
    assert find_taken_down(ids.slice(3), column.slice(3), suppressed).tolist() == [True, False]
