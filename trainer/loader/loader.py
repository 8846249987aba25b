"""The loader: batches by step, read and decoded ahead by threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from schemas.shards import Shard
from trainer.loader.batch import Batch, Tokenize, assemble
from trainer.loader.cache import make_cache
from trainer.loader.ledger import Ledger
from trainer.loader.mixture import Mixture
from trainer.loader.options import LoaderOptions
from trainer.loader.reader import ShardReader
from trainer.loader.rows import RowLoader
from trainer.loader.sampler import Rows, Sampler, host_rows
from trainer.loader.schedule import Schedule

_CHUNK = 16
"""Most rows that a thread takes at once: a few milliseconds of decoding."""

_FETCHERS = 4
"""Shards fetched at the same time, ahead of need."""


class Loader:
    """The batches of a mixture, by step.

    The batch of a step depends on the manifest, the options and the step only: not on the steps
    before it, nor on threads, hosts or an earlier run. Close the loader, or use it as a context.
    """

    def __init__(
        self,
        mixture: Mixture,
        options: LoaderOptions,
        *,
        tokenize: Tokenize | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        """Sets up a loader; nothing is read yet.

        Args:
            mixture: what to load.
            options: how.
            tokenize: turns texts into ids and mask; called by one thread at a time.
            schedule: fills batches from sources in another way than by weight.

        Raises:
            ValueError: the options do not fit the mixture, or the cache is too small for it.
        """
        self.mixture = mixture
        self.options = options
        self.sampler = Sampler(mixture, options.sampling, schedule)
        self.ledger = Ledger(options.ledger, options.max_bad_rate)
        self._tokenize = tokenize
        self._tokenizing = Lock()
        self._slice = host_rows(self.sampler.schedule.batch_size, options.host, options.hosts)
        self._reader = ShardReader(mixture, make_cache(mixture, options), verify=options.verify)
        self._loader = RowLoader(
            mixture, options, self._reader, self.sampler.seed, self._slice.start
        )
        self._threads = options.threads or len(os.sched_getaffinity(0))
        self._workers = ThreadPoolExecutor(self._threads, "loader-decode")
        # Two, so that one batch can end while the next one begins.
        self._builders = ThreadPoolExecutor(2, "loader-build")
        self._fetchers = ThreadPoolExecutor(_FETCHERS, "loader-fetch")
        self._ahead: Collection[tuple[int, int]] = ()
        # OpenCV's own threads would compete with ours for the same cores.
        cv2.setNumThreads(1)

    @property
    def steps(self) -> int | None:
        """Number of batches; None where there is no end."""
        return self.sampler.steps

    def batch(self, step: int) -> Batch:
        """Returns this host's rows of the batch of `step`.

        Raises:
            IndexError: the run does not reach `step`.
            ShardError: a shard is missing, truncated or altered, or its index is not its own.
            TooManyBadSamplesError: more samples are bad than the options accept.
        """
        batch = self._build(step)
        self.ledger.record(batch)
        return batch

    def iterate(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Yields the batches of steps `start` to `stop`, exclusive, made ahead by threads.

        Raises as `batch` does. What is under way when the iterator is closed or fails is cancelled,
        or finished within a batch.
        """
        ends = [end for end in (stop, self.steps) if end is not None]
        end = min(ends) if ends else None
        pending: deque[Future[Batch]] = deque()
        step = start
        try:
            while True:
                while len(pending) <= self.options.read_ahead and (end is None or step < end):
                    pending.append(self._builders.submit(self._build, step))
                    step += 1
                if not pending:
                    return
                batch = pending.popleft().result()
                self.ledger.record(batch)
                yield batch
        finally:
            for future in pending:
                future.cancel()

    def encoded(self, step: int) -> Iterator[tuple[str, Shard, dict[str, bytes]]]:
        """Yields the samples of this host's rows undecoded: key, shard, every member's bytes.

        Raises:
            IndexError: the run does not reach `step`.
            ShardError: as `batch`.
        """
        rows = self._rows(step)
        for source, number, row in zip(rows.source, rows.shard, rows.row, strict=True):
            shard = self._reader.shard(int(source), int(number))
            index = self._reader.index(shard)
            members = self._reader.read(shard, index, index.members(int(row)))
            yield index.key(int(row)), shard, members

    def close(self) -> None:
        """Stops the threads and closes the shards."""
        for pool in (self._builders, self._workers, self._fetchers):
            pool.shutdown(wait=True, cancel_futures=True)
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _rows(self, step: int) -> Rows:
        rows = self.sampler.rows(step)
        self._fetch_ahead(rows)
        mine = self._slice
        return Rows(rows.source[mine], rows.draw[mine], rows.shard[mine], rows.row[mine])

    def _build(self, step: int) -> Batch:
        rows = self._rows(step)
        count = len(rows.source)
        size = self.options.image.size if self.options.image else 0
        image = np.zeros((count, size, size, 3), np.uint8) if size else None
        chunk = min(max(1, count // (4 * self._threads)), _CHUNK)
        chunks = [range(at, min(at + chunk, count)) for at in range(0, count, chunk)]
        futures = [
            self._workers.submit(self._loader.load, step, rows, chunk, image) for chunk in chunks
        ]
        try:
            samples = [sample for future in futures for sample in future.result()]
        finally:
            for future in futures:
                future.cancel()
        with self._tokenizing:
            return assemble(
                step,
                samples,
                rows.source,
                image,
                roles=self.options.roles,
                arrays=self.options.arrays,
                tokenize=self._tokenize,
            )

    def _fetch_ahead(self, rows: Rows) -> None:
        """Begins to fetch the shards of the windows in use and of the next ones."""
        if self.options.cache is None:
            return
        ahead = dict.fromkeys(self.sampler.shards_ahead(rows))
        for source, number in ahead:
            if (source, number) not in self._ahead:
                # A fetch that fails is tried again, and its error raised, by the row in need of it.
                self._fetchers.submit(self._reader.prefetch, self._reader.shard(source, number))
        self._ahead = ahead.keys()
