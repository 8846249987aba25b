"""What fetching spends its time on, how much of it succeeds, and what to do about it.

Totals of disjoint rows add up, so workers can count their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.reasons import Reason
from transforms.fetch.records import FetchResult
from transforms.fetch.urls import FetchUrl, parse_url

HOST_CLASSES = 16
"""Host classes that are shown; the others count as one."""

PHASES = ("dns", "connect", "wait", "transfer")

_MIN_ROWS = 50
"""Fewer rows say nothing."""


@dataclass(frozen=True)
class FetchTotals:
    """Sums over results.

    Attributes:
        rows: requests.
        fetched: those with a body.
        transient: refusals that may pass.
        received: bytes of bodies.
        seconds: by phase, of last tries, and `polite`: waiting for a turn.
        reasons: refusals by reason.
        statuses: answers by HTTP status.
        hosts: requests and successes by class of host: the top-level domain, or `address`.
    """

    rows: int = 0
    fetched: int = 0
    transient: int = 0
    received: int = 0
    seconds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    hosts: Counter[tuple[str, bool]] = field(default_factory=Counter)

    def __add__(self, other: FetchTotals) -> FetchTotals:
        """Returns the totals of the rows of both."""
        return FetchTotals(
            self.rows + other.rows,
            self.fetched + other.fetched,
            self.transient + other.transient,
            self.received + other.received,
            self.seconds + other.seconds,
            self.reasons + other.reasons,
            self.statuses + other.statuses,
            self.hosts + other.hosts,
        )

    @property
    def success_rate(self) -> float:
        """Share of the rows with a body, in [0, 1]."""
        return self.fetched / max(self.rows, 1)

    @property
    def time_shares(self) -> dict[str, float]:
        """Share of each of `PHASES` in the time of requests; all 0 where none was sent."""
        total = sum(self.seconds[phase] for phase in PHASES)
        return {phase: self.seconds[phase] / total if total else 0.0 for phase in PHASES}


def total(results: Iterable[FetchResult]) -> FetchTotals:
    """Returns the totals of results."""
    totals = FetchTotals()
    rows = fetched = transient = received = 0
    for result in results:
        rows += 1
        evidence, refusal = result.evidence, result.refusal
        fetched += refusal is None
        received += evidence.received
        timings = evidence.timings
        for phase in (*PHASES, "polite"):
            totals.seconds[phase] += getattr(timings, phase)
        if refusal is not None:
            totals.reasons[str(refusal.reason)] += 1
            transient += refusal.transient
        if evidence.status:
            totals.statuses[evidence.status] += 1
        if evidence.final_url:
            totals.hosts[host_class(parse_url(evidence.final_url)), refusal is None] += 1
    return totals + FetchTotals(rows, fetched, transient, received)


def host_class(url: FetchUrl) -> str:
    """Returns the class that a URL's host counts in."""
    return "address" if url.address is not None else url.host.rpartition(".")[2]


def describe(totals: FetchTotals, elapsed_s: float) -> list[str]:
    """Returns lines for people: rates, time shares, host classes, and advice where there is any.

    Args:
        totals: of the rows so far.
        elapsed_s: seconds since the first.
    """
    rate = totals.rows / elapsed_s if elapsed_s > 0 else 0.0
    megabytes = totals.received / 1e6 / elapsed_s if elapsed_s > 0 else 0.0
    shares = ", ".join(f"{name} {share:.0%}" for name, share in totals.time_shares.items())
    lines = [
        f"{totals.rows} URLs, {totals.success_rate:.1%} fetched, {rate:.0f}/s, "
        f"{megabytes:.1f} MB/s",
        f"time: {shares}",
    ]
    lines += [f".{name}: {text}" for name, text in _host_lines(totals, elapsed_s)]
    told = advice(totals)
    return [*lines, told] if told else lines


def advice(totals: FetchTotals) -> str:
    """Returns one line on what is most off, and the remedy; empty where nothing is."""
    if totals.rows < _MIN_ROWS:
        return ""
    shares = totals.time_shares
    reasons = {reason: count / totals.rows for reason, count in totals.reasons.items()}
    busy = (totals.statuses[429] + totals.statuses[503]) / totals.rows
    polite = totals.seconds["polite"]
    asked = sum(totals.seconds[phase] for phase in PHASES)
    candidates = (
        (shares["dns"], 0.4, "DNS takes {:.0%} of the time: run a local resolver"),
        (
            reasons.get(Reason.FETCH_FAILED_DNS, 0.0),
            0.3,
            "{:.0%} of the host names do not resolve: check the resolver, or the list is old",
        ),
        (
            busy,
            0.05,
            "{:.0%} of the answers ask for less: lower fetch.politeness.requests_per_s",
        ),
        (
            reasons.get(Reason.FETCH_FAILED_TIMEOUT, 0.0),
            0.2,
            "{:.0%} of the URLs run into a deadline: lower fetch.connections, or raise "
            "fetch.deadlines",
        ),
        (
            reasons.get(Reason.FETCH_FAILED_CONNECT, 0.0),
            0.3,
            "{:.0%} of the connections fail: check the network and its firewall",
        ),
        (
            reasons.get(Reason.FETCH_FAILED_ROBOTS, 0.0),
            0.5,
            "robots.txt refuses {:.0%} of the URLs: ask the hosts, or drop them from the list",
        ),
        (shares["connect"], 0.5, "connecting takes {:.0%} of the time: sort the list by host"),
        (
            polite / (polite + asked) if polite else 0.0,
            0.9,
            "turns at hosts take {:.0%} of the time: mix more hosts into each part",
        ),
    )
    return next((text.format(value) for value, limit, text in candidates if value > limit), "")


def _host_lines(totals: FetchTotals, elapsed_s: float) -> list[tuple[str, str]]:
    sums: Counter[str] = Counter()
    for (name, _), count in totals.hosts.items():
        sums[name] += count
    ordered = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    shown = [(name, {name}) for name, _ in ordered[:HOST_CLASSES]]
    if rest := {name for name, _ in ordered[HOST_CLASSES:]}:
        shown.append(("others", rest))
    lines = []
    for label, names in shown:
        good = sum(totals.hosts[name, True] for name in names)
        every = good + sum(totals.hosts[name, False] for name in names)
        rate = every / elapsed_s if elapsed_s > 0 else 0.0
        lines.append((label, f"{every} URLs, {good / every:.0%} fetched, {rate:.0f}/s"))
    return lines
