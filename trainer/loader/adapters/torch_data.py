"""For `torch.utils.data.DataLoader(dataset, batch_size=None)`: an item is the batch of a step.

    steps = StepDataset(mixture, options)
    DataLoader(steps, batch_size=None, sampler=range(resumed_step, last_step), num_workers=0)

resumes exactly, with any number of workers. The loader has threads of its own, so workers pay only
where Python itself is the limit.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from trainer.loader.batch import Batch, Tokenize, to_dict
from trainer.loader.loader import Loader
from trainer.loader.mixture import Mixture
from trainer.loader.options import LoaderOptions


class StepDataset:
    """A map-style dataset: number of a step to its batch, as a flat dict.

    Arrays are NumPy's, which `DataLoader` makes tensors of. Content ids come as int64, which torch
    computes with, of the same bits. The loader is made in the process that reads, so the dataset
    can be sent to workers.
    """

    def __init__(
        self, mixture: Mixture, options: LoaderOptions, tokenize: Tokenize | None = None
    ) -> None:
        """Sets up a dataset; see `Loader`."""
        self._given = (mixture, options, tokenize)
        self._loader: Loader | None = None
        self._process = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"_given": self._given, "_loader": None, "_process": 0}

    def __len__(self) -> int:
        """Number of steps; without an end, as many as Python can count."""
        return self.loader.steps or sys.maxsize

    def __getitem__(self, step: int) -> dict[str, Any]:
        """Returns the batch of `step`, from 0."""
        return _for_torch(self.loader.batch(step))

    @property
    def loader(self) -> Loader:
        """The loader of this process."""
        # Threads do not survive the fork that makes a worker.
        if self._loader is None or self._process != os.getpid():
            self._process = os.getpid()
            mixture, options, tokenize = self._given
            self._loader = Loader(mixture, options, tokenize=tokenize)
        return self._loader

    def iterate(self, start: int, stop: int | None, stride: int) -> Iterator[dict[str, Any]]:
        """Yields every `stride`-th batch; reads ahead where that is every one."""
        if stride == 1:
            yield from map(_for_torch, self.loader.iterate(start, stop))
            return
        ends = [end for end in (stop, self.loader.steps) if end is not None]
        for step in range(start, min(ends, default=sys.maxsize), stride):
            yield self[step]


def as_iterable(dataset: StepDataset, start: int = 0, stop: int | None = None) -> Any:
    """Returns a `torch.utils.data.IterableDataset` of the batches from `start` up to `stop`.

    Workers take turns, so that `DataLoader` yields the steps in order.

    Raises:
        ModuleNotFoundError: torch is not installed.
    """
    data = importlib.import_module("torch.utils.data")

    class Steps(data.IterableDataset):  # type: ignore[name-defined]
        def __iter__(self) -> Iterator[dict[str, Any]]:
            worker = data.get_worker_info()
            first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
            return dataset.iterate(start + first, stop, stride)

    return Steps()


def _for_torch(batch: Batch) -> dict[str, Any]:
    values = to_dict(batch)
    for name in ("query_id", "positive_id"):
        values[name] = values[name].view(np.int64)
    return values
