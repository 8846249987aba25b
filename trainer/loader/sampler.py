"""Which samples make up the batch of a step: a function of manifest, sampling options and step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trainer.loader.mixture import Mixture
from trainer.loader.options import Sampling
from trainer.loader.order import SourceOrder
from trainer.loader.schedule import MixtureSchedule, Schedule
from trainer.loader.weights import source_weights


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a batch, as places in shards.

    Attributes:
        source: int32[B], position of the source in the manifest.
        draw: int64[B], how many samples of that source came before in the run.
        shard: int64[B], position of the shard in the source.
        row: int64[B], position of the sample in the shard.
    """

    source: NDArray[np.int32]
    draw: NDArray[np.int64]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]


class Sampler:
    """The order of a run. Has no state: any step can be asked for, in any order, at equal cost."""

    def __init__(
        self, mixture: Mixture, sampling: Sampling, schedule: Schedule | None = None
    ) -> None:
        """Plans a run.

        Args:
            mixture: what to sample from.
            sampling: how.
            schedule: fills batches from sources in another way than by weight; weights, epochs and
                single-source batches of `sampling` do not apply then.

        Raises:
            ValueError: weights that do not fit the mixture, or a source smaller than its share of
                a batch.
        """
        self.mixture = mixture
        self.sampling = sampling
        sources = mixture.manifest.sources
        self.seed = mixture.manifest.seed if sampling.seed is None else sampling.seed
        self.schedule = schedule or MixtureSchedule(
            source_weights(sources, sampling.weights, sampling.temperature),
            [source.samples for source in sources],
            sampling.batch_size,
            max_epochs=sampling.max_epochs,
            single_source=sampling.single_source,
            repeats_in_batch=sampling.repeats_in_batch,
            key=f"{mixture.digest}/{self.seed}",
        )

    @property
    def steps(self) -> int | None:
        """Number of batches; None where there is no end."""
        return self.schedule.steps

    def rows(self, step: int) -> Rows:
        """Returns the rows of the global batch of `step`.

        Raises:
            IndexError: the run does not reach `step`.
        """
        draws = self.schedule.draws(step)
        shard, row = np.empty_like(draws.draw), np.empty_like(draws.draw)
        for source in np.unique(draws.source):
            chosen = draws.source == source
            shard[chosen], row[chosen] = self._orders[source].locate(draws.draw[chosen])
        return Rows(draws.source, draws.draw, shard, row)

    def shards_ahead(self, rows: Rows) -> list[tuple[int, int]]:
        """Returns (source, shard) of the windows that `rows` are in and of those that follow."""
        ahead = []
        for source in np.unique(rows.source):
            last = int(rows.draw[rows.source == source].max())
            ahead += [(int(source), int(one)) for one in self._orders[source].shards_ahead(last)]
        return ahead

    @cached_property
    def _orders(self) -> list[SourceOrder]:
        return [
            SourceOrder(
                [shard.samples for shard in source.shards],
                self.sampling.window,
                self.mixture.digest,
                str(self.seed),
                source.name,
            )
            for source in self.mixture.manifest.sources
        ]


def host_rows(batch_size: int, host: int, hosts: int) -> slice:
    """Returns the rows of the global batch that a host loads.

    The slices of all hosts are the batch, whatever their number. They differ by at most one row,
    and not at all where `hosts` divides `batch_size`.
    """
    return slice(host * batch_size // hosts, (host + 1) * batch_size // hosts)
