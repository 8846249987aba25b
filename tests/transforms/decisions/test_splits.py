from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from transforms.decisions.splits import assign_splits

ROWS = 4000


def table_of(digests):
    return pa.table(
        {
            "sample_id": [f"{n:032x}" for n in range(len(digests))],
            "image.pixel_digest": pa.array(digests, pa.string()),
        }
    )


def splits(table, recipe, kept=None):
    kept = np.ones(len(table), dtype=bool) if kept is None else kept
    return assign_splits(table, recipe, kept).to_pylist()


def test_the_share_is_held_out(make_recipe):
    found = splits(
        table_of([f"{n:032x}" for n in range(ROWS)]), make_recipe(split={"held_out": 0.2})
    )
    # Five standard deviations of a binomial of 4,000 draws.
    assert abs(found.count("test") / ROWS - 0.2) < 0.032
    assert set(found) == {"train", "test"}


def test_equal_pixels_lie_on_one_side(make_recipe):
    digests = [f"{n // 4:032x}" for n in range(ROWS)]
    found = splits(table_of(digests), make_recipe(split={"held_out": 0.3}))
    for start in range(0, ROWS, 4):
        assert len(set(found[start : start + 4])) == 1


def test_rows_without_an_image_are_split_by_their_id(make_recipe):
    found = splits(table_of([None] * ROWS), make_recipe(split={"held_out": 0.5}))
    assert 0.4 < found.count("test") / ROWS < 0.6


def test_dropped_rows_have_no_split(make_recipe):
    kept = np.array([True, False, True])
    assert splits(table_of([None] * 3), make_recipe(), kept) == ["train", None, "train"]


def test_a_larger_share_keeps_what_was_held_out(make_recipe):
    table = table_of([f"{n:032x}" for n in range(ROWS)])
    few = splits(table, make_recipe(split={"held_out": 0.1}))
    many = splits(table, make_recipe(split={"held_out": 0.4}))
    assert all(more == "test" for less, more in zip(few, many, strict=True) if less == "test")


def test_a_mixture_of_held_out_samples_needs_some(make_recipe):
    with pytest.raises(ValidationError, match="nothing is held out"):
        make_recipe(mixtures=[{"name": "eval", "split": "test"}])
