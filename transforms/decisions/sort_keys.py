"""Values of a signal as unsigned integers in the same order: what a cut is searched in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.decisions.columns import stored_numbers

Keys = npt.NDArray[np.unsignedinteger[Any]]
"""uint32 for 32-bit signals, uint64 for 64-bit ones."""


def sort_keys(array: pa.Array, highest: bool) -> Keys:
    """Returns unsigned keys that order as the values do, or the other way for `highest`.

    Args:
        array: float32, int32, int64 or uint64, without nulls and not-a-numbers.
        highest: the highest values are kept, and get the smallest keys.
    """
    numbers = stored_numbers(array)
    keys: Keys
    if numbers.dtype.kind == "f":
        bits = numbers.astype(np.float32).view(np.uint32)
        # IEEE floats are sign and magnitude: the negative ones are turned round.
        keys = np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31))
    elif numbers.dtype.kind == "i":
        keys = numbers.view(f"u{numbers.itemsize}") ^ _sign_bit(numbers.dtype)
    else:
        keys = numbers
    return np.invert(keys) if highest else keys


def key_value(key: int, dtype: np.dtype[Any], highest: bool) -> float:
    """Returns the value that has a sort key: the inverse of `sort_keys`.

    Args:
        key: a sort key.
        dtype: type of the signal.
        highest: as it was given to `sort_keys`.
    """
    bits = np.array([key], dtype=f"u{dtype.itemsize}")
    if highest:
        bits = np.invert(bits)
    if dtype.kind == "f":
        positive = bits & _sign_bit(dtype) != 0
        bits = np.where(positive, bits ^ _sign_bit(dtype), ~bits)
    elif dtype.kind == "i":
        bits = bits ^ _sign_bit(dtype)
    value: float = stored_numbers(pa.array(bits.view(dtype)))[0].item()
    return value


def _sign_bit(dtype: np.dtype[Any]) -> npt.NDArray[np.unsignedinteger[Any]]:
    return np.array(1 << (dtype.itemsize * 8 - 1), dtype=f"u{dtype.itemsize}")
