from collections import Counter

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.counts.keys import TOTAL, asks, keys_of, split_by_partition
from transforms.counts.vocabulary import (
    CutVocabulary,
    boundary,
    count_histogram,
    merge_histograms,
)

grams = st.lists(st.sampled_from([f"gram {n}" for n in range(12)]), min_size=1, max_size=60)


def ranked(counts):
    """All n-grams by (occurrences descending, key ascending): the naive order."""

    def order(gram):
        key = keys_of([gram])[0]
        return -counts[gram], int(key["hi"]), int(key["lo"])

    return sorted(counts, key=order)


def total_of(counts):
    names = list(counts)
    records = np.zeros(len(names), dtype=TOTAL)
    keys = keys_of(names)
    records["hi"], records["lo"] = keys["hi"], keys["lo"]
    records["n"] = [counts[name] for name in names]
    return names, records


def test_histograms_add_up():
    first = count_histogram([asks(keys_of(["a", "a", "b"]), 0).tobytes()])
    second = count_histogram([asks(keys_of(["c", "d", "d"]), 0).tobytes()])
    merged = merge_histograms([first, second])
    assert dict(zip(merged.counts.tolist(), merged.numbers.tolist(), strict=True)) == {1: 2, 2: 2}
    assert merge_histograms([]).counts.tolist() == []


@pytest.mark.parametrize(
    ("size", "min_count", "expected"),
    [(1, 1, (5, None)), (2, 1, (2, 1)), (3, 1, (2, None)), (9, 1, (1, None)), (9, 2, (2, None))],
)
def test_boundary(size, min_count, expected):
    histogram = count_histogram([asks(keys_of(["a"] * 5 + ["b"] * 2 + ["c"] * 2 + ["d"]), 0)])
    assert boundary(histogram, size, min_count) == expected


@settings(max_examples=15)
@given(grams, st.integers(1, 14), st.integers(1, 3), st.sampled_from([1, 4]))
def test_cut_equals_the_naive_ranking(values, size, min_count, partitions):
    counts = Counter(values)
    order = ranked(counts)
    inside = {gram for gram in order[:size] if counts[gram] >= min_count}
    names, records = total_of(counts)

    def check(cuts):
        (cut,) = cuts
        member = cut.contains(records)
        assert {name for name, one in zip(names, member, strict=True) if one} == inside
        more = [sum(other > counts[name] for other in counts.values()) for name in names]
        assert cut.rank(records["n"]).tolist() == [one + 1 for one in more]

    packed = list(split_by_partition(asks(keys_of(values), 0), partitions))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        cuts = (
            pipeline
            | beam.Create(packed)
            | beam.GroupByKey()
            | "Cut" >> CutVocabulary(size, min_count)
        )
        assert_that(cuts, check)
