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
    """Runs fetches, many at once, and gives their results back in order; for one call of `run`.

    One slow row holds back what is yielded, but not what is fetched: later rows go on until
    `window` of them are ahead of it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fetch: Callable[[FetchRequest], Awaitable[FetchResult]],
        at_once: int,
        window: int,
    ) -> None:
        """Fetches on `loop`, which is not running.

        Args:
            loop: runs whenever a result is asked for.
            fetch: fetches one row.
            at_once: rows under way at once.
            window: rows that may be read, under way, or done and waiting for an earlier one.
        """
        self._loop = loop
        self._fetch = fetch
        self._at_once = at_once
        self._window = window
        self._requests: deque[FetchRequest] = deque()
        self._rows: deque[asyncio.Task[_Waiting]] = deque()
        self._under_way = 0
        self._in_memory = 0
        self._on_disk = 0

    def run(self, requests: Iterable[FetchRequest]) -> Iterator[FetchResult]:
        """Yields the result of each request, in order."""
        source = iter(requests)
        with tempfile.TemporaryFile() as spill:
            self._spill = spill
            try:
                self._read(source)
                while self._rows or self._requests:
                    self._loop.run_until_complete(self._oldest())
                    yield from self._take_done()
                    self._read(source)
            finally:
                self._loop.run_until_complete(self._abandon())

    async def _oldest(self) -> None:
        while not self._rows:
            # What has just ended has not yet made room for the next row.
            await asyncio.sleep(0)
        await asyncio.wait([self._rows[0]])

    def _read(self, source: Iterator[FetchRequest]) -> None:
        room = self._window - len(self._rows) - len(self._requests)
        self._requests.extend(itertools.islice(source, room))
        self._start()

    def _start(self) -> None:
        """Starts rows while there is room for them; the oldest one always finds room."""
        while self._requests and self._under_way < self._at_once:
            if self._rows and self._in_memory + self._on_disk >= HELD_BYTES:
                return
            row = self._loop.create_task(self._run(self._requests.popleft()))
            row.add_done_callback(self._end)
            self._rows.append(row)
            self._under_way += 1

    def _end(self, _row: asyncio.Task[_Waiting]) -> None:
        self._under_way -= 1
        self._start()

    async def _run(self, request: FetchRequest) -> _Waiting:
        return self._keep(await self._fetch(request))

    def _keep(self, result: FetchResult) -> _Waiting:
        """Puts a body where it can wait."""
        body = result.body or b""
        if self._in_memory + len(body) <= MEMORY_BYTES:
            self._in_memory += len(body)
            return _Waiting(result, len(body), -1)
        offset = self._spill.seek(0, 2)
        self._spill.write(body)
        self._on_disk += len(body)
        return _Waiting(replace(result, body=None), len(body), offset)

    def _take_done(self) -> Iterator[FetchResult]:
        while self._rows and self._rows[0].done():
            waiting = self._rows.popleft().result()
            result = waiting.result
            if waiting.offset < 0:
                self._in_memory -= waiting.size
            else:
                self._spill.seek(waiting.offset)
                result = replace(result, body=self._spill.read(waiting.size))
                self._on_disk -= waiting.size
                if not self._on_disk:
                    self._spill.truncate(0)
            yield result

    async def _abandon(self) -> None:
        """Ends what is under way, where the caller stopped or a bug came up."""
        self._requests.clear()
        for row in self._rows:
            row.cancel()
        await asyncio.gather(*self._rows, return_exceptions=True)
