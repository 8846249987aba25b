"""Totals by key: every part hands in how often it has a key, and hears how often all have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection

from transforms.counts.keys import (
    ASK,
    look_up,
    split_by_part,
    split_by_partition,
    sum_by_key,
    unpack,
)


def answer_totals(packed: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Sums a partition's asks; yields (part number, packed `TOTAL`) for every part that asked."""
    records = unpack(packed, ASK)
    totals = sum_by_key(records)
    answered = records[records["part"] >= 0]
    answered["n"] = totals["n"][look_up(totals, answered)]
    yield from split_by_part(answered)


class SumByKey(beam.PTransform[PCollection[bytes], PCollection[tuple[str, bytes]]]):
    """Packed `ASK` arrays → (part number, packed `TOTAL` arrays) for every part that asked."""

    def __init__(self, partitions: int) -> None:
        """Makes the transform; equal keys meet in one of `partitions` partitions."""
        super().__init__()
        self._partitions = partitions

    def expand(self, packed: PCollection[bytes]) -> PCollection[tuple[str, bytes]]:
        """Groups by partition, sums, and sends the totals back."""
        return (
            packed
            | "Partition" >> beam.FlatMap(_split_asks, partitions=self._partitions)
            | "Group" >> beam.GroupByKey()
            | "Answer" >> beam.FlatMapTuple(_answer).with_output_types(tuple[str, bytes])
        )


def _answer(_partition: str, packed: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    return answer_totals(packed)


def _split_asks(packed: bytes, partitions: int) -> Iterator[tuple[str, bytes]]:
    return split_by_partition(np.frombuffer(packed, dtype=ASK), partitions)
