"""What goes into a fetch and what comes out: requests, results, and the evidence beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class ExpectedHash:
    """The hash that a list states for the bytes behind a URL."""

    algorithm: Literal["sha256", "md5"]
    digest: bytes


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """One URL, as its list writes it."""

    url: str
    expected: ExpectedHash | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a URL yields no media.

    Attributes:
        reason: the word for it.
        error: what happened, for people; the same for the same answer, so without times.
        transient: whether trying again later can help.
    """

    reason: Reason
    error: str
    transient: bool = False


class RefusedError(Exception):
    """Ends a fetch from wherever it is refused; the fetcher turns it into a result."""

    def __init__(self, reason: Reason, error: str, transient: bool = False) -> None:
        super().__init__(error)
        self.refusal = Refusal(reason, error, transient)


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that the last request of a fetch took, by phase; 0 for a phase that did not happen.

    Attributes:
        dns: the address look-up, 0 where it was remembered.
        connect: TCP and TLS, 0 on a connection that was kept alive.
        wait: from the request to the first byte of the answer.
        transfer: from the first byte to the last.
        polite: what the host's rate, pauses and connection cap made it wait before.
    """

    dns: float = 0.0
    connect: float = 0.0
    wait: float = 0.0
    transfer: float = 0.0
    polite: float = 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was observed. Kept in a side table, and in no digest: no two fetches give the same.

    Attributes:
        url: as in the list.
        final_url: what answered in the end; empty where nothing was asked.
        fetched_at: seconds since 1970 (UTC) when the last request was sent; 0 where none was.
        status: HTTP status of the last answer; 0 where there was none.
        headers: consent headers of the last answer, lower-case names, as received.
        http_version: `1.1` or `2`; empty where nothing answered.
        attempts: tries.
        received: bytes of the body.
        timings: of the last try.
    """

    url: str
    final_url: str = ""
    fetched_at: float = 0.0
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    http_version: str = ""
    attempts: int = 0
    received: int = 0
    timings: Timings = Timings()


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What became of a request. Either there is a body, or there is a refusal.

    Attributes:
        body: the bytes as they came; None where refused.
        refusal: why there is none; None where there is.
        hash_matches: whether the bytes have the expected hash; None where none was expected or
            nothing came.
        evidence: what was observed.
    """

    body: bytes | None
    refusal: Refusal | None
    hash_matches: bool | None
    evidence: Evidence
