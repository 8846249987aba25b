"""In which order the samples of one source are drawn, epoch after epoch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from trainer.loader.permutation import Permutation

_PLANS = 4
"""Epochs whose plan is kept: batches in flight touch one or two."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """One epoch: shards in permuted order, and where each begins.

    Attributes:
        shards: int64[n], numbers of the shards.
        starts: int64[n + 1], samples before each shard in this order; the last entry is all.
        windows: int64[w + 1], samples before each window; the last entry is all.
    """

    shards: NDArray[np.int64]
    starts: NDArray[np.int64]
    windows: NDArray[np.int64]


class SourceOrder:
    """The order of a source: in each epoch every sample once, shuffled under a key.

    Without a window the samples of all shards are shuffled together. With one, shards are shuffled,
    and samples only among `window` neighbouring shards of that order, so that a reader of an object
    store needs no more than two windows of shards at any time.
    """

    def __init__(self, counts: Sequence[int], window: int | None, *key: str) -> None:
        """Sets up the order of a source.

        Args:
            counts: samples of each shard.
            window: shards shuffled together; None for all.
            *key: names the order; each epoch has its own below it.
        """
        self._counts = np.array(counts, np.int64)
        self._window = min(window or len(counts), len(counts))
        self._key = key
        self._samples = int(self._counts.sum())
        self._plans: OrderedDict[int, _Plan] = OrderedDict()
        self._lock = Lock()

    def locate(self, draw: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the samples that draws take.

        Args:
            draw: int64[n], numbers of draws from this source since the start of the run.

        Returns:
            int64[n] number of the shard, int64[n] position of the sample in it.
        """
        shard, row = np.empty_like(draw), np.empty_like(draw)
        epoch, index = np.divmod(draw, self._samples)
        for one in np.unique(epoch):
            chosen = epoch == one
            shard[chosen], row[chosen] = self._locate_in_epoch(int(one), index[chosen])
        return shard, row

    def shards_ahead(self, draw: int) -> NDArray[np.int64]:
        """Returns the shards of the window of `draw` and of the next one, in order of need."""
        epoch, index = divmod(draw, self._samples)
        plan = self._plan(epoch)
        window = int(np.searchsorted(plan.windows, index, "right")) - 1
        ahead = plan.shards[window * self._window : (window + 2) * self._window]
        if window == len(plan.windows) - 2:
            ahead = np.concatenate([ahead, self._plan(epoch + 1).shards[: self._window]])
        return ahead

    def _locate_in_epoch(
        self, epoch: int, index: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        plan = self._plan(epoch)
        place = np.empty_like(index)
        window = np.searchsorted(plan.windows, index, "right") - 1
        for one in np.unique(window):
            chosen = window == one
            start, stop = int(plan.windows[one]), int(plan.windows[one + 1])
            shuffle = Permutation.keyed(stop - start, *self._key, str(epoch), str(one))
            place[chosen] = start + shuffle(index[chosen] - start)
        slot = np.searchsorted(plan.starts, place, "right") - 1
        return plan.shards[slot], place - plan.starts[slot]

    def _plan(self, epoch: int) -> _Plan:
        with self._lock:
            plan = self._plans.get(epoch)
            if plan is None:
                plan = self._plans[epoch] = self._make_plan(epoch)
                if len(self._plans) > _PLANS:
                    self._plans.popitem(last=False)
            return plan

    def _make_plan(self, epoch: int) -> _Plan:
        shards = np.arange(len(self._counts))
        if self._window < len(shards):
            shards = Permutation.keyed(len(shards), *self._key, str(epoch), "shards")(shards)
        starts = np.concatenate([[0], np.cumsum(self._counts[shards])])
        edges = np.append(np.arange(0, len(shards), self._window), len(shards))
        return _Plan(shards, starts, starts[edges])
