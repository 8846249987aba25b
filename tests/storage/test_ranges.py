"""Coalescing of ranges: what is read, and that every range is cut out of it."""

from __future__ import annotations

import io
import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.local import LocalFolder
from storage.ranges import LIMIT, Cut, Span, coalesce, read_many, read_ranges

SIZE = 300
DATA = bytes(number % 251 for number in range(SIZE))

ranges_of_data = st.lists(
    st.integers(0, SIZE).flatmap(
        lambda offset: st.tuples(st.just(offset), st.integers(0, SIZE - offset))
    ),
    max_size=12,
)


@given(ranges_of_data, st.integers(0, 40), st.integers(1, 120))
def test_every_range_is_cut_out_of_exactly_one_span(
    ranges: list[tuple[int, int]], gap: int, limit: int
) -> None:
    cuts = [(cut, span) for span in coalesce(ranges, gap, limit) for cut in span.cuts]
    assert sorted(cut.position for cut, _ in cuts) == list(range(len(ranges)))
    for cut, span in cuts:
        offset, length = ranges[cut.position]
        assert (span.offset + cut.start, cut.length) == (offset, length)
        read = DATA[span.offset : span.offset + span.length]
        assert read[cut.start : cut.start + cut.length] == DATA[offset : offset + length]


@given(ranges_of_data, st.integers(0, 40), st.integers(1, 120))
def test_spans_keep_to_gap_and_limit_and_waste_no_request(
    ranges: list[tuple[int, int]], gap: int, limit: int
) -> None:
    spans = coalesce(ranges, gap, limit)
    for span in spans:
        assert span.length <= limit or span.length == max(cut.length for cut in span.cuts)
        covered = 0
        for cut in span.cuts:
            assert cut.start - covered <= gap
            covered = max(covered, cut.start + cut.length)
        assert covered == span.length
    for before, after in itertools.pairwise(spans):
        assert before.offset <= after.offset
        first = after.cuts[0]
        stop = after.offset + first.length
        too_far = after.offset - (before.offset + before.length) > gap
        too_long = stop - before.offset > limit
        assert too_far or too_long or first.length == 0


@given(ranges_of_data.filter(bool), st.integers(0, 40), st.integers(1, 120), st.randoms())
def test_the_spans_do_not_depend_on_the_order_of_the_ranges(
    ranges: list[tuple[int, int]], gap: int, limit: int, random: object
) -> None:
    shuffled = list(ranges)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    spans, again = coalesce(ranges, gap, limit), coalesce(shuffled, gap, limit)
    assert [(span.offset, span.length) for span in spans] == [
        (span.offset, span.length) for span in again
    ]


def test_the_gap_is_read_through_and_its_size_is_the_limit() -> None:
    assert coalesce([(10, 5), (20, 5)], gap=5, limit=100) == [
        Span(10, 15, (Cut(0, 0, 5), Cut(1, 10, 5)))
    ]
    assert len(coalesce([(10, 5), (21, 5)], gap=5, limit=100)) == 2
    assert len(coalesce([(10, 5), (20, 5)], gap=5, limit=14)) == 2


def test_a_range_above_the_limit_is_one_span_that_serves_those_inside() -> None:
    assert coalesce([(50, 10), (0, 200), (199, 2)], gap=0, limit=20) == [
        Span(0, 200, (Cut(1, 0, 200), Cut(0, 50, 10))),
        Span(199, 2, (Cut(2, 0, 2),)),
    ]


def test_no_ranges_no_spans() -> None:
    assert coalesce([]) == []


@pytest.mark.parametrize("bad", [(-1, 2), (3, -1)])
def test_a_negative_range_is_refused(bad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        coalesce([(0, 1), bad])


class CountingReader:
    """A `Reader` over bytes that remembers what it was asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return io.BytesIO(self.data[offset:]).read(length)

    def close(self) -> None: ...

    def __enter__(self) -> CountingReader:
        return self

    def __exit__(self, *raised: object) -> None: ...


@given(ranges_of_data)
def test_read_ranges_answers_in_the_order_asked(ranges: list[tuple[int, int]]) -> None:
    wanted = [DATA[offset : offset + length] for offset, length in ranges]
    assert read_ranges(CountingReader(DATA), ranges) == wanted


def test_neighbours_are_one_read() -> None:
    reader = CountingReader(bytes(3 * LIMIT))
    ranges = [(offset, 4096) for offset in range(0, 3 * LIMIT, 65536)]
    assert len(read_ranges(reader, ranges)) == len(ranges)
    assert len(reader.reads) == 3


def test_a_pool_gives_the_same_and_passes_errors_on(tmp_path: object) -> None:
    folder = LocalFolder(str(tmp_path))
    data = bytes(range(256)) * 4096
    folder.create("data", data)
    ranges = [(offset, 100) for offset in range(len(data) - 100, 0, -300_000)]
    with ThreadPoolExecutor(3) as pool:
        assert read_many(folder, "data", ranges, pool) == [
            data[offset : offset + length] for offset, length in ranges
        ]
        with pytest.raises(StorageError, match="ends at 1048576"):
            read_many(folder, "data", [*ranges, (len(data) - 1, 2)], pool)
