from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from transforms.fetch import ordered
from transforms.fetch.ordered import OrderedResults
from transforms.fetch.records import Evidence, FetchRequest, FetchResult


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_bodies_wait_on_disk_and_come_back_in_order(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered, "MEMORY_BYTES", 250)
    running = most = 0

    async def fetch(request: FetchRequest) -> FetchResult:
        nonlocal running, most
        running += 1
        most = max(most, running)
        number = int(request.url)
        await asyncio.sleep(0.05 if number % 10 == 0 else 0)
        running -= 1
        body = bytes([number]) * 100 if number % 7 else None
        return FetchResult(body, None, None, Evidence(url=request.url))

    results = OrderedResults(loop, fetch, at_once=8, window=16).run(
        FetchRequest(str(n)) for n in range(100)
    )
    for number, result in enumerate(results):
        assert result.evidence.url == str(number)
        assert result.body == (bytes([number]) * 100 if number % 7 else None)
    assert most <= 8


def test_nothing_starts_while_too_much_waits(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered, "HELD_BYTES", 50)
    started: list[str] = []

    async def fetch(request: FetchRequest) -> FetchResult:
        started.append(request.url)
        return FetchResult(bytes(100), None, None, Evidence(url=request.url))

    results = OrderedResults(loop, fetch, 4, 8).run(FetchRequest(str(n)) for n in range(10))
    for number, _ in enumerate(results, 1):
        assert len(started) <= number + 4
    assert len(started) == 10


def test_a_bug_is_not_swallowed(loop: asyncio.AbstractEventLoop) -> None:
    async def fetch(request: FetchRequest) -> FetchResult:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(OrderedResults(loop, fetch, 4, 8).run([FetchRequest("x")] * 20))


def test_requests_that_cannot_be_read_end_the_run(loop: asyncio.AbstractEventLoop) -> None:
    async def fetch(request: FetchRequest) -> FetchResult:
        return FetchResult(b"x", None, None, Evidence(url=request.url))

    def requests() -> Iterator[FetchRequest]:
        yield from (FetchRequest(str(number)) for number in range(10))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(OrderedResults(loop, fetch, 2, 4).run(requests()))


def test_a_late_row_does_not_hold_up_the_others(loop: asyncio.AbstractEventLoop) -> None:
    done: list[str] = []

    async def fetch(request: FetchRequest) -> FetchResult:
        await asyncio.sleep(0.2 if request.url == "0" else 0)
        done.append(request.url)
        return FetchResult(b"x", None, None, Evidence(url=request.url))

    results = OrderedResults(loop, fetch, 2, 50).run(FetchRequest(str(n)) for n in range(100))
    assert next(results).evidence.url == "0"
    assert done.index("0") == 49
    assert [result.evidence.url for result in results] == [str(n) for n in range(1, 100)]
