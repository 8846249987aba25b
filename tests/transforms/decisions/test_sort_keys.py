from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.decisions.columns import stored_numbers
from transforms.decisions.sort_keys import key_value, sort_keys

VALUES = {
    "float32": st.integers(-(10**7), 10**7).map(lambda n: n / 10_000)
    | st.sampled_from([0.0, -0.0, 1e-4, 3.4e38, -3.4e38, float("inf"), -float("inf")]),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
}


@pytest.mark.parametrize("highest", [False, True])
@pytest.mark.parametrize("dtype", VALUES)
@given(data=st.data())
def test_keys_order_as_values_do_and_lead_back_to_them(dtype, highest, data):
    values = data.draw(st.lists(VALUES[dtype], min_size=1))
    array = pa.array(values, pa.type_for_alias(dtype))
    keys = sort_keys(array, highest)
    assert keys.dtype == {"float32": np.uint32, "int32": np.uint32}.get(dtype, np.uint64)
    numbers = stored_numbers(array).tolist()
    assert [key_value(int(key), np.dtype(dtype), highest) for key in keys] == numbers
    by_key = [numbers[at] for at in np.argsort(keys, kind="stable")]
    assert by_key == sorted(numbers, reverse=highest)
