"""Maps over many items on threads, a bounded number of them ahead of the consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

MOST_AHEAD = 32
"""Results that wait for the consumer; `Executor.map` would hold those of all items."""


def map_ahead(
    pool: Executor, function: Callable[[A], B], items: Iterable[A], most: int = MOST_AHEAD
) -> Iterator[B]:
    """Yields `function(item)` for every item, in order; at most `most` are begun and not taken."""
    begun: deque[Future[B]] = deque()
    for item in items:
        if len(begun) == most:
            yield begun.popleft().result()
        begun.append(pool.submit(function, item))
    while begun:
        yield begun.popleft().result()
