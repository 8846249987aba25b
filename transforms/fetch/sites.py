"""What a host as a whole allows: its robots.txt and tdmrep.json, read once and remembered."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from protego import Protego

from schemas.fetch import Fetch
from schemas.reasons import Reason
from transforms.fetch.consent import parse_robots, parse_tdmrep
from transforms.fetch.records import Refusal, RefusedError
from transforms.fetch.retries import retry_pause_s
from transforms.fetch.transport import Answer
from transforms.fetch.urls import FetchUrl, parse_url

MAX_SITES = 20_000
SITE_TTL_S = 24 * 3600.0
"""RFC 9309, section 2.4: not to be used for longer than a day."""

FAILURE_TTL_S = 60.0
_BUSY = 429

ReadPlain = Callable[[FetchUrl], Awaitable[Answer]]
"""Fetches a small file of a host, redirects followed; raises `RefusedError` where none answers."""


@dataclass(frozen=True, slots=True)
class _Site:
    """The rules of a site, or why there is no asking; None where it has no such rules."""

    robots: Protego | None = None
    tdm: Protego | None = None
    refusal: Refusal | None = None


class Sites:
    """The rules of the sites that requests go to."""

    def __init__(
        self,
        settings: Fetch,
        read: ReadPlain,
        slow_down: Callable[[str, float], None],
    ) -> None:
        """Reads with `read`; `slow_down` is told the `Crawl-delay` of hosts that state one."""
        self._consent = settings.consent
        self._product = settings.product
        self._retries = settings.retries
        self._read = read
        self._slow_down = slow_down
        self._known: OrderedDict[str, tuple[_Site, float]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[_Site]] = {}

    async def check(self, url: FetchUrl) -> None:
        """Returns where the site lets us ask for the URL.

        Raises:
            RefusedError: `fetch_failed_robots`, `fetch_failed_opt_out` (TDM), or what kept us from
                reading robots.txt, which would keep us from the URL just the same.
        """
        if not (self._consent.robots or self._consent.tdm):
            return
        site = await self._site(url)
        if site.refusal is not None:
            told = site.refusal
            raise RefusedError(told.reason, told.error, told.transient)
        if site.robots is not None and not site.robots.can_fetch(url.text, self._product):
            raise RefusedError(Reason.FETCH_FAILED_ROBOTS, "robots.txt disallows the URL")
        if site.tdm is not None and not site.tdm.can_fetch(url.text, self._product):
            raise RefusedError(Reason.FETCH_FAILED_OPT_OUT, "tdmrep.json reserves the URL")

    async def _site(self, url: FetchUrl) -> _Site:
        origin = url.origin
        known = self._known.get(origin)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        asked = self._asked.get(origin)
        if asked is None:
            asked = asyncio.create_task(self._read_site(url))
            self._asked[origin] = asked
            asked.add_done_callback(partial(self._remember, origin))
        # One row that gives up must not take the answer from the others.
        return await asyncio.shield(asked)

    def _remember(self, origin: str, asked: asyncio.Task[_Site]) -> None:
        del self._asked[origin]
        if asked.cancelled() or asked.exception() is not None:
            return
        site = asked.result()
        ttl = FAILURE_TTL_S if site.refusal is not None and site.refusal.transient else SITE_TTL_S
        self._known[origin] = (site, time.monotonic() + ttl)
        self._known.move_to_end(origin)
        if len(self._known) > MAX_SITES:
            self._known.popitem(last=False)

    async def _read_site(self, url: FetchUrl) -> _Site:
        """Reads the rules of a site, with the retries that its rows would have."""
        site = await self._try_site(url)
        for attempt in range(1, self._retries.attempts):
            if site.refusal is None or not site.refusal.transient:
                break
            await asyncio.sleep(retry_pause_s(url.origin, attempt, self._retries.pause_s))
            site = await self._try_site(url)
        return site

    async def _try_site(self, url: FetchUrl) -> _Site:
        try:
            robots = await self._read_robots(url) if self._consent.robots else None
            tdm = await self._read_tdmrep(url) if self._consent.tdm else None
        except RefusedError as error:
            return _Site(refusal=error.refusal)
        delay = robots.crawl_delay(self._product) if robots is not None else None
        if delay:
            self._slow_down(url.host, delay)
        return _Site(robots, tdm)

    async def _read_robots(self, url: FetchUrl) -> Protego | None:
        """Returns the rules; None where there are none (RFC 9309, section 2.3.1).

        A robots.txt that a server refuses to hand out for being busy or broken forbids everything.
        """
        answer = await self._read(parse_url(f"{url.origin}/robots.txt"))
        if answer.status >= 500 or answer.status == _BUSY:
            raise RefusedError(
                Reason.FETCH_FAILED_ROBOTS,
                f"robots.txt answers with HTTP status {answer.status}, which forbids all",
                transient=True,
            )
        return parse_robots(answer.body) if 200 <= answer.status < 300 else None

    async def _read_tdmrep(self, url: FetchUrl) -> Protego | None:
        answer = await self._read(parse_url(f"{url.origin}/.well-known/tdmrep.json"))
        return parse_tdmrep(answer.body) if 200 <= answer.status < 300 else None
