"""Reads ahead: a few items at a time on threads, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

WIDTH = 8
"""Items in flight. A small file costs a round trip or a seek, and threads wait for several."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], width: int = WIDTH
) -> Iterator[Result]:
    """Yields `function(item)` in the order of the items, at most `width` ahead of the caller.

    Args:
        function: reads something; must be safe to call from several threads.
        items: drawn as results are taken, on the calling thread.
        width: items in flight, and so results held: at most that many media files.
    """
    with ThreadPoolExecutor(width) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= width:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
