from __future__ import annotations

import hashlib

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.digests import keyed_hash
from transforms.shards.rank import (
    BINS,
    RankSamples,
    assemble_ranks,
    count_bins,
    cut_by_group,
    hash_ids,
    hash_part,
    pack_ids,
    rank_group,
    unpack_ranks,
)

hex_ids = st.binary(min_size=16, max_size=16).map(bytes.hex)


def numbered(count: int) -> list[str]:
    return [hashlib.blake2b(b"%d" % n, digest_size=16).hexdigest() for n in range(count)]


def expected(ids: list[str], seed: int, purpose: str) -> dict[str, int]:
    order = sorted(ids, key=lambda one: (keyed_hash(seed, purpose, one), one))
    return {one: rank for rank, one in enumerate(order)}


def rank_without_beam(
    parts: dict[str, list[str]], seed: int, rows_per_group: int
) -> dict[str, dict[str, int]]:
    hashed = [hash_part((name, pack_ids(ids)), seed, "test") for name, ids in parts.items()]
    totals = np.sum([count_bins(part) for part in hashed], axis=0)
    groups: dict[str, list[tuple[str, bytes]]] = {}
    for part in hashed:
        for group, piece in cut_by_group(part, totals, rows_per_group):
            groups.setdefault(group, []).append(piece)
    pieces: dict[str, list[bytes]] = {}
    for element in groups.items():
        for name, ranked in rank_group(element, totals):
            pieces.setdefault(name, []).append(ranked)
    ranks = dict(assemble_ranks(element) for element in pieces.items())
    return {
        name: dict(zip(ids, unpack_ranks(ranks.get(name, b"")).tolist(), strict=True))
        for name, ids in parts.items()
    }


@given(st.lists(hex_ids, max_size=50), st.integers(0, 2**63 - 1), st.text(max_size=8))
def test_hashes_are_the_keyed_hashes_of_the_hex_ids(ids, seed, purpose):
    found = hash_ids(pack_ids(ids), seed, purpose).tolist()
    assert found == [keyed_hash(seed, purpose, one) for one in ids]


@settings(max_examples=60)
@given(
    st.lists(hex_ids, unique=True, max_size=120),
    st.randoms(use_true_random=False),
    st.integers(1, 6),
    st.integers(1, 50),
)
def test_ranks_are_the_global_order_however_samples_lie_in_parts(ids, random, parts, per_group):
    shuffled = ids[:]
    random.shuffle(shuffled)
    cut = {f"part-{n}": shuffled[n::parts] for n in range(parts)}
    ranks = rank_without_beam(cut, 3, per_group)
    together = {one: rank for part in ranks.values() for one, rank in part.items()}
    assert together == expected(ids, 3, "test")


@pytest.mark.parametrize("one", ["00" * 16, "ab" * 15 + "00", "00" * 15 + "ab"])
def test_zero_bytes_of_an_id_survive(one):
    assert rank_without_beam({"p": [one, "cd" * 16]}, 0, 1)["p"].keys() == {one, "cd" * 16}
    records = hash_part(("p", pack_ids([one])), 0, "test")[1]
    assert hash_ids(pack_ids([one]), 0, "test").tobytes() == records[:8]


def test_groups_hold_whole_bins_and_are_bounded():
    ids = numbered(5000)
    part = hash_part(("p", pack_ids(ids)), 0, "test")
    totals = count_bins(part)
    assert totals.sum() == 5000 and len(totals) == BINS
    sizes = [len(piece) // 28 for _, (_, piece) in cut_by_group(part, totals, 512)]
    assert sum(sizes) == 5000
    assert max(sizes) < 512 + totals.max()
    assert len(sizes) == 10


def test_an_id_that_is_kept_twice_is_named():
    with pytest.raises(ValueError, match=f"{'ab' * 16} is kept twice"):
        rank_without_beam({"p": ["ab" * 16], "q": ["ab" * 16]}, 0, 100)


@pytest.mark.parametrize("wrong", ["ab", "ab" * 17, "zz" * 16])
def test_ids_that_are_no_ids_are_refused(wrong):
    with pytest.raises(ValueError, match=r"sample id|non-hexadecimal"):
        pack_ids(["ab" * 16, wrong])


def test_a_part_of_broken_ids_is_named():
    with pytest.raises(ValueError, match="part 'web': 17 bytes"):
        hash_part(("web", b"x" * 17), 0, "test")


def test_through_beam_with_many_groups():
    ids = numbered(3000)
    parts = {"a": ids[:100], "b": ids[100:1500], "c": ids[1500:], "empty": []}
    elements = [(name, pack_ids(ones)) for name, ones in parts.items()]

    def check(outputs):
        found = dict(outputs)
        assert sorted(found) == ["a", "b", "c"]
        together = {
            one: rank
            for name, packed in found.items()
            for one, rank in zip(parts[name], unpack_ranks(packed).tolist(), strict=True)
        }
        assert together == expected(ids, 11, "shard")

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        ranks = pipeline | beam.Create(elements) | RankSamples(11, "shard", rows_per_group=256)
        assert_that(ranks, check)
