"""Finds the addresses of host names: threads for the system's resolver, and a memory."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from schemas.reasons import Reason
from transforms.fetch.addresses import Address
from transforms.fetch.records import RefusedError

MAX_REMEMBERED = 100_000
FAILURE_TTL_S = 30.0

Lookup = Callable[[str], Sequence[str]]
"""Returns the addresses of a host name as text; raises `socket.gaierror`."""

_GONE = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def system_lookup(host: str) -> Sequence[str]:
    """Returns the addresses that the system's resolver knows, in its order (RFC 6724)."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


@dataclass(frozen=True, slots=True)
class Resolved:
    """The addresses of a host.

    Attributes:
        addresses: at least one.
        seconds: that the look-up took; 0 where it was remembered.
    """

    addresses: tuple[Address, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer, or the error in its place, and until when it holds."""

    addresses: tuple[Address, ...]
    error: tuple[str, bool] | None
    until: float


class Resolver:
    """Resolves host names; every name is looked up once at a time, however many ask."""

    def __init__(
        self, threads: int, ttl_s: float, deadline_s: float, lookup: Lookup = system_lookup
    ) -> None:
        """Looks up in `threads` threads, remembers for `ttl_s` seconds, waits `deadline_s`."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="dns")
        self._ttl_s = ttl_s
        self._deadline_s = deadline_s
        self._lookup = lookup
        self._known: OrderedDict[str, _Answer] = OrderedDict()
        self._asked: dict[str, asyncio.Future[_Answer]] = {}

    async def resolve(self, host: str) -> Resolved:
        """Returns the addresses of a host name.

        Raises:
            RefusedError: `fetch_failed_dns`; transient unless the name is known not to exist.
        """
        known = self._known.get(host)
        start = time.monotonic()
        if known is None or start >= known.until:
            known = await self._ask(host)
            seconds = time.monotonic() - start
        else:
            seconds = 0.0
        if known.error is not None:
            raise RefusedError(Reason.FETCH_FAILED_DNS, *known.error)
        return Resolved(known.addresses, seconds)

    def close(self) -> None:
        """Ends the threads; look-ups under way are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, host: str) -> _Answer:
        asked = self._asked.get(host)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._threads, self._look_up, host)
            self._asked[host] = asked
            asked.add_done_callback(partial(self._remember, host))
        try:
            return await asyncio.wait_for(asyncio.shield(asked), self._deadline_s)
        except TimeoutError:
            error = "the resolver does not answer in time"
            raise RefusedError(Reason.FETCH_FAILED_DNS, error, transient=True) from None

    def _look_up(self, host: str) -> _Answer:
        """Runs in a thread."""
        addresses: tuple[Address, ...] = ()
        told: tuple[str, bool] | None = None
        try:
            addresses = tuple(ip_address(text) for text in self._lookup(host))
        except socket.gaierror as error:
            gone = error.errno in _GONE
            problem = "does not exist" if gone else "does not resolve"
            told = (f"host {host!r} {problem}", not gone)
        except UnicodeError:
            told = (f"host {host!r} is no host name", False)
        if told is None and not addresses:
            told = (f"host {host!r} has no address", True)
        ttl = FAILURE_TTL_S if told else self._ttl_s
        return _Answer(addresses, told, time.monotonic() + ttl)

    def _remember(self, host: str, asked: asyncio.Future[_Answer]) -> None:
        del self._asked[host]
        if asked.cancelled() or asked.exception() is not None:
            return
        self._known[host] = asked.result()
        self._known.move_to_end(host)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
