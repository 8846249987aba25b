from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import ceil, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.loader.schedule import MixtureSchedule, apportion

parts_lists = st.lists(st.integers(1, 10**6), min_size=1, max_size=12)
weights_lists = parts_lists.map(lambda parts: [Fraction(part, sum(parts)) for part in parts])


@given(weights=parts_lists, total=st.integers(0, 10**12))
def test_apportioned_counts_sum_up_stay_close_and_grow_one_by_one(
    weights: list[int], total: int
) -> None:
    counts, more = apportion(total, weights), apportion(total + 1, weights)
    assert sum(counts) == total
    assert sorted(after - before for before, after in zip(counts, more, strict=True)) == [
        *[0] * (len(weights) - 1),
        1,
    ]
    bound = max(1, ceil(log2(len(weights))))
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - Fraction(total * weight, sum(weights))) < bound


@given(weights=weights_lists, batch=st.integers(1, 50), seed=st.integers(0, 99))
def test_draws_of_each_source_count_up_without_gaps(
    weights: list[Fraction], batch: int, seed: int
) -> None:
    schedule = MixtureSchedule(weights, [1000] * len(weights), batch, key=str(seed))
    seen: dict[int, list[int]] = {}
    for step in range(20):
        draws = schedule.draws(step)
        assert draws.source.dtype == np.int32
        assert draws.draw.dtype == np.int64
        assert len(draws.source) == len(draws.draw) == batch
        for source, draw in zip(draws.source.tolist(), draws.draw.tolist(), strict=True):
            seen.setdefault(source, []).append(draw)
    for draws_of_source in seen.values():
        assert sorted(draws_of_source) == list(range(len(draws_of_source)))


def test_any_step_can_be_asked_for_at_once() -> None:
    schedule = MixtureSchedule([Fraction(2, 3), Fraction(1, 3)], [10**6, 10**6], 1024)
    draws = schedule.draws(10**9)
    assert draws.draw[draws.source == 0].min() >= 10**9 * 1024 * 2 // 3 - 2
    assert Counter(draws.source.tolist())[0] in (682, 683)


def test_rows_of_a_batch_are_mixed() -> None:
    draws = MixtureSchedule([Fraction(1, 2)] * 2, [100] * 2, 100, key="k").draws(0)
    assert 20 < (np.diff(draws.source) != 0).sum() < 80
    assert 15 < (draws.source[:50] == 0).sum() < 35


def test_single_source_batches_keep_the_shares() -> None:
    schedule = MixtureSchedule([Fraction(2, 3), Fraction(1, 3)], [100, 100], 8, single_source=True)
    batches = [schedule.draws(step) for step in range(300)]
    assert all(len(set(draws.source.tolist())) == 1 for draws in batches)
    assert Counter(int(draws.source[0]) for draws in batches) == {0: 200, 1: 100}
    first = np.concatenate([draws.draw for draws in batches if draws.source[0] == 0])
    assert sorted(first.tolist()) == list(range(1600))


def test_one_epoch_of_a_proportional_mixture_is_every_sample_once() -> None:
    counts = [60, 30, 30]
    weights = [Fraction(count, 120) for count in counts]
    schedule = MixtureSchedule(weights, counts, 24, max_epochs=1)
    assert schedule.steps == 5
    drawn = [schedule.draws(step) for step in range(5)]
    for source, count in enumerate(counts):
        draws = np.concatenate([one.draw[one.source == source] for one in drawn])
        assert sorted(draws.tolist()) == list(range(count))
    with pytest.raises(IndexError, match="steps 0 to 5"):
        schedule.draws(5)
    with pytest.raises(IndexError):
        schedule.draws(-1)


@given(
    counts=st.lists(st.integers(1, 150), min_size=1, max_size=5),
    batch=st.integers(2, 20),
    epochs=st.sampled_from([0.5, 1.0, 2.5]),
    single=st.booleans(),
)
def test_no_source_goes_beyond_its_epochs_and_little_is_left(
    counts: list[int], batch: int, epochs: float, single: bool
) -> None:
    weights = [Fraction(1, len(counts))] * len(counts)
    try:
        schedule = MixtureSchedule(weights, counts, batch, max_epochs=epochs, single_source=single)
    except ValueError as error:
        assert "batch" in str(error)
        return
    assert schedule.steps is not None
    drawn: dict[int, list[int]] = {}
    for step in range(schedule.steps):
        draws = schedule.draws(step)
        assert len(draws.draw) == batch
        for source, draw in zip(draws.source.tolist(), draws.draw.tolist(), strict=True):
            drawn.setdefault(source, []).append(draw)
    for source, draws_of_source in drawn.items():
        assert sorted(draws_of_source) == list(range(len(draws_of_source)))
        assert len(draws_of_source) <= epochs * counts[source]
    left = [int(epochs * count) - len(drawn.get(at, [])) for at, count in enumerate(counts)]
    # A source leaves with less than a batch's share left, or when its share became too large.
    assert all(one < batch + len(counts) or counts[at] < batch for at, one in enumerate(left))


def test_a_source_that_runs_out_leaves_its_share_to_the_others() -> None:
    schedule = MixtureSchedule([Fraction(1, 2)] * 2, [100, 1000], 10, max_epochs=1)
    assert schedule.steps == 110
    assert (schedule.draws(19).source == 0).sum() == 5
    assert (schedule.draws(20).source == 0).sum() == 0
    assert sorted(schedule.draws(20).draw.tolist()) == list(range(100, 110))


def test_a_source_smaller_than_its_share_of_a_batch_is_refused_unless_wanted() -> None:
    weights, counts = [Fraction(1, 2)] * 2, [3, 100]
    with pytest.raises(ValueError, match="has 3 samples, and its share of a batch of 8 is 4"):
        MixtureSchedule(weights, counts, 8)
    with pytest.raises(ValueError, match="share of a batch of 4 is 4"):
        MixtureSchedule(weights, counts, 4, single_source=True)
    schedule = MixtureSchedule(weights, counts, 8, repeats_in_batch=True)
    assert sorted(schedule.draws(0).draw.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("batch", "epochs", "message"),
    [(0, None, "at least one row"), (4, 0.0, "above 0"), (4, 0.1, "leaves fewer samples")],
)
def test_bad_settings_are_refused(batch: int, epochs: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixtureSchedule([Fraction(1)], [10], batch, max_epochs=epochs)
