"""Politeness: how often, how many at once, and when not at all, host by host."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from schemas.fetch import Politeness
from schemas.reasons import Reason
from transforms.fetch.records import RefusedError

MAX_HOSTS = 50_000
"""Hosts that are remembered; those idle for longest are forgotten first."""

MAX_CRAWL_DELAY_S = 60.0


class TokenBucket:
    """A token bucket as the generic cell rate algorithm: one number instead of a refill.

    Times are seconds of any clock that does not go back.
    """

    def __init__(self, rate: float, burst: int) -> None:
        """Fills the bucket with `burst` tokens; `rate` come back per second."""
        self._interval = 1 / rate
        self._tolerance = self._interval * (burst - 1)
        self._arrival = 0.0

    def reserve(self, now: float) -> float:
        """Takes a token, maybe one that is still to come; returns the seconds until it is there."""
        arrival = max(self._arrival, now)
        self._arrival = arrival + self._interval
        return max(0.0, arrival - self._tolerance - now)

    def slow_down(self, interval: float) -> None:
        """Makes tokens come at most every `interval` seconds from now on, without a burst."""
        if interval > self._interval:
            self._interval, self._tolerance = interval, 0.0


@dataclass(slots=True)
class _Host:
    """What is known of one host.

    Attributes:
        paused_until: no request starts before; they wait.
        broken_until: no request starts before; they are refused.
        complaint: why they are.
        failures: failures in a row.
        answered_at: when the last answer came.
        users: requests that hold or wait for a slot.
    """

    bucket: TokenBucket
    slots: asyncio.Semaphore
    paused_until: float = 0.0
    broken_until: float = 0.0
    complaint: str = ""
    failures: int = 0
    answered_at: float = 0.0
    users: int = 0


class Hosts:
    """Every host that requests go to."""

    def __init__(self, settings: Politeness, clock: Callable[[], float] = time.monotonic) -> None:
        """Remembers no host; `clock` gives seconds."""
        self._settings = settings
        self._clock = clock
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[float]:
        """Waits for a turn at a host and holds one of its connections; gives the seconds waited.

        Raises:
            RefusedError: the host has failed so often in a row that it is left alone.
        """
        host = self._host(name)
        start = self._clock()
        host.users += 1
        try:
            async with host.slots:
                self._check(host)
                await _sleep(host.bucket.reserve(self._clock()))
                while (left := host.paused_until - self._clock()) > 0:
                    await _sleep(left)
                self._check(host)
                yield self._clock() - start
        finally:
            host.users -= 1

    def pause(self, name: str, seconds: float) -> None:
        """Lets no request to a host start for so long."""
        host = self._host(name)
        host.paused_until = max(host.paused_until, self._clock() + seconds)

    def leave(self, name: str, seconds: float) -> None:
        """Refuses every request to a host for so long: it asked for more than we wait."""
        host = self._host(name)
        host.broken_until = max(host.broken_until, self._clock() + seconds)
        host.complaint = "the host asked for a long pause"

    def slow_down(self, name: str, crawl_delay_s: float) -> None:
        """Honours the `Crawl-delay` of a host, up to `MAX_CRAWL_DELAY_S`."""
        self._host(name).bucket.slow_down(min(crawl_delay_s, MAX_CRAWL_DELAY_S))

    def record(self, name: str, failed: bool, start: float) -> None:
        """Counts an answer or a failure; too many failures in a row open the circuit breaker.

        A request that began before the last answer says nothing about the host after it: those that
        stall run into their deadlines together, long after others were answered. Once the breaker's
        time is over, one more failure opens it again, and an answer closes it.

        Args:
            name: the host.
            failed: whether it gave no answer, or one of distress.
            start: when the request began, by the clock.
        """
        host = self._host(name)
        if not failed:
            host.failures, host.answered_at = 0, self._clock()
        elif start >= host.answered_at:
            host.failures += 1
        limit = self._settings.breaker_failures
        if limit and host.failures >= limit:
            host.broken_until = max(host.broken_until, self._clock() + self._settings.breaker_s)
            host.complaint = f"the host failed {limit} times in a row"

    def _check(self, host: _Host) -> None:
        if self._clock() < host.broken_until:
            error = f"{host.complaint} and is left alone for now"
            raise RefusedError(Reason.FETCH_FAILED_CONNECT, error, transient=True)

    def _host(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            settings = self._settings
            host = _Host(
                TokenBucket(settings.requests_per_s, settings.burst),
                asyncio.Semaphore(settings.connections),
            )
            self._hosts[name] = host
            self._forget()
        self._hosts.move_to_end(name)
        return host

    def _forget(self) -> None:
        """Forgets the host that was idle for longest, where there are too many."""
        if len(self._hosts) <= MAX_HOSTS:
            return
        now = self._clock()
        for name, host in self._hosts.items():
            if not host.users and max(host.paused_until, host.broken_until) <= now:
                del self._hosts[name]
                return


async def _sleep(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)
