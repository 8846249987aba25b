"""Routes references by rank: from where samples are to the shard that each belongs to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from transforms.shards.commit import shard_name


class Ranked(Protocol):
    """A sample by reference."""

    @property
    def rank(self) -> int:
        """Place of the sample in its series, from 0."""
        ...

    def to_line(self) -> bytes:
        """Returns the reference as one line of text."""
        ...


R = TypeVar("R", bound=Ranked)


def split_committed(
    ranks: npt.NDArray[np.int64], samples_per_shard: int, committed: set[str]
) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Returns the shards of `ranks` that are committed, and the positions that belong to others.

    Args:
        ranks: of some samples, shape (n,).
        samples_per_shard: of the series.
        committed: names of committed shards.
    """
    numbers, shard_of = np.unique(ranks // samples_per_shard, return_inverse=True)
    done = np.array([shard_name(number) in committed for number in numbers], bool)
    return [shard_name(number) for number in numbers[done]], np.flatnonzero(~done[shard_of])


def route(samples: Iterable[Ranked], samples_per_shard: int) -> Iterator[tuple[str, bytes]]:
    """Yields (shard, lines) for every shard that samples go to, one line a sample."""
    lines: defaultdict[str, list[bytes]] = defaultdict(list)
    for sample in samples:
        lines[shard_name(sample.rank // samples_per_shard)].append(sample.to_line())
    for name in sorted(lines):
        yield name, b"\n".join(lines[name])


def collect(
    name: str, values: Iterable[bytes], parse: Callable[[bytes], R], samples_per_shard: int
) -> list[R]:
    """Returns the samples of a shard by rank, from what `route` sent in any order.

    Raises:
        ValueError: the ranks are not those of this shard, without a gap.
    """
    lines = (line for value in values for line in value.split(b"\n") if line)
    samples = sorted(map(parse, lines), key=lambda sample: sample.rank)
    first = int(name) * samples_per_shard
    if [sample.rank for sample in samples] != list(range(first, first + len(samples))):
        raise ValueError(
            f"shard {name}: its {len(samples)} samples do not have the ranks from {first} on; they "
            "were ranked from other rows than those that were read: run the stage again"
        )
    return samples
