from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.loader.order import SourceOrder

counts_lists = st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any)


@given(counts=counts_lists, window=st.none() | st.integers(1, 15), epoch=st.integers(0, 3))
def test_each_epoch_takes_every_sample_once(
    counts: list[int], window: int | None, epoch: int
) -> None:
    total = sum(counts)
    order = SourceOrder(counts, window, "key")
    shard, row = order.locate(np.arange(epoch * total, (epoch + 1) * total))
    everything = [(at, one) for at, count in enumerate(counts) for one in range(count)]
    assert sorted(zip(shard.tolist(), row.tolist(), strict=True)) == everything


@given(counts=counts_lists, window=st.none() | st.integers(1, 15), data=st.data())
def test_a_draw_does_not_depend_on_what_else_is_asked(
    counts: list[int], window: int | None, data: st.DataObject
) -> None:
    draws = data.draw(st.lists(st.integers(0, 5 * sum(counts)), min_size=1, max_size=20))
    shard, row = SourceOrder(counts, window, "key").locate(np.array(draws))
    fresh = SourceOrder(counts, window, "key")
    for at, draw in enumerate(draws):
        one_shard, one_row = fresh.locate(np.array([draw]))
        assert (int(one_shard[0]), int(one_row[0])) == (shard[at], row[at])


def test_a_window_reads_its_shards_and_no_others() -> None:
    order = SourceOrder([50] * 12, 3, "key")
    seen = []
    for window in range(4):
        shard, _ = order.locate(np.arange(window * 150, (window + 1) * 150))
        shards = set(shard.tolist())
        assert len(shards) == 3
        assert set(order.shards_ahead(window * 150)[:3].tolist()) == shards
        # Samples of all three shards come mixed.
        assert (np.diff(shard) != 0).mean() > 0.5
        seen += sorted(shards)
    assert sorted(seen) == list(range(12))
    assert seen != list(range(12))


def test_the_shards_ahead_reach_into_the_next_window_and_epoch() -> None:
    order = SourceOrder([10] * 6, 2, "key")
    ahead = order.shards_ahead(25)
    assert set(ahead[2:].tolist()) == set(order.locate(np.arange(40, 60))[0].tolist())
    last = order.shards_ahead(59)
    assert set(last[2:].tolist()) == set(order.locate(np.arange(60, 80))[0].tolist())


def test_epochs_and_keys_shuffle_differently() -> None:
    order = SourceOrder([100, 100], None, "key")
    first = order.locate(np.arange(200))
    second = order.locate(np.arange(200, 400))
    other = SourceOrder([100, 100], None, "another").locate(np.arange(200))
    for one in (second, other):
        assert ((first[0] == one[0]) & (first[1] == one[1])).sum() < 20


def test_a_billion_samples_take_no_table() -> None:
    order = SourceOrder([10_000] * 100_000, 32, "key")
    shard, row = order.locate(np.arange(8192) + 7 * 10**11)
    assert len(set(zip(shard.tolist(), row.tolist(), strict=True))) == 8192
    assert len(set(shard.tolist())) <= 64
