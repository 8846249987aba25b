"""Digests of a file and of ranges in it, against hashing the slices."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.verifying import hashing
from transforms.verifying.hashing import hash_file


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 320), max_size=12))
def test_ranges_are_those_of_the_slices(data: bytes, cuts: list[int]) -> None:
    bounds = sorted(cuts)
    ranges = [(start, end - start) for start, end in zip(bounds[::2], bounds[1::2], strict=False)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "BLOCK_BYTES", 7)
        found = hash_file(io.BytesIO(data), ranges)
    assert (found.size, found.sha256) == (len(data), sha256(data))
    expected = [
        sha256(data[at : at + length]) if at + length <= len(data) or not length else None
        for at, length in ranges
    ]
    assert list(found.ranges) == expected


def test_range_that_overlaps_the_one_before_has_no_digest() -> None:
    found = hash_file(io.BytesIO(b"0123456789"), [(0, 4), (2, 4), (6, 2)])
    assert found.ranges == (sha256(b"0123"), None, sha256(b"67"))
