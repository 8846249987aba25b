from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.digests import (
    SAMPLE_ID_HEX,
    canonical_json,
    combine_set_digests,
    digest,
    fingerprint,
    hex_digest,
    keyed_hash,
    media_id,
    sample_id,
    set_digest,
)

pieces = st.lists(st.text(max_size=8) | st.binary(max_size=8), max_size=4)
members = st.lists(st.binary(min_size=32, max_size=32), max_size=8)


def as_bytes(parts):
    return [part.encode() if isinstance(part, str) else part for part in parts]


@given(pieces, pieces)
def test_parts_are_length_prefixed(one, two):
    assert (digest(*one) == digest(*two)) == (as_bytes(one) == as_bytes(two))


def test_digests_are_those_of_the_first_release():
    # Ids and folder names in every work directory depend on these.
    prefixed = (2).to_bytes(8, "little") + b"ab" + (1).to_bytes(8, "little") + b"c"
    assert digest("ab", b"c") == hashlib.blake2b(prefixed, digest_size=16).digest()
    assert hex_digest("a", size=8) == "b86ff4ec84914880"
    assert sample_id("web", "a/b.jpg", "a boat") == "36b22feae1b202286ec083c145afff38"
    assert keyed_hash(7, "shard", "ab") == 6_213_099_338_194_788_786
    assert fingerprint("measure/image", 1, {"b": 1, "a": [2]}) == "a234d271bdac1fbe"


def test_a_lone_surrogate_has_a_digest():
    assert digest("\udcff") != digest("\udcfe")


@given(st.text(), st.text(), st.text() | st.binary() | st.none())
def test_a_sample_id_has_32_hex_digits(source, locator, text):
    found = sample_id(source, locator, text)
    assert len(found) == SAMPLE_ID_HEX
    assert bytes.fromhex(found)


def test_a_sample_id_tells_sources_locators_and_texts_apart():
    told = {
        sample_id("web", "a", "b"),
        sample_id("web", "ab", ""),
        sample_id("web", "a", None),
        sample_id("web", "a", ""),
        sample_id("art", "a", "b"),
    }
    assert len(told) == 5
    assert sample_id("web", "a", "b") == sample_id("web", "a", b"b")


def test_a_media_id_is_the_sha256_that_anyone_computes():
    assert media_id(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_keyed_hashes_are_uniform_and_independent_of_one_another():
    keys = [f"{number:032x}" for number in range(4000)]
    one = np.array([keyed_hash(1, "a", key) for key in keys], dtype=np.float64) / 2**64
    two = np.array([keyed_hash(1, "b", key) for key in keys], dtype=np.float64) / 2**64
    counts = np.histogram(one, bins=10, range=(0, 1))[0]
    assert counts.min() > 320
    assert counts.max() < 480
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.05
    assert keyed_hash(1, "a", keys[0]) != keyed_hash(2, "a", keys[0])
    assert 0 <= keyed_hash(1, "a", b"") < 2**64


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_canonical_json_reads_back_and_does_not_depend_on_the_order_of_keys(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == text


def test_canonical_json_refuses_what_is_no_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
    assert canonical_json({"b": "ü", "a": [1, None]}) == '{"a":[1,null],"b":"ü"}'


def test_a_fingerprint_depends_on_everything_but_the_order_of_inputs():
    one = fingerprint("f", 1, {"a": 1}, ["x", "y"])
    assert one == fingerprint("f", 1, {"a": 1}, ["y", "x"])
    others = {
        fingerprint("g", 1, {"a": 1}, ["x", "y"]),
        fingerprint("f", 2, {"a": 1}, ["x", "y"]),
        fingerprint("f", 1, {"a": 2}, ["x", "y"]),
        fingerprint("f", 1, {"a": 1}, ["x"]),
        fingerprint("f", 1, {"a": 1}),
    }
    assert len(others | {one}) == 6
    assert len(one) == 16


@given(members, members, st.randoms(use_true_random=False))
def test_set_digests_of_subsets_add_up_in_any_order(one, two, random):
    both = one + two
    random.shuffle(both)
    assert set_digest(both) == combine_set_digests([set_digest(two), set_digest(one)])
    assert len(set_digest(both)) == 64


def test_a_set_digest_counts_repetitions():
    member = digest("a", size=32)
    assert set_digest([member, member]) != set_digest([member])
    assert set_digest([]) == "0" * 64 == combine_set_digests([])
    assert set_digest([b"\xff" * 32, (1).to_bytes(32, "big")]) == "0" * 64
