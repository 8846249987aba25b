"""The training loop: steps, metrics, checkpoints, and what ends a run early."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from numpy.typing import NDArray

from trainer.checkpoints import Checkpoints, Record
from trainer.feed import Fed, Feed
from trainer.journal import Journal
from trainer.recipe import TrainRecipe
from trainer.step import Features, Metrics, State
from trainer.towers.settings import forward_flops

PEAK_FLOPS = {
    "h200": 989e12,
    "h100": 989e12,
    "a100": 312e12,
    "v6": 918e12,
    "v5p": 459e12,
    "v5 lite": 197e12,
    "v5e": 197e12,
    "v4": 275e12,
}
"""Dense bfloat16 FLOP/s of a device, by a part of JAX's name for its kind (data sheets)."""


class DivergedError(Exception):
    """The loss or its gradient is no finite number."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: the last one.
        step: steps taken.
        stopped: it was asked to stop before its last step.
    """

    state: State
    step: int
    stopped: bool


@dataclasses.dataclass
class _Window:
    """What happened since the last line of metrics."""

    began: float
    rows: NDArray[np.int64]
    steps: int = 0
    waited: float = 0.0


@dataclasses.dataclass(frozen=True)
class _Pending:
    """A step that is still being computed."""

    step: int
    metrics: Metrics
    fed: Fed


class Loop:
    """Runs the steps of a recipe. Metrics are read one step late, so that devices never wait."""

    def __init__(
        self,
        recipe: TrainRecipe,
        step: Callable[[State, Features], tuple[State, Metrics]],
        checkpoints: Checkpoints,
        journal: Journal,
        record: Record,
        sources: Sequence[str],
    ) -> None:
        """Sets up a run.

        Args:
            recipe: the run's.
            step: the compiled step.
            checkpoints: where to save.
            journal: where metrics go.
            record: what checkpoints say, but for the step.
            sources: names of the sources, in the manifest's order.
        """
        self._recipe = recipe
        self._step = step
        self._checkpoints = checkpoints
        self._journal = journal
        self._record = record
        self._sources = sources
        self._peak = peak_flops(jax.devices()[0].device_kind)

    def run(self, state: State, feed: Feed, start: int, stop_asked: Callable[[], bool]) -> Outcome:
        """Takes the steps from `start` to the recipe's last, to the end of the data, or to a stop.

        Saves every `save_every` steps, at the end, and when stopped; returns when all is written.

        Raises:
            DivergedError: a loss or gradient is not finite; no checkpoint holds that step.
            CheckpointError: a checkpoint cannot be written.
        """
        window = self._window()
        done, pending, stopped = start, None, False
        while done < self._recipe.steps and not stopped:
            asked = time.perf_counter()
            fed = next(feed, None)
            if fed is None:
                break
            window.waited += time.perf_counter() - asked
            state, metrics = self._step(state, fed.features)
            if pending is not None:
                window = self._finish(pending, window)
            done += 1
            pending = _Pending(done, metrics, fed)
            stopped = _all_hosts_agree(stop_asked, done) and done < self._recipe.steps
            if done % self._recipe.save_every == 0:
                window = self._finish(pending, window)
                pending = None
                self._save(state, done)
        if pending is not None:
            self._finish(pending, window)
            self._save(state, done)
        self._checkpoints.wait()
        return Outcome(state, done, stopped)

    def _save(self, state: State, done: int) -> None:
        self._checkpoints.save(state, self._record.model_copy(update={"step": done}))

    def _finish(self, pending: _Pending, window: _Window) -> _Window:
        """Checks a step's numbers, and writes a line of metrics where one is due."""
        fetched = jax.device_get(pending.metrics)
        rows = fetched.pop("rows")
        values = {name: float(value) for name, value in fetched.items()}
        if not math.isfinite(values["loss"]) or not math.isfinite(values["gradient"]):
            self._checkpoints.wait()
            raise DivergedError(
                f"step {pending.step}: loss {values['loss']}, gradient {values['gradient']}; the "
                f"last good checkpoint is of step {self._checkpoints.latest}. Look at the batch, "
                f"or lower the learning rate or optimiser.clip. Its keys: "
                f"{', '.join(pending.fed.keys)}"
            )
        window.steps += 1
        window.rows += rows
        if pending.step % self._recipe.log_every and pending.step != self._recipe.steps:
            return window
        seconds = time.perf_counter() - window.began
        self._journal.write(pending.step, values | self._rates(window, seconds))
        return self._window()

    def _window(self) -> _Window:
        return _Window(time.perf_counter(), np.zeros(len(self._sources), np.int64))

    def _rates(self, window: _Window, seconds: float) -> dict[str, Any]:
        expected = window.steps * self._recipe.data.batch_size
        rate = expected / seconds
        flops = 3 * forward_flops(self._recipe.model) * rate
        return {
            "samples_per_second": rate,
            "loader_wait": window.waited / seconds,
            "mfu": None if self._peak is None else flops / (self._peak * jax.device_count()),
            "bad_samples": expected - int(window.rows.sum()),
            "samples": dict(zip(self._sources, window.rows.tolist(), strict=True)),
        }


def peak_flops(kind: str) -> float | None:
    """Returns a device's dense bfloat16 FLOP/s by JAX's name for its kind; None where unknown."""
    lowered = kind.lower()
    return next((flops for name, flops in PEAK_FLOPS.items() if name in lowered), None)


def _all_hosts_agree(stop_asked: Callable[[], bool], step: int) -> bool:
    """Returns whether to stop after this step: the same answer on every host."""
    if jax.process_count() == 1:
        return stop_asked()
    # JAX's coordination service hears SIGTERM on any host and picks a step that all will reach.
    agreed: bool = multihost_utils.reached_preemption_sync_point(step)
    return agreed
