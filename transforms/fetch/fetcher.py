"""Fetches URLs: every hop guarded, consent before download, a turn at every host, deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from schemas.fetch import Fetch
from schemas.reasons import Reason
from transforms.fetch.addresses import (
    Address,
    is_allowed,
    parse_networks,
    refuse_address,
)
from transforms.fetch.consent import CONSENT_HEADERS, MAX_ROBOTS_BYTES, OptOut, refuse_headers
from transforms.fetch.content import HEAD_BYTES, matches, refuse_content_type, refuse_head
from transforms.fetch.hosts import Hosts
from transforms.fetch.ordered import OrderedResults
from transforms.fetch.records import (
    Evidence,
    ExpectedHash,
    FetchRequest,
    FetchResult,
    Refusal,
    RefusedError,
)
from transforms.fetch.resolver import Lookup, Resolver, system_lookup
from transforms.fetch.retries import (
    BUSY_STATUSES,
    TRANSIENT_STATUSES,
    parse_retry_after,
    retry_pause_s,
    status_refusal,
)
from transforms.fetch.sites import Sites
from transforms.fetch.transport import Answer, Exchange, Headers, Transport
from transforms.fetch.urls import FetchUrl, parse_url

WINDOW = 16_384
"""Rows that may be read, under way, or done and waiting for an earlier one."""

ROWS_AT_ONCE = 4_096
"""Rows under way: more than connections, since most of them may wait for their turn at a host."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SUCCESSES = frozenset({200, 203})
_EVIDENCE_HEADERS = (*CONSENT_HEADERS, "content-type", "retry-after")
_HOST_FAILURES = frozenset({Reason.FETCH_FAILED_CONNECT, Reason.FETCH_FAILED_TIMEOUT})


class Fetcher:
    """Fetches; keeps connections, addresses and the rules of sites from one call to the next.

    It belongs to one thread, runs an event loop of its own while it is called, and is closed by
    whoever made it.
    """

    def __init__(
        self, settings: Fetch, opt_out: OptOut | None = None, lookup: Lookup = system_lookup
    ) -> None:
        """Makes no connection yet.

        Args:
            settings: how to fetch.
            opt_out: who opted out.
            lookup: resolves host names.
        """
        self._settings = settings
        self._opt_out = opt_out or OptOut()
        self._allowed = parse_networks(settings.allow_networks)
        self._resolver = Resolver(
            settings.dns_threads, settings.dns_ttl_s, settings.deadlines.dns_s, lookup
        )
        self._hosts = Hosts(settings.politeness)
        self._sites = Sites(settings, self._read_plain, self._hosts.slow_down)
        self._loop = asyncio.new_event_loop()
        self._transport = Transport(settings)
        self._connections = asyncio.Semaphore(settings.connections)

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes connections and ends threads."""
        self._loop.run_until_complete(self._end())
        self._resolver.close()
        self._loop.close()

    async def _end(self) -> None:
        # Readings of robots.txt outlive the rows that asked for them.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._transport.close()

    def fetch_batch(self, requests: Sequence[FetchRequest]) -> list[FetchResult]:
        """Returns the results of requests, in their order; every body is in memory."""
        return list(self.fetch(requests))

    def fetch(
        self, requests: Iterable[FetchRequest], window: int = WINDOW
    ) -> Iterator[FetchResult]:
        """Yields the result of each request, in their order.

        Memory is bounded: at most `window` rows are read ahead, and bodies that wait for an earlier
        row lie on disk beyond `ordered.MEMORY_BYTES`. Deadlines go on while the caller works.

        Args:
            requests: any number; read as they are needed.
            window: how far ahead of the oldest unfinished row to go.
        """
        results = OrderedResults(self._loop, self._fetch, ROWS_AT_ONCE, window)
        yield from results.run(requests)

    def vet(self, urls: Sequence[str]) -> list[Refusal | None]:
        """Returns what would keep each URL from being asked for; None where nothing would.

        For downloads that others do: what only an answer can tell, and redirects, stay unchecked.
        """
        return self._loop.run_until_complete(self._vet(urls))

    async def _vet(self, urls: Sequence[str]) -> list[Refusal | None]:
        return await asyncio.gather(*map(self._vet_one, urls))

    async def _vet_one(self, text: str) -> Refusal | None:
        try:
            url = parse_url(text)
            self._check_opt_out(url)
            await self._locate(url)
            await self._sites.check(url)
        except RefusedError as error:
            return error.refusal
        return None

    async def _fetch(self, request: FetchRequest) -> FetchResult:
        """Fetches one request, with its retries."""
        retries = self._settings.retries
        result = await self._try(request, 1)
        for attempt in range(1, retries.attempts):
            if result.refusal is None or not result.refusal.transient:
                break
            await asyncio.sleep(retry_pause_s(request.url, attempt, retries.pause_s))
            again = await self._try(request, attempt + 1)
            if again.refusal is not None and not again.evidence.final_url:
                # Nothing was asked: the host is left alone by now. What it said before tells more.
                break
            result = again
        return result

    async def _try(self, request: FetchRequest, attempt: int) -> FetchResult:
        trace = _Trace()
        try:
            answer = await self._follow(parse_url(request.url), trace)
            agrees = self._check_hash(answer.body, request.expected)
        except RefusedError as error:
            return FetchResult(None, error.refusal, None, trace.evidence(request.url, attempt))
        return FetchResult(answer.body, None, agrees, trace.evidence(request.url, attempt))

    def _check_opt_out(self, url: FetchUrl) -> None:
        refused = self._opt_out.refuse(url)
        if refused:
            raise RefusedError(Reason.FETCH_FAILED_OPT_OUT, refused)

    def _check_hash(self, body: bytes, expected: ExpectedHash | None) -> bool | None:
        """Returns whether the bytes are the expected ones; RefusedError where they have to be."""
        if expected is None:
            return None
        agrees = matches(body, expected)
        if not agrees and self._settings.hash_mismatch == "refuse":
            error = f"the bytes do not have the expected {expected.algorithm}"
            raise RefusedError(Reason.FETCH_FAILED_BAD_CONTENT, error)
        return agrees

    async def _follow(self, url: FetchUrl, trace: _Trace) -> Answer:
        """Asks for a URL and follows its redirects to an image."""
        left = self._settings.deadlines.total_s
        for _ in range(self._settings.max_redirects + 1):
            self._check_opt_out(url)
            await self._sites.check(url)
            answer, seconds = await self._ask(url, left, trace)
            left -= seconds
            if answer.status not in _REDIRECTS:
                return answer
            url = _redirected(url, answer)
            if left <= 0:
                error = "the redirects are not complete in time"
                raise RefusedError(Reason.FETCH_FAILED_TIMEOUT, error, transient=True)
        raise _endless(self._settings.max_redirects)

    async def _ask(self, url: FetchUrl, total_s: float, trace: _Trace) -> tuple[Answer, float]:
        """Asks once, in its turn; returns the answer and the seconds that the deadline counts."""
        async with self._hosts.turn(url.host) as polite_s, self._connections:
            start = time.monotonic()
            addresses, dns_s = await self._locate(url)
            exchange = Exchange(
                url=url,
                addresses=addresses,
                total_s=max(0.001, total_s - dns_s),
                max_bytes=self._settings.max_bytes,
                judge=self._judge,
                judge_head=_judge_head,
                head_bytes=HEAD_BYTES,
            )
            trace.final_url, trace.fetched_at = url.text, time.time()
            answer = await self._transport.send(exchange)
            trace.answer, trace.dns_s, trace.polite_s = answer, dns_s, polite_s
            self._learn(url.host, answer, start)
            seconds = time.monotonic() - start
        if answer.status and answer.status not in _SUCCESSES | _REDIRECTS:
            raise status_refusal(answer.status)
        if answer.refusal is not None:
            raise answer.refusal
        return answer, seconds

    async def _read_plain(self, url: FetchUrl) -> Answer:
        """Reads robots.txt and the like: guarded and polite as everything, but unjudged."""
        left = self._settings.deadlines.total_s
        for _ in range(self._settings.max_redirects + 1):
            async with self._hosts.turn(url.host), self._connections:
                start = time.monotonic()
                addresses, dns_s = await self._locate(url)
                exchange = Exchange(
                    url, addresses, max(0.001, left - dns_s), 4 * MAX_ROBOTS_BYTES, _judge_nothing
                )
                answer = await self._transport.send(exchange)
                self._learn(url.host, answer, start)
                left -= time.monotonic() - start
            if answer.refusal is not None and not answer.status:
                raise answer.refusal
            if answer.status not in _REDIRECTS:
                return answer
            url = _redirected(url, answer)
        raise _endless(self._settings.max_redirects)

    async def _locate(self, url: FetchUrl) -> tuple[tuple[Address, ...], float]:
        """Returns the addresses to connect to, and the seconds it took; RefusedError for none.

        One refused address refuses the host: it is not for us to pick what its owner meant.
        """
        addresses: tuple[Address, ...] = ()
        seconds = 0.0
        if url.address is not None:
            addresses = (url.address,)
        else:
            resolved = await self._resolver.resolve(url.host)
            addresses, seconds = resolved.addresses, resolved.seconds
        for address in addresses:
            error = refuse_address(address, self._allowed)
            if error:
                raise RefusedError(Reason.FETCH_FAILED_BLOCKED_ADDRESS, error)
        odd = url.port not in self._settings.allow_ports
        if odd and not all(is_allowed(address, self._allowed) for address in addresses):
            raise RefusedError(
                Reason.FETCH_FAILED_BLOCKED_ADDRESS, f"port {url.port} is not in allow_ports"
            )
        return addresses, seconds

    def _judge(self, status: int, headers: Headers) -> None:
        """Looks at the headers before the body is read."""
        settings = self._settings
        refused = refuse_headers(headers, settings.consent, settings.product)
        if refused:
            raise RefusedError(Reason.FETCH_FAILED_OPT_OUT, refused)
        if status not in _SUCCESSES:
            return
        told = dict(headers)
        refused = refuse_content_type(told.get("content-type", ""))
        if refused and settings.check_content_type:
            raise RefusedError(Reason.FETCH_FAILED_BAD_CONTENT, refused)
        packed = told.get("content-encoding", "identity").lower()
        if packed not in ("", "identity"):
            error = f"Content-Encoding is {packed[:40]!r}, though none was asked for"
            raise RefusedError(Reason.FETCH_FAILED_BAD_CONTENT, error)
        length = told.get("content-length", "")
        if length.isdigit() and int(length[:18]) > settings.max_bytes:
            error = f"the body has more than {settings.max_bytes} bytes"
            raise RefusedError(Reason.FETCH_FAILED_TOO_LARGE, error)

    def _learn(self, host: str, answer: Answer, start: float) -> None:
        """Tells the host's turn-taking what an answer means for the next requests."""
        refusal = answer.refusal.refusal if answer.refusal is not None else None
        unanswered = refusal is not None and refusal.reason in _HOST_FAILURES
        overloaded = answer.status in TRANSIENT_STATUSES
        self._hosts.record(host, failed=unanswered or overloaded, start=start)
        if answer.status not in BUSY_STATUSES:
            return
        asked = parse_retry_after(answer.header("retry-after"), time.time())
        pause = self._settings.retries.pause_s if asked is None else asked
        if pause > self._settings.politeness.max_retry_after_s:
            self._hosts.leave(host, pause)
        else:
            self._hosts.pause(host, pause)


@dataclass(slots=True)
class _Trace:
    """What one try has observed so far."""

    final_url: str = ""
    fetched_at: float = 0.0
    answer: Answer | None = None
    dns_s: float = 0.0
    polite_s: float = 0.0

    def evidence(self, url: str, attempt: int) -> Evidence:
        """Returns it as evidence for try number `attempt` of a URL."""
        answer = self.answer
        if answer is None:
            return Evidence(url, self.final_url, self.fetched_at, attempts=attempt)
        kept = tuple(
            (name, value[:1000]) for name, value in answer.headers if name in _EVIDENCE_HEADERS
        )
        return Evidence(
            url=url,
            final_url=self.final_url,
            fetched_at=self.fetched_at,
            status=answer.status,
            headers=kept,
            http_version=answer.http_version,
            attempts=attempt,
            received=len(answer.body),
            timings=replace(answer.timings, dns=self.dns_s, polite=self.polite_s),
        )


def _judge_nothing(_status: int, _headers: Headers) -> None:
    """Lets every answer in."""


def _judge_head(head: bytes) -> None:
    refused = refuse_head(head)
    if refused:
        raise RefusedError(Reason.FETCH_FAILED_BAD_CONTENT, refused)


def _redirected(url: FetchUrl, answer: Answer) -> FetchUrl:
    location = answer.header("location")
    if not location:
        error = f"HTTP status {answer.status} without a Location"
        raise RefusedError(Reason.FETCH_FAILED_HTTP, error)
    return url.join(location)


def _endless(limit: int) -> RefusedError:
    return RefusedError(Reason.FETCH_FAILED_HTTP, f"more than {limit} redirects")
