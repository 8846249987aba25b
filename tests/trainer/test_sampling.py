import numpy as np
import pytest

from trainer.sampling import SourceSchedule, balanced_steps, source_by_step, steps_by_size


def test_steps_in_proportion_to_size():
    assert steps_by_size(1000, [6346, 48942]) == [114, 886]
    chosen = source_by_step("dataset_size", 1000, [6346, 48942])
    assert np.bincount(chosen).tolist() == [114, 886]
    np.testing.assert_array_equal(chosen, source_by_step("dataset_size", 1000, [6346, 48942]))
    assert np.ptp(np.flatnonzero(chosen == 0)) > 800


def test_balanced_steps():
    assert balanced_steps(10, 3) == [3, 3, 4]
    assert np.bincount(source_by_step("balanced", 10, [5, 500, 50])).tolist() == [3, 3, 4]


def test_round_robin():
    chosen = source_by_step("round_robin", 10, [1, 2, 3])
    assert chosen.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


def test_specialist_top_steps():
    chosen = source_by_step("specialist_top_steps", 12, [9, 9], [100, 300])
    assert np.bincount(chosen).tolist() == [3, 9]
    with pytest.raises(ValueError, match="best step of each of the 2 sources"):
        source_by_step("specialist_top_steps", 12, [9, 9], [100])


def test_batches_hold_one_source_and_pass_through_it_in_order():
    chosen = source_by_step("round_robin", 6, [4, 8])
    schedule = SourceSchedule(chosen, [4, 8], 4)
    assert schedule.steps == 6
    assert schedule.batch_size == 4
    for step in range(6):
        draws = schedule.draws(step)
        assert set(draws.source.tolist()) == {step % 2}
        assert draws.draw.tolist() == list(range(step // 2 * 4, step // 2 * 4 + 4))
    with pytest.raises(IndexError):
        schedule.draws(6)


def test_a_source_smaller_than_a_batch_is_refused():
    with pytest.raises(ValueError, match="source number 0 has 3 samples, fewer than a batch of 4"):
        SourceSchedule(np.zeros(2, np.int32), [3, 9], 4)
    with pytest.raises(ValueError, match="all are positive"):
        source_by_step("balanced", 10, [0, 5])
