"""The vocabulary: which n-grams are among the K most frequent, found without collecting them.

Counts are summarised as a histogram (how many n-grams occur c times), which is small whatever the
corpus. It names the count at which rank K falls; only where n-grams tie at that count are their
digests looked at, first as 4096 bins, then the one bin in which the cut falls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.pvalue import AsSingleton, PCollection

from transforms.counts.keys import ASK, KEY, Records, sort_order, sum_by_key, unpack

_BIN_BITS = 12

Ints = npt.NDArray[np.int64]

Group = tuple[str, Iterable[bytes]]
"""A partition and its packed `ASK` arrays."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many n-grams occur how often.

    Attributes:
        counts: distinct occurrence counts, ascending.
        numbers: how many n-grams have each count.
    """

    counts: Ints
    numbers: Ints

    @property
    def more_frequent(self) -> Ints:
        """For each count, how many n-grams occur more often."""
        return np.asarray(self.numbers.sum() - np.cumsum(self.numbers))


@dataclass(frozen=True, eq=False)
class Cut:
    """Where the vocabulary ends.

    Attributes:
        histogram: of the whole corpus.
        count: n-grams that occur more often are inside, those that occur less often outside.
        last_tie: of those that occur exactly `count` times, the largest key inside, as
            (hi, lo); None where all of them are inside.
    """

    histogram: Histogram
    count: int
    last_tie: tuple[int, int] | None

    def rank(self, n: Ints) -> Ints:
        """Returns one more than the number of n-grams that occur more often than `n` times."""
        at = np.searchsorted(self.histogram.counts, n)
        return np.asarray(self.histogram.more_frequent[at] + 1)

    def contains(self, totals: Records) -> npt.NDArray[np.bool_]:
        """Returns which n-grams (`TOTAL`) are inside the vocabulary."""
        inside = totals["n"] >= self.count
        if self.last_tie is not None:
            hi, lo = (np.uint64(word) for word in self.last_tie)
            beyond = (totals["hi"] > hi) | ((totals["hi"] == hi) & (totals["lo"] > lo))
            inside &= (totals["n"] > self.count) | ~beyond
        return np.asarray(inside)


def count_histogram(packed: Iterable[bytes]) -> Histogram:
    """Returns the histogram of one partition's `ASK` arrays."""
    counts, numbers = np.unique(sum_by_key(unpack(packed, ASK))["n"], return_counts=True)
    return Histogram(counts, numbers)


def merge_histograms(histograms: Iterable[Histogram]) -> Histogram:
    """Adds up histograms of disjoint sets of n-grams."""
    parts = list(histograms)
    empty = [np.empty(0, dtype=np.int64)]
    values = np.concatenate([part.counts for part in parts] or empty)
    numbers = np.concatenate([part.numbers for part in parts] or empty)
    counts, place = np.unique(values, return_inverse=True)
    summed = np.zeros(len(counts), dtype=np.int64)
    np.add.at(summed, place, numbers)
    return Histogram(counts, summed)


def boundary(histogram: Histogram, size: int, min_count: int) -> tuple[int, int | None]:
    """Returns the count at which the vocabulary ends and how many of its ties are inside.

    Args:
        histogram: of the whole corpus.
        size: n-grams in the vocabulary, at most.
        min_count: n-grams that occur less often are outside in any case.

    Returns:
        (count, ties): `ties` is None where all n-grams with that count are inside.
    """
    more = histogram.more_frequent
    within = np.flatnonzero(more < size)
    if not len(within):
        return min_count, None
    first = within[0]
    count, ties = int(histogram.counts[first]), int(size - more[first])
    if count < min_count:
        return min_count, None
    return count, None if ties >= histogram.numbers[first] else ties


class CutVocabulary(beam.PTransform[PCollection[Group], PCollection[Cut]]):
    """Grouped `ASK` arrays → the one `Cut` of the corpus."""

    def __init__(self, size: int, min_count: int) -> None:
        """Cuts after the `size` most frequent n-grams that occur `min_count` times or more."""
        super().__init__()
        self._size = size
        self._min_count = min_count

    def expand(self, grouped: PCollection[Group]) -> PCollection[Cut]:
        """Combines histograms, then narrows the ties down to one key."""
        size, min_count = self._size, self._min_count
        histogram = AsSingleton(
            grouped
            | "Histogram" >> beam.Map(_histogram)
            | "Merge" >> beam.CombineGlobally(merge_histograms)
        )
        bins = AsSingleton(
            grouped
            | "Bins" >> beam.Map(_tie_bins, histogram, size, min_count)
            | "AddBins" >> beam.CombineGlobally(_add_bins)
        )
        return (
            grouped
            | "Ties" >> beam.FlatMap(_ties_in_cut_bin, histogram, bins, size, min_count)
            | "Gather" >> beam.CombineGlobally(b"".join)
            | "Cut" >> beam.Map(_cut, histogram, bins, size, min_count)
        )


def _histogram(group: Group) -> Histogram:
    return count_histogram(group[1])


def _ties(packed: Iterable[bytes], count: int) -> Records:
    totals = sum_by_key(unpack(packed, ASK))
    tied = totals[totals["n"] == count]
    keys = np.zeros(len(tied), dtype=KEY)
    keys["hi"], keys["lo"] = tied["hi"], tied["lo"]
    return keys


def _bin_of(keys: Records) -> Ints:
    return np.asarray((keys["hi"] >> np.uint64(64 - _BIN_BITS)).astype(np.int64))


def _tie_bins(group: Group, histogram: Histogram, size: int, min_count: int) -> bytes:
    count, ties = boundary(histogram, size, min_count)
    if ties is None:
        return b""
    return np.bincount(_bin_of(_ties(group[1], count)), minlength=1 << _BIN_BITS).tobytes()


def _add_bins(packed: Iterable[bytes]) -> bytes:
    total = np.zeros(1 << _BIN_BITS, dtype=np.int64)
    for one in packed:
        if one:
            total += np.frombuffer(one, dtype=np.int64)
    return total.tobytes()


def _cut_bin(bins: bytes, ties: int) -> tuple[int, int]:
    """Returns the bin in which the cut falls, and how many keys of that bin are inside."""
    cumulative = np.cumsum(np.frombuffer(bins, dtype=np.int64))
    place = int(np.searchsorted(cumulative, ties))
    before = int(cumulative[place - 1]) if place else 0
    return place, ties - before


def _ties_in_cut_bin(
    group: Group, histogram: Histogram, bins: bytes, size: int, min_count: int
) -> Iterator[bytes]:
    count, ties = boundary(histogram, size, min_count)
    if ties is not None:
        keys = _ties(group[1], count)
        yield keys[_bin_of(keys) == _cut_bin(bins, ties)[0]].tobytes()


def _cut(candidates: bytes, histogram: Histogram, bins: bytes, size: int, min_count: int) -> Cut:
    count, ties = boundary(histogram, size, min_count)
    if ties is None:
        return Cut(histogram, count, None)
    keys = np.frombuffer(candidates, dtype=KEY)
    last = keys[sort_order(keys)][_cut_bin(bins, ties)[1] - 1]
    return Cut(histogram, count, (int(last["hi"]), int(last["lo"])))
