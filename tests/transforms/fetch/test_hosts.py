from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.fetch import Politeness
from transforms.fetch import hosts as module
from transforms.fetch.hosts import Hosts, TokenBucket
from transforms.fetch.records import RefusedError


@given(
    st.floats(0.1, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 5), min_size=1, max_size=100),
)
def test_a_bucket_never_gives_more_than_burst_and_rate(
    rate: float, burst: int, gaps: list[float]
) -> None:
    bucket = TokenBucket(rate, burst)
    now, given_at = 1000.0, []
    for gap in gaps:
        now += gap
        given_at.append(now + bucket.reserve(now))
    given_at.sort()
    for start in range(len(given_at)):
        for end in range(start, len(given_at)):
            window = given_at[end] - given_at[start]
            assert end - start + 1 <= burst + rate * window + 1e-6


def test_a_bucket_fills_up_again() -> None:
    bucket = TokenBucket(10, 3)
    assert [bucket.reserve(50.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])
    assert [bucket.reserve(60.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


def test_crawl_delay_only_slows() -> None:
    bucket = TokenBucket(1, 5)
    bucket.slow_down(0.1)
    assert bucket.reserve(10.0) == 0
    bucket.slow_down(3)
    assert [bucket.reserve(100.0) for _ in range(2)] == pytest.approx([0, 3])


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def turn(hosts: Hosts, name: str) -> float:
    async def take() -> float:
        async with hosts.turn(name) as waited:
            return waited

    return asyncio.run(take())


def test_the_breaker_opens_and_closes() -> None:
    clock = Clock()
    hosts = Hosts(Politeness(breaker_failures=2, breaker_s=60), clock)
    hosts.record("h", failed=True, start=clock.now)
    hosts.record("h", failed=False, start=clock.now)
    hosts.record("h", failed=True, start=clock.now)
    turn(hosts, "h")
    hosts.record("h", failed=True, start=clock.now)
    with pytest.raises(RefusedError, match="failed 2 times in a row") as caught:
        turn(hosts, "h")
    assert caught.value.refusal.transient
    turn(hosts, "other")
    clock.now += 61
    turn(hosts, "h")
    hosts.record("h", failed=True, start=clock.now)
    with pytest.raises(RefusedError):
        turn(hosts, "h")


def test_stalled_requests_do_not_count_once_others_were_answered() -> None:
    clock = Clock()
    hosts = Hosts(Politeness(breaker_failures=2), clock)
    clock.now += 1
    hosts.record("h", failed=False, start=100.5)
    for start in (100.0, 100.5, 100.9):
        hosts.record("h", failed=True, start=start)
    turn(hosts, "h")
    for start in (101.0, 101.5):
        hosts.record("h", failed=True, start=start)
    with pytest.raises(RefusedError):
        turn(hosts, "h")


def test_a_host_that_was_left_is_refused_until_then() -> None:
    clock = Clock()
    hosts = Hosts(Politeness(), clock)
    hosts.leave("h", 3600)
    with pytest.raises(RefusedError, match="asked for a long pause"):
        turn(hosts, "h")
    clock.now += 3601
    turn(hosts, "h")


def test_connections_of_a_host_are_capped() -> None:
    hosts = Hosts(Politeness(requests_per_s=1e6, burst=1000, connections=3))
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with hosts.turn("h"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    async def run() -> None:
        await asyncio.gather(*(work() for _ in range(20)))

    asyncio.run(run())
    assert most == 3


def test_hosts_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HOSTS", 10)
    clock = Clock()
    hosts = Hosts(Politeness(), clock)
    hosts.leave("held", 3600)
    for number in range(100):
        turn(hosts, f"h{number}")
    assert len(hosts._hosts) == 10
    with pytest.raises(RefusedError):
        turn(hosts, "held")
