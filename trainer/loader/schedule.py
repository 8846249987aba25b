"""Which source fills which row of which batch, and with its how-manieth draw."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor, lcm
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.loader.permutation import Permutation


@dataclass(frozen=True, slots=True)
class Draws:
    """The rows of one global batch, before they are samples.

    Attributes:
        source: int32[B], position of the source in the manifest.
        draw: int64[B], how many samples of that source the run has drawn before.
    """

    source: NDArray[np.int32]
    draw: NDArray[np.int64]


class Schedule(Protocol):
    """A rule that fills batches from sources. Draws of a source count up from 0 without gaps."""

    @property
    def batch_size(self) -> int:
        """Rows of the global batch."""
        ...

    @property
    def steps(self) -> int | None:
        """Number of batches; None where it never ends."""
        ...

    def draws(self, step: int) -> Draws:
        """Returns the rows of batch `step`, from 0."""
        ...


@dataclass(frozen=True, slots=True)
class _Phase:
    """Steps during which the same sources take part.

    Attributes:
        start: first step.
        used: samples that each source has given before, for all sources.
        shares: weight by source taking part, at any scale; the others are absent.
    """

    start: int
    used: tuple[int, ...]
    shares: dict[int, int]


class MixtureSchedule:
    """Fills batches in exact proportion to rational weights.

    After any number of steps each source has given its share to within a few samples, so that
    every batch holds nearly the same number of each. Where `max_epochs` caps repetition, a source
    that has not enough left for the next batch leaves, and the others take its share; the schedule
    ends when none is left.
    """

    def __init__(
        self,
        weights: Sequence[Fraction],
        samples: Sequence[int],
        batch_size: int,
        *,
        max_epochs: float | None = None,
        single_source: bool = False,
        repeats_in_batch: bool = False,
        key: str = "",
    ) -> None:
        """Plans the schedule.

        Args:
            weights: share of each source; 0 leaves it out.
            samples: number of samples of each source.
            batch_size: rows of the global batch.
            max_epochs: how often a sample may be seen; None for no cap.
            single_source: fill each batch from one source (Gemini Embedding, 2503.07891, section
                3.2), so that shares are of batches.
            repeats_in_batch: accept batches that must hold a sample twice.
            key: keys the order of the rows inside a batch.

        Raises:
            ValueError: the batch is empty, a source has fewer samples than its share of a batch, or
                the cap leaves not even one batch.
        """
        if batch_size < 1:
            raise ValueError(f"batch size {batch_size}: a batch has at least one row")
        if max_epochs is not None and not max_epochs > 0:
            raise ValueError(f"max_epochs {max_epochs}: it is above 0, or not set")
        self._batch_size = batch_size
        self._single = single_source
        self._key = key
        self._samples = tuple(samples)
        self._smallest = 0 if repeats_in_batch else 1
        scale = lcm(*(weight.denominator for weight in weights))
        shares = {source: int(weight * scale) for source, weight in enumerate(weights) if weight}
        if too_small := self._too_small(shares):
            source, share = next(iter(too_small.items()))
            raise ValueError(
                f"source number {source} has {samples[source]} samples, and its share of a batch "
                f"of {batch_size} is {share}: a batch would hold a sample twice; lower the batch "
                "size or the weight, or set repeats_in_batch"
            )
        self._phases, self._steps = self._plan(shares, max_epochs)
        if self._steps == 0:
            raise ValueError(
                f"max_epochs {max_epochs} leaves fewer samples than one batch of {batch_size}; "
                "lower the batch size or raise max_epochs"
            )
        self._starts = [phase.start for phase in self._phases]

    @property
    def batch_size(self) -> int:
        """Rows of the global batch."""
        return self._batch_size

    @property
    def steps(self) -> int | None:
        """Number of batches; None without `max_epochs`."""
        return self._steps

    def draws(self, step: int) -> Draws:
        """Returns the rows of batch `step`; see `Schedule`.

        Raises:
            IndexError: the schedule does not reach `step`.
        """
        if step < 0 or (self._steps is not None and step >= self._steps):
            raise IndexError(f"step {step}: the schedule has steps 0 to {self._steps}, exclusive")
        phase = self._phases[bisect_right(self._starts, step) - 1]
        before = self._given(phase, step - phase.start)
        after = self._given(phase, step - phase.start + 1)
        counts = [after[source] - before[source] for source in phase.shares]
        source = np.repeat(np.array(list(phase.shares), np.int32), counts)
        draw = np.concatenate(
            [
                np.arange(phase.used[source] + before[source], phase.used[source] + after[source])
                for source in phase.shares
            ]
        )
        rows = Permutation.keyed(self._batch_size, self._key, "rows", str(step))(
            np.arange(self._batch_size)
        )
        return Draws(source[rows], draw[rows])

    def _given(self, phase: _Phase, steps: int) -> dict[int, int]:
        """Returns how many samples each source gives in the first `steps` steps of a phase."""
        unit = self._batch_size if self._single else 1
        total = steps * self._batch_size // unit
        counts = apportion(total, list(phase.shares.values()))
        return {source: count * unit for source, count in zip(phase.shares, counts, strict=True)}

    def _plan(
        self, shares: dict[int, int], max_epochs: float | None
    ) -> tuple[list[_Phase], int | None]:
        """Returns the phases and the number of steps."""
        used = (0,) * len(self._samples)
        if max_epochs is None:
            return [_Phase(0, used, shares)], None
        caps = [floor(Fraction(repr(float(max_epochs))) * count) for count in self._samples]
        phases: list[_Phase] = []
        step = 0
        while shares:
            phase = _Phase(step, used, shares)
            length = self._length(phase, caps)
            if length:
                phases.append(phase)
                step += length
                given = self._given(phase, length)
                used = tuple(count + given.get(source, 0) for source, count in enumerate(used))
            beyond = self._given(phase, length + 1)
            shares = {
                source: share
                for source, share in shares.items()
                if phase.used[source] + beyond[source] <= caps[source]
            }
            while too_small := self._too_small(shares):
                shares = {key: share for key, share in shares.items() if key not in too_small}
        return phases, step

    def _length(self, phase: _Phase, caps: Sequence[int]) -> int:
        """Returns the number of steps that no source of the phase runs out in."""

        def runs_out(steps: int) -> bool:
            given = self._given(phase, steps)
            return any(phase.used[source] + given[source] > caps[source] for source in given)

        return bisect_left(range(sum(caps) // self._batch_size + 2), True, key=runs_out) - 1

    def _too_small(self, shares: dict[int, int]) -> dict[int, int]:
        """Returns the share of a batch of every source that has fewer samples than that."""
        total = sum(shares.values())
        found = {}
        for source, share in shares.items():
            rows = self._batch_size if self._single else -(-self._batch_size * share // total)
            if self._smallest * rows > self._samples[source]:
                found[source] = rows
        return found


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Splits `total` in proportion to positive weights, as integers that sum to it.

    Halves the weights again and again, each left half taking the floor of its share. As `total`
    grows by one, exactly one count grows by one, whatever the weights: a sequence of batches never
    takes a draw back, which rounding the cumulative shares would do for small weights. A count is
    off its exact share by less than the number of halvings, log2 of the number of weights.
    """
    if len(weights) == 1:
        return [total]
    middle = len(weights) // 2
    left = total * sum(weights[:middle]) // sum(weights)
    return apportion(left, weights[:middle]) + apportion(total - left, weights[middle:])
