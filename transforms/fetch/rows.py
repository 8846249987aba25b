"""Fetches what rows want, and gives each row what became of it, in the order of the rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from schemas.samples import RawSample
from transforms.fetch.records import FetchRequest, FetchResult
from transforms.fetch.url_rows import UrlRow, with_result

WAITING_BYTES = 128 << 20
WAITING_ROWS = 65_536
"""What may wait for earlier rows: media that rows bring along, and rows with nothing to fetch."""


class Fetches(Protocol):
    """Something that fetches: see `transforms.fetch.fetcher.Fetcher`."""

    def fetch(self, requests: Iterable[FetchRequest]) -> Iterator[FetchResult]:
        """Yields the result of each request, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class FetchedRow:
    """A row after its fetch.

    Attributes:
        sample: with its media, or with the reason why there are none.
        result: what the fetch gave; None where nothing had to be fetched.
    """

    sample: RawSample
    result: FetchResult | None


def fetch_rows(rows: Iterable[UrlRow], fetcher: Fetches) -> Iterator[FetchedRow]:
    """Yields every row with what became of it.

    Args:
        rows: read ahead of what is yielded by no more than the fetcher has under way.
        fetcher: fetches the requests of the rows.
    """
    remaining = iter(rows)
    while True:
        waiting: deque[UrlRow] = deque()
        for result in fetcher.fetch(_requests(remaining, waiting)):
            while waiting[0].request is None:
                yield FetchedRow(waiting.popleft().sample, None)
            yield FetchedRow(with_result(waiting.popleft().sample, result), result)
        if not waiting:
            return
        for row in waiting:
            yield FetchedRow(row.sample, None)


def _requests(rows: Iterator[UrlRow], waiting: deque[UrlRow]) -> Iterator[FetchRequest]:
    """Yields the requests of rows, and puts every row among those that wait.

    It ends early where rows that bring their media along have piled up, so that memory is bounded
    whatever the mix of rows.
    """
    held = 0
    for row in rows:
        waiting.append(row)
        if row.request is not None:
            yield row.request
        held += sum(len(media.data) for media in row.sample.media)
        if held > WAITING_BYTES or len(waiting) > WAITING_ROWS:
            return
