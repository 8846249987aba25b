from __future__ import annotations

import math
import operator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.keep import parse_keep
from transforms.decisions.conditions import satisfied

NAN, INF = math.nan, math.inf
OPERATORS = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


@pytest.mark.parametrize(
    ("keep", "dtype", "passing", "failing"),
    [
        ("> 200", "int32", [201, None], [200, 0, -201]),
        (">= 200", "int32", [200, None], [199]),
        ("< 200", "int64", [199, -1, None], [200]),
        ("<= 200", "int64", [200, None], [201]),
        ("== 0", "int32", [0, None], [1, -1]),
        ("!= 0", "int32", [1, -1, None], [0]),
        ("> 2.5", "int32", [3, None], [2]),
        ("== 2.5", "int32", [None], [2, 3]),
        ("> 9007199254740992", "int64", [2**53 + 1, None], [2**53]),
        ("!= 0", "uint64", [2**64 - 1, None], [0]),
        ("> -1", "uint64", [0, None], []),
        ("> 0.3", "float32", [0.3001, INF, None], [0.3, 0.2999, NAN, -INF]),
        (">= 0.3", "float32", [0.3, INF, None], [0.2999, NAN]),
        ("< 2.985", "float32", [2.9849, -INF, None], [2.985, 3.0, NAN]),
        ("<= 2.985", "float32", [2.985, -INF, None], [2.9851, NAN]),
        ("== 0.1", "float32", [0.1, None], [0.1001, NAN]),
        ("!= 0.1", "float32", [0.1001, INF, None], [0.1, NAN]),
        ("> 1e-1", "float32", [0.1001, None], [0.1, NAN]),
        ("between 3 and 20", "int32", [3, 20, None], [2, 21]),
        ("between 0.1 and 0.3", "float32", [0.1, 0.3, None], [0.0999, 0.3001, NAN, INF]),
        ("between 2 and 2", "int64", [2, None], [1, 3]),
        ("in [en, de]", "string", ["en", "de", None], ["fr", "", "EN"]),
        ("not in [en, de]", "string", ["fr", "", None], ["en", "de"]),
        ("is empty", "string", ["", None], ["size", " "]),
        ("is true", "bool", [True, None], [False]),
        ("is false", "bool", [False, None], [True]),
    ],
)
def test_each_operator_at_its_bounds_with_nulls_and_nans(keep, dtype, passing, failing):
    array = pa.array([*passing, *failing], pa.type_for_alias(dtype))
    expected = [True] * len(passing) + [False] * len(failing)
    assert satisfied(parse_keep(keep), array).tolist() == expected
    without_nulls = array.drop_null()
    assert satisfied(parse_keep(keep), without_nulls).tolist() == [
        one for one, valid in zip(expected, array.is_valid().to_pylist(), strict=True) if valid
    ]


@given(
    st.lists(st.integers(-(10**7), 10**7)),
    st.sampled_from(sorted(OPERATORS)),
    st.integers(-(10**7), 10**7),
)
def test_scores_of_four_decimals_compare_as_the_decimals_do(values, sign, bound):
    """In [-1000, 1000] float32 tells all decimals of four places apart."""
    stored = pa.array([value / 10_000 for value in values], pa.float32())
    keep = parse_keep(f"{sign} {bound // 10_000 if bound % 10_000 == 0 else bound / 10_000:f}")
    assert satisfied(keep, stored).tolist() == [OPERATORS[sign](v, bound) for v in values]


def test_an_empty_column_gives_an_empty_mask():
    mask = satisfied(parse_keep("> 1"), pa.array([], pa.float32()))
    assert mask.dtype == np.bool_
    assert mask.shape == (0,)
