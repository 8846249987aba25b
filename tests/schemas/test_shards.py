from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from webdataset.tariterators import base_plus_ext

from schemas.digests import canonical_json
from schemas.shards import (
    EXTENSIONS,
    Manifest,
    MixtureSource,
    Shard,
    ShardSample,
    ShardText,
    check_key,
    merkle_root,
    shard_leaves,
    split_member,
)
from transforms.signals.formats import FORMATS


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("img.v1.jpg", ("img", "v1.jpg")),
        ("a/b/000.en.txt", ("a/b/000", "en.txt")),
        ("x/y.z/k.jpg", ("x/y.z/k", "jpg")),
        ("noext", None),
        (".hidden", None),
    ],
)
def test_names_split_at_the_first_dot_of_the_basename(name, split):
    assert split_member(name) == split


@given(st.text("ab./_1", max_size=12))
def test_names_split_as_webdataset_splits_them(name):
    assert (split_member(name) or (None, None)) == base_plus_ext(name)


@given(st.text(max_size=8))
def test_a_key_that_passes_comes_back_from_any_member_name(key):
    try:
        check_key(key)
    except ValueError:
        assert re.search(r"[./\0]", key) or not key
    else:
        assert "\n" in key or split_member(f"{key}.passage.txt") == (key, "passage.txt")


def test_every_accepted_format_has_an_extension_of_its_own():
    assert set(FORMATS.values()) == set(EXTENSIONS)
    assert len(set(EXTENSIONS.values())) == len(EXTENSIONS)


def leaf(number):
    return hashlib.sha256(b"%d" % number).hexdigest()


def by_recursion(leaves):
    """RFC 6962, section 2.1, as it is written there."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + bytes.fromhex(leaves[0])).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    pair = by_recursion(leaves[:half]) + by_recursion(leaves[half:])
    return hashlib.sha256(b"\x01" + pair).digest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 13, 100])
def test_merkle_roots_are_those_of_the_rfc(count):
    leaves = [leaf(number) for number in range(count)]
    assert merkle_root(leaves) == by_recursion(leaves).hex()


def test_the_root_of_nothing_is_the_hash_of_nothing():
    assert merkle_root([]) == hashlib.sha256(b"").hexdigest()


def test_the_root_depends_on_order_and_on_every_leaf():
    leaves = [leaf(number) for number in range(5)]
    changed = [leaf(99) if at == 3 else one for at, one in enumerate(leaves)]
    assert len({merkle_root(one) for one in (leaves, leaves[::-1], changed, leaves[:4])}) == 4


def manifest():
    shard = Shard(
        path="shards/web/i0/a/000000.tar",
        index="shards/web/i0/a/000000.idx.parquet",
        samples=3,
        bytes=10240,
        sha256=leaf(1),
        index_sha256=leaf(2),
    )
    sources = (MixtureSource(name="web", weight=1.0, samples=3, shards=(shard,)),)
    return Manifest(
        mixture="default",
        recipe_digest="0" * 32,
        seed=1,
        layout="by_source",
        samples=3,
        sources=sources,
        merkle_root=merkle_root(shard_leaves(sources)),
    )


def test_leaves_are_tar_and_index_of_every_shard():
    assert shard_leaves(manifest().sources) == [leaf(1), leaf(2)]


def test_a_manifest_is_one_line_and_comes_back():
    data = manifest().to_bytes()
    assert data.count(b"\n") == 1
    assert data.endswith(b"}\n")
    assert Manifest.model_validate_json(data) == manifest()


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"layout": "other"}, {"extra": 1}])
def test_a_manifest_of_another_contract_is_refused(change):
    values = manifest().model_dump(mode="json") | change
    with pytest.raises(ValidationError, match=next(iter(change))):
        Manifest.model_validate(values)


def test_a_sample_reads_back_without_its_nulls():
    sample = ShardSample(
        sample_id="0" * 32,
        source="web",
        locator="x",
        kind="pair",
        texts=(ShardText(role="alt", text="a"),),
        query_id="q",
        positive_id="p",
    )
    bare = canonical_json(sample.model_dump(mode="json", exclude_none=True))
    assert "null" not in bare
    assert ShardSample.model_validate_json(bare) == sample
