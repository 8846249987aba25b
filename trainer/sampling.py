"""Which source fills a batch, where each batch is of one source: UnED's four samplers.

(2309.01858; `sampling_utils.py` of nikosips/Universal-Image-Embeddings.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.loader.schedule import Draws

Name = Literal["dataset_size", "balanced", "round_robin", "specialist_top_steps"]

_ORDER_SEED = 0
"""UnED permutes the order of steps under this seed, whatever the run's."""


def steps_by_size(steps: int, sizes: Sequence[int]) -> list[int]:
    """Returns how many steps each source gets in proportion to its size; the last takes the rest.

    1,000 steps over 6,346 and 48,942 samples are 114 and 886.
    """
    total = sum(sizes)
    counts = [steps * size // total for size in sizes[:-1]]
    return [*counts, steps - sum(counts)]


def balanced_steps(steps: int, sources: int) -> list[int]:
    """Returns equal numbers of steps; the last source takes the rest: 10 over 3 are 3, 3, 4."""
    return [steps // sources] * (sources - 1) + [steps - (sources - 1) * (steps // sources)]


def source_by_step(
    name: Name, steps: int, sizes: Sequence[int], top_steps: Sequence[int] = ()
) -> NDArray[np.int32]:
    """Returns the position of the source that fills the batch of each step, int32 [steps].

    Args:
        name: `dataset_size`: in proportion to samples; `balanced`: equally often; `round_robin`: in
            turn; `specialist_top_steps`: in proportion to the steps at which a model of each source
            alone was best.
        steps: of the run.
        sizes: samples of each source.
        top_steps: by source, for `specialist_top_steps`.

    Raises:
        ValueError: there is no source, or `top_steps` does not fit.
    """
    if not sizes or min(sizes) < 1 or steps < 1:
        raise ValueError(f"{steps} steps over sources of {list(sizes)} samples: all are positive")
    if name == "round_robin":
        return (np.arange(steps) % len(sizes)).astype(np.int32)
    if name == "dataset_size":
        counts = steps_by_size(steps, sizes)
    elif name == "balanced":
        counts = balanced_steps(steps, len(sizes))
    else:
        if len(top_steps) != len(sizes) or min(top_steps) < 1:
            raise ValueError(
                f"top_steps holds {list(top_steps)}; give the best step of each of the "
                f"{len(sizes)} sources"
            )
        counts = steps_by_size(steps, top_steps)
    order = np.repeat(np.arange(len(sizes), dtype=np.int32), counts)
    return np.random.RandomState(_ORDER_SEED).permutation(order)


class SourceSchedule:
    """A loader's schedule that fills the batch of each step from the source that a sampler chose.

    A source is passed through again and again, without replacement.
    """

    def __init__(self, sources: NDArray[np.int32], sizes: Sequence[int], batch_size: int) -> None:
        """Plans the schedule.

        Args:
            sources: int32 [steps], from `source_by_step`.
            sizes: samples of each source.
            batch_size: rows of the global batch.

        Raises:
            ValueError: a source holds fewer samples than a batch.
        """
        small = [n for n in np.unique(sources).tolist() if sizes[n] < batch_size]
        if small:
            raise ValueError(
                f"source number {small[0]} has {sizes[small[0]]} samples, fewer than a batch of "
                f"{batch_size}; lower batch_size, or leave the source out"
            )
        self._sources = sources
        self._batch_size = batch_size
        # How many batches its source has filled before each step.
        self._before = np.zeros(len(sources), np.int64)
        for source in np.unique(sources):
            chosen = sources == source
            self._before[chosen] = np.arange(chosen.sum())

    @property
    def batch_size(self) -> int:
        """Rows of the global batch."""
        return self._batch_size

    @property
    def steps(self) -> int | None:
        """Number of batches."""
        return len(self._sources)

    def draws(self, step: int) -> Draws:
        """Returns the rows of batch `step`; IndexError where the schedule does not reach it."""
        if not 0 <= step < len(self._sources):
            raise IndexError(f"step {step}: the schedule has {len(self._sources)} steps")
        first = self._before[step] * self._batch_size
        return Draws(
            np.full(self._batch_size, self._sources[step], np.int32),
            first + np.arange(self._batch_size, dtype=np.int64),
        )
