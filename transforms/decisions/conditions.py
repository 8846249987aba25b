"""Which values satisfy a `keep` expression, a column at a time."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.keep import Between, Compare, Is, IsEmpty, Member, Operator
from transforms.decisions.columns import Mask, stored_numbers, valid_mask

_OPERATORS: dict[Operator, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}

Condition = Compare | Between | Member | Is | IsEmpty
"""A `keep` that a value alone decides: neither a quantile nor a sample."""


def satisfied(keep: Condition, array: pa.Array) -> Mask:
    """Returns which values satisfy `keep`.

    A null does (the signal does not apply to the row); not-a-number satisfies nothing. Bounds are
    strict or not as written, and numbers are compared as `stored_numbers` gives them.

    Args:
        keep: a condition that fits the type of the column.
        array: a signal column of any length.
    """
    match keep:
        case Member(values, negate):
            inside = pc.is_in(array, value_set=pa.array(values, pa.string()))
            mask: Mask = inside.to_numpy(zero_copy_only=False) != negate
        case IsEmpty():
            mask = pc.equal(array, "").fill_null(True).to_numpy(zero_copy_only=False)
        case Is(value):
            mask = array.fill_null(value).to_numpy(zero_copy_only=False) == value
        case Compare(sign, number):
            mask = _compare(stored_numbers(array), sign, number)
        case Between(low, high):
            numbers = stored_numbers(array)
            mask = _compare(numbers, ">=", low) & _compare(numbers, "<=", high)
    return mask if array.null_count == 0 else mask | ~valid_mask(array)


def _compare(numbers: npt.NDArray[Any], sign: Operator, number: float) -> Mask:
    if numbers.dtype.kind != "f" and number.is_integer():
        # As integers: exact beyond 2**53, and without converting the column.
        return np.asarray(_OPERATORS[sign](numbers, int(number)), dtype=np.bool_)
    mask: Mask = _OPERATORS[sign](numbers, number)
    return mask & ~np.isnan(numbers) if sign == "!=" else mask
