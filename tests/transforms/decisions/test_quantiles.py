from __future__ import annotations

import json
import math
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.digests import keyed_hash
from schemas.recipe import Rule
from transforms.decisions.quantiles import (
    Cut,
    Ranking,
    Search,
    collect_ties,
    count_digits,
    exact_share,
    find_cut,
    narrow,
    settle,
    within_cut,
)
from transforms.decisions.sort_keys import sort_keys

SEED = 7
SIGNALS = {
    "image.sharpness": ("float32", st.integers(-50, 50).map(lambda n: n / 10_000)),
    "image.width": ("int32", st.sampled_from([-(2**31), -1, 0, 1, 65_535, 65_536, 2**31 - 1])),
    "image.bytes": ("int64", st.sampled_from([-(2**63), -1, 0, 1, 2**32, 2**63 - 1])),
    "image.phash": ("uint64", st.sampled_from([0, 1, 2**48, 2**63, 2**64 - 1])),
}


def rule_of(signal, keep):
    return Rule(signal=signal, keep=keep, reason="image_blurred")


def ranking_of(rule, values, ids, seed=SEED):
    array = pa.array(values, pa.type_for_alias(SIGNALS[rule.signal][0]))
    keys = sort_keys(array, rule.parsed.highest)
    return Ranking(rule, seed, np.arange(len(values)), keys, pa.array(ids, pa.string()))


def id_of(number):
    return f"{number:032x}"


def kept_by_sorting(rule, values, ids):
    """Sorts all rows, in the words of the definition."""
    sign = -1 if rule.parsed.highest else 1
    purpose = f"quantile/{rule.signal}"
    order = sorted(
        range(len(values)),
        key=lambda at: (sign * values[at], keyed_hash(SEED, purpose, ids[at]), ids[at]),
    )
    percent = rule.keep.split()[1].removesuffix("%")
    return set(order[: math.ceil(Fraction(percent) / 100 * len(values))])


@pytest.mark.parametrize("signal", SIGNALS)
@given(data=st.data())
def test_cuts_are_those_of_a_sort_however_rows_lie_in_parts(signal, data):
    values = data.draw(st.lists(SIGNALS[signal][1], min_size=1, max_size=60))
    percent = data.draw(st.sampled_from(["0.1", "1", "10", "33.3", "50", "99.9", "100"]))
    rule = rule_of(signal, f"{data.draw(st.sampled_from(['top', 'bottom']))} {percent}%")
    ids = [id_of(at) for at in range(len(values))]
    part_of = data.draw(
        st.lists(st.integers(0, 3), min_size=len(values), max_size=len(values)), label="parts"
    )
    parts = [[at for at, part in enumerate(part_of) if part == number] for number in range(4)]
    rankings = [ranking_of(rule, [values[i] for i in p], [ids[i] for i in p]) for p in parts]

    cut = find_cut(rule, rankings)

    expected = kept_by_sorting(rule, values, ids)
    kept = {
        at
        for part, ranking in zip(parts, rankings, strict=True)
        for at, within in zip(part, within_cut(ranking, cut), strict=True)
        if within
    }
    assert kept == expected
    assert (cut.rows, cut.kept) == (len(values), len(expected))


@given(st.integers(1, 10**7), st.integers(1, 10_000))
@example(1000, 110)  # 1.1 % in binary is above 1.1 %: 12 rows instead of 11
@example(10, 1000)
@example(1000, 70)
def test_a_share_is_taken_as_written(rows, hundredths):
    share = rule_of("image.width", f"top {hundredths / 100:.2f}%").parsed.share
    assert math.ceil(exact_share(share) * rows) == -(-hundredths * rows // 10_000)


def test_one_row_in_ten_of_ten_and_two_of_eleven():
    rule = rule_of("image.sharpness", "top 10%")
    ids = [id_of(at) for at in range(11)]
    for rows, kept in ((10, 1), (11, 2)):
        ranking = ranking_of(rule, [at / 100 for at in range(rows)], ids[:rows])
        mask = within_cut(ranking, find_cut(rule, [ranking]))
        assert np.flatnonzero(mask).tolist() == list(range(rows - kept, rows))


def test_many_ties_are_cut_by_hash_and_not_by_order():
    rule = rule_of("image.width", "bottom 25%")
    ids = [id_of(at) for at in range(4000)]
    ranking = ranking_of(rule, [3] * 4000, ids)
    mask = within_cut(ranking, find_cut(rule, [ranking]))
    purpose = "quantile/image.width"
    lowest = sorted(range(4000), key=lambda at: keyed_hash(SEED, purpose, ids[at]))[:1000]
    assert np.flatnonzero(mask).tolist() == sorted(lowest)


def test_equal_hashes_are_cut_by_id(monkeypatch):
    def equal(seed, purpose, keys):
        return np.full(len(keys), 12345, dtype=np.uint64)

    monkeypatch.setattr("transforms.decisions.quantiles.keyed_hashes", equal)
    rule = rule_of("image.width", "top 40%")
    ranking = ranking_of(rule, [1] * 5, [id_of(at) for at in (4, 0, 3, 1, 2)])
    mask = within_cut(ranking, find_cut(rule, [ranking]))
    assert mask.tolist() == [False, True, False, True, False]


def test_a_cut_survives_json_and_serves_later_rows():
    rule = rule_of("image.sharpness", "top 50%")
    ids = [id_of(at) for at in range(4)]
    ranking = ranking_of(rule, [0.1, 0.2, 0.3, 0.3], ids)
    cut = find_cut(rule, [ranking])
    again = Cut(**json.loads(json.dumps(asdict(cut))))
    assert again == cut
    assert again.value == 0.3
    later = ranking_of(rule, [0.2999, 0.3001], [id_of(10), id_of(11)])
    assert within_cut(later, again).tolist() == [False, True]


def test_without_rows_there_is_no_cut_and_everything_passes():
    rule = rule_of("image.width", "top 10%")
    nothing = ranking_of(rule, [], [])
    assert find_cut(rule, []) is None
    assert find_cut(rule, [nothing]) is None
    assert within_cut(nothing, None).tolist() == []
    assert within_cut(ranking_of(rule, [5], [id_of(0)]), None).tolist() == [True]


def test_the_seed_and_the_signal_key_the_ties():
    rule = rule_of("image.width", "top 50%")
    ids = [id_of(at) for at in range(64)]
    masks = set()
    for seed in (1, 2):
        ranking = ranking_of(rule, [0] * 64, ids, seed)
        masks.add(within_cut(ranking, find_cut(rule, [ranking])).tobytes())
    other = rule_of("image.phash", "top 50%")
    ranking = ranking_of(other, [0] * 64, ids, 1)
    masks.add(within_cut(ranking, find_cut(other, [ranking])).tobytes())
    assert len(masks) == 3


def test_rounds_carry_histograms_only_and_ties_come_in_any_order():
    """The steps as a runner takes them, one part at a time."""
    rule = rule_of("image.bytes", "bottom 30%")
    rankings = [
        ranking_of(rule, [at % 3, 7, at], [id_of(3 * at + n) for n in range(3)]) for at in range(50)
    ]
    search = Search(rule)
    assert search.rounds == 5
    for _ in range(search.rounds):
        histogram = sum(count_digits(ranking, search) for ranking in rankings)
        assert histogram.shape == (65_536,)
        search = narrow(search, histogram)
    ties = np.vstack([collect_ties(ranking, search) for ranking in reversed(rankings)])
    assert settle(search, ties) == find_cut(rule, rankings)


def test_a_rule_that_is_no_quantile_has_no_cut():
    rule = rule_of("image.width", "> 3")
    keys = sort_keys(pa.array([1], pa.int32()), False)
    ranking = Ranking(rule, SEED, np.arange(1), keys, pa.array([id_of(0)]))
    with pytest.raises(ValueError, match="'> 3' is no quantile"):
        find_cut(rule, [ranking])
