"""Relaxed thresholds let the value pass, and let nothing new fail."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.keep import parse_keep
from transforms.decisions.conditions import satisfied
from transforms.looking.remedies import relax

NUMBERS = st.integers(-1000, 1000).map(lambda one: one / 8)
BOUNDS = st.tuples(NUMBERS, NUMBERS).map(sorted)
KEEPS = st.one_of(
    st.tuples(st.sampled_from([">", ">=", "<", "<=", "=="]), NUMBERS).map(
        lambda one: f"{one[0]} {one[1]}"
    ),
    BOUNDS.map(lambda one: f"between {one[0]} and {one[1]}"),
)


def passing(keep: str, values: list[float]) -> set[float]:
    mask = satisfied(parse_keep(keep), pa.array(values, pa.float32()))  # type: ignore[arg-type]
    return {value for value, passes in zip(values, mask, strict=True) if passes}


@given(keep=KEEPS, value=NUMBERS, others=st.lists(NUMBERS, max_size=20))
def test_numbers(keep: str, value: float, others: list[float]) -> None:
    relaxed = relax(keep, value)
    assert relaxed is not None
    assert value in passing(relaxed, [value])
    if value not in passing(keep, [value]):
        assert passing(keep, others) <= passing(relaxed, others)


def test_large_and_small_numbers_keep_their_digits() -> None:
    assert relax("> 9000000000", 8_589_934_593) == ">= 8589934593"
    assert relax("< 0.5", 0.5001) == "<= 0.5001"


@pytest.mark.parametrize(
    ("keep", "value", "relaxed"),
    [
        ("in [en, de]", "fr", "in [en, de, fr]"),
        ("not in [a, b]", "a", "not in [b]"),
        ("top 10%", 3.0, "top 100%"),
        ("bottom 10%", 3.0, "bottom 100%"),
        ("sample 25%", None, "sample 100%"),
    ],
)
def test_other_forms(keep: str, value: str | float | None, relaxed: str) -> None:
    assert relax(keep, value) == relaxed
    parse_keep(relaxed)


@pytest.mark.parametrize(
    ("keep", "value"),
    [
        ("not in [a]", "a"),
        ("in [en]", "a, b"),
        ("in [en]", ""),
        ("is empty", "file_name"),
        ("is false", True),
        ("!= 3", 3),
        ("> 3", float(np.nan)),
    ],
)
def test_what_no_threshold_keeps(keep: str, value: str | float) -> None:
    assert relax(keep, value) is None
