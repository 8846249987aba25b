from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from transforms.decisions.columns import column, id_bytes, required_columns, stored_numbers


def test_required_columns_are_those_of_rules_and_preferences_by_family(make_recipe):
    recipe = make_recipe(
        [
            {"signal": "text.images", "keep": "<= 10", "reason": "text_shared"},
            {"signal": "image.aspect_ratio", "keep": "< 3", "reason": "image_aspect"},
            {"keep": "sample 50%", "reason": "not_sampled"},
        ],
        dedupe={"prefer": ["resolution"]},
    )
    assert required_columns(recipe) == {
        "measure/image": ("image.width", "image.height", "image.aspect_ratio"),
        "count/sharing": ("text.images",),
    }


def test_no_preference_is_read_where_duplicates_are_off(make_recipe):
    assert required_columns(make_recipe([], dedupe={"edges": []})) == {}


@pytest.mark.parametrize("decimal", [0.3, 2.985, 3.0, 0.0001, -0.7, 1023.9999])
def test_a_stored_decimal_is_the_number_that_a_recipe_writes(decimal):
    stored = pa.array([decimal], pa.float32())
    assert stored_numbers(stored).tolist() == [decimal]


def test_stored_numbers_of_each_type():
    assert stored_numbers(pa.array([True, None, False])).tolist() == [1, 0, 0]
    big = (1 << 63) + 1
    assert stored_numbers(pa.array([big, None], pa.uint64())).tolist() == [big, 0]
    floats = stored_numbers(pa.array([float("nan"), float("inf"), -0.0], pa.float32()))
    assert np.isnan(floats[0])
    assert floats[1] == np.inf
    assert not np.signbit(floats[2])


def test_columns_of_many_chunks_and_dictionaries_are_read_alike():
    words = pa.array(["a", "b", None])
    table = pa.table({"plain": pa.chunked_array([words, words])})
    encoded = pa.table({"plain": pa.chunked_array([words, words]).dictionary_encode()})
    assert column(table, "plain").equals(column(encoded, "plain"))
    assert column(table, "plain").to_pylist() == ["a", "b", None] * 2


def test_a_missing_column_names_itself_and_the_remedy(make_part):
    with pytest.raises(ValueError, match=r"'text.urls'.*required_columns"):
        column(make_part([{}]), "text.urls")


def test_id_bytes_keep_the_order_of_ids_and_heed_slices():
    ids = [f"{number:032x}" for number in (0, 255, 256, (1 << 128) - 1)]
    for start in range(5):
        rows = id_bytes(pa.array(["x", *ids]).slice(1).slice(start))
        assert [bytes(row).hex() for row in rows] == ids[start:]
        assert rows.shape[1] == 16


@pytest.mark.parametrize("wrong", ["", "ab", "0" * 31, "0" * 33, "g" * 32, " " * 32, "é" * 16])
def test_what_is_no_sample_id_is_refused(wrong):
    with pytest.raises(ValueError):
        id_bytes(pa.array(["0" * 32, wrong]))
