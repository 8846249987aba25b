from __future__ import annotations

from collections import Counter, defaultdict

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from transforms.counts.keys import ASK, TOTAL, asks, keys_of, unpack
from transforms.counts.totals import SumByKey, answer_totals

PARTS = {0: "aabc", 1: "bbd", 2: "", 3: "az"}


def read(answers):
    """Returns the totals that each part hears, by key."""
    heard = defaultdict(dict)
    for number, packed in answers:
        for key in np.frombuffer(packed, TOTAL):
            heard[int(number)][int(key["hi"]), int(key["lo"])] = int(key["n"])
    return dict(heard)


def wanted(silent=()):
    totals = Counter("".join(PARTS.values()))
    return {
        number: dict(zip(_names(values), (totals[one] for one in values), strict=True))
        for number, values in PARTS.items()
        if values and number not in silent
    }


def _names(values):
    return [(int(key["hi"]), int(key["lo"])) for key in keys_of(list(values))]


def test_every_part_hears_the_total_of_what_it_asked():
    packed = [asks(keys_of(list(values)), number).tobytes() for number, values in PARTS.items()]
    assert read(answer_totals(packed)) == wanted()
    assert list(answer_totals([])) == []


def test_a_part_that_only_contributes_hears_nothing():
    packed = [
        asks(keys_of(list(values)), -1 if number == 1 else number).tobytes()
        for number, values in PARTS.items()
    ]
    assert read(answer_totals(packed)) == wanted(silent={1})
    assert len(unpack(packed, ASK)) == 7


@pytest.mark.parametrize("partitions", [1, 8])
def test_partitions_do_not_matter(partitions):
    packed = [asks(keys_of(list(values)), number).tobytes() for number, values in PARTS.items()]

    def check(answers):
        assert read(answers) == wanted()

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        assert_that(pipeline | beam.Create(packed) | SumByKey(partitions), check)
