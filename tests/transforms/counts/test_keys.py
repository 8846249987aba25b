from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.counts.keys import (
    ASK,
    KEY,
    TOTAL,
    asks,
    distinct,
    keys_of,
    keys_of_hex,
    look_up,
    partitions_for,
    split_by_part,
    split_by_partition,
    sum_by_key,
    unpack,
)

words = st.lists(st.sampled_from("abcdefgh"), max_size=40)


def pairs(records):
    return [(int(one["hi"]), int(one["lo"])) for one in records]


def test_keys_of_hex_take_the_first_128_bits():
    key = keys_of_hex(["00" * 15 + "01" + "ff" * 16])
    assert pairs(key) == [(0, int.from_bytes(bytes([0] * 7 + [1]), "little"))]


def test_keys_with_trailing_zero_bytes_survive_packing():
    keys = keys_of_hex(["ab" + "00" * 15])
    assert keys.tobytes().hex() == "ab" + "00" * 15


@given(words)
def test_asks_count_each_key_of_a_part_once(values):
    records = asks(keys_of(values), part=3)
    by_key = dict(zip(pairs(keys_of(sorted(set(values)))), sorted(set(values)), strict=True))
    found = {by_key[key]: int(n) for key, n in zip(pairs(records), records["n"], strict=True)}
    assert found == Counter(values)
    assert set(records["part"].tolist()) <= {3}


@given(st.lists(words, min_size=1, max_size=5), st.sampled_from([1, 2, 8]))
def test_totals_do_not_depend_on_partitions_or_parts(parts, partitions):
    pieces = [
        (name, packed)
        for number, values in enumerate(parts)
        for name, packed in split_by_partition(asks(keys_of(values), number), partitions)
    ]
    totals = Counter()
    for name in {name for name, _ in pieces}:
        group = [packed for one, packed in pieces if one == name]
        summed = sum_by_key(unpack(group, ASK))
        for key, n in zip(pairs(summed), summed["n"], strict=True):
            assert key not in totals, "a key lies in two partitions"
            totals[key] = int(n)
    everything = Counter(value for values in parts for value in values)
    assert totals == {pairs(keys_of([value]))[0]: n for value, n in everything.items()}


@given(words)
def test_look_up_finds_every_key(values):
    records = distinct(keys_of(values))
    assert pairs(records[look_up(records, keys_of(values))]) == pairs(keys_of(values))


def test_look_up_tells_keys_with_equal_high_words_apart():
    records = np.array([(7, 1), (7, 2), (7, 9), (8, 0)], dtype=KEY)
    keys = np.array([(7, 9), (7, 1), (8, 0)], dtype=KEY)
    assert look_up(records, keys).tolist() == [2, 0, 3]


@pytest.mark.parametrize("stored", [[], [(1, 1)]])
def test_look_up_refuses_unanswered_keys(stored):
    with pytest.raises(KeyError, match="answered"):
        look_up(np.array(stored, dtype=KEY), np.array([(1, 2)], dtype=KEY))


def test_split_by_part_leaves_out_contributions():
    records = np.array([(1, 1, 5, 0), (2, 2, 6, -1), (1, 1, 5, 2)], dtype=ASK)
    answers = dict(split_by_part(records))
    assert set(answers) == {"0", "2"}
    assert unpack([answers["2"]], TOTAL)["n"].tolist() == [5]


@pytest.mark.parametrize(
    ("rows", "partitions"), [(0, 1), (1, 1), (1_000_000, 1), (1_000_001, 2), (5_000_000, 8)]
)
def test_partitions_grow_with_rows(rows, partitions):
    assert partitions_for(rows) == partitions
