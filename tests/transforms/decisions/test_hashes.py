from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from schemas.digests import keyed_hash
from transforms.decisions.hashes import keyed_hashes


@given(st.integers(0, (1 << 63) - 1), st.text(), st.lists(st.text()))
def test_hashes_are_those_of_keyed_hash(seed, purpose, keys):
    hashes = keyed_hashes(seed, purpose, pa.array(keys, pa.string()))
    assert hashes.tolist() == [keyed_hash(seed, purpose, key) for key in keys]
