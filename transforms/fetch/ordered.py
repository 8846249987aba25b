"""Results in the order of their requests, in bounded memory, however late the first one is."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from transforms.fetch.records import FetchRequest, FetchResult

MEMORY_BYTES = 64 << 20
"""Bodies that wait for an earlier row lie on disk once they are more than this together."""

HELD_BYTES = 8 << 30
"""No further row starts while so many bytes wait, in memory and on disk."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A result that waits for an earlier row.

    Attributes:
        result: without its body where that lies on disk.
        size: bytes of the body.
        offset: where the body lies on disk; -1 where it is in memory.
    """

    result: FetchResult
    size: int
    offset: int


class OrderedResults:
    """Runs a window of fetches and gives their results back in order; for one call of `run`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fetch: Callable[[FetchRequest], Awaitable[FetchResult]],
        window: int,
    ) -> None:
        """Runs on `loop`, which is not running, at most `window` rows ahead of the oldest."""
        self._loop = loop
        self._fetch = fetch
        self._window = window
        self._tasks: deque[asyncio.Task[_Waiting]] = deque()
        self._in_memory = 0
        self._on_disk = 0

    def run(self, requests: Iterable[FetchRequest]) -> Iterator[FetchResult]:
        """Yields the result of each request, in order."""
        source = iter(requests)
        with tempfile.TemporaryFile() as spill:
            self._spill = spill
            try:
                self._start(source)
                while self._tasks:
                    self._loop.run_until_complete(self._oldest())
                    yield from self._take_done()
                    self._start(source)
            finally:
                self._loop.run_until_complete(self._abandon())

    def _start(self, source: Iterator[FetchRequest]) -> None:
        room = self._window - len(self._tasks)
        if self._tasks and self._in_memory + self._on_disk >= HELD_BYTES:
            return
        for request in itertools.islice(source, room):
            self._tasks.append(self._loop.create_task(self._keep(request)))

    async def _oldest(self) -> None:
        await asyncio.wait([self._tasks[0]])

    async def _keep(self, request: FetchRequest) -> _Waiting:
        """Fetches, and puts the body where it can wait."""
        result = await self._fetch(request)
        body = result.body or b""
        if self._in_memory + len(body) <= MEMORY_BYTES:
            self._in_memory += len(body)
            return _Waiting(result, len(body), -1)
        offset = self._spill.seek(0, 2)
        self._spill.write(body)
        self._on_disk += len(body)
        return _Waiting(replace(result, body=None), len(body), offset)

    def _take_done(self) -> Iterator[FetchResult]:
        while self._tasks and self._tasks[0].done():
            waiting = self._tasks.popleft().result()
            if waiting.offset < 0:
                self._in_memory -= waiting.size
                yield waiting.result
                continue
            self._spill.seek(waiting.offset)
            body = self._spill.read(waiting.size)
            self._on_disk -= waiting.size
            if not self._on_disk:
                self._spill.truncate(0)
            yield replace(waiting.result, body=body)

    async def _abandon(self) -> None:
        """Ends what is under way, where the caller stopped or a bug came up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
