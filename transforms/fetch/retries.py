"""The retry taxonomy: which failures may pass, and when to try again."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import pycurl

from schemas.digests import keyed_hash
from schemas.reasons import Reason
from transforms.fetch.records import Refusal, RefusedError

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 528)})
"""Statuses that a later try may not see: RFC 9110, RFC 8470 (425), and Cloudflare's 52x."""

BUSY_STATUSES = frozenset({429, 503})
"""Statuses with which a host asks for a pause."""

# Errors of libcurl that pycurl has no name for.
_E_WEIRD_SERVER_REPLY, _E_HTTP2_STREAM, _E_TOO_LARGE = 8, 92, 100

_CONNECT = Reason.FETCH_FAILED_CONNECT
# What libcurl says, as reason, words and whether it may pass. Its own words hold milliseconds.
_CURL_ERRORS: Mapping[int, tuple[Reason, str, bool]] = {
    pycurl.E_COULDNT_RESOLVE_HOST: (Reason.FETCH_FAILED_DNS, "the host does not resolve", True),
    pycurl.E_COULDNT_CONNECT: (_CONNECT, "the connection is refused", True),
    pycurl.E_SSL_CONNECT_ERROR: (_CONNECT, "the TLS handshake fails", True),
    pycurl.E_PEER_FAILED_VERIFICATION: (_CONNECT, "the TLS certificate is not valid", False),
    pycurl.E_SSL_CERTPROBLEM: (_CONNECT, "the TLS certificate is not valid", False),
    pycurl.E_SSL_CIPHER: (_CONNECT, "no TLS cipher in common", False),
    pycurl.E_PARTIAL_FILE: (_CONNECT, "the body is shorter than announced", True),
    pycurl.E_GOT_NOTHING: (_CONNECT, "the connection closes without an answer", True),
    pycurl.E_SEND_ERROR: (_CONNECT, "the connection breaks", True),
    pycurl.E_RECV_ERROR: (_CONNECT, "the connection breaks, or the answer is malformed", True),
    pycurl.E_HTTP2: (_CONNECT, "the HTTP/2 connection breaks", True),
    _E_HTTP2_STREAM: (_CONNECT, "the HTTP/2 stream breaks", True),
    pycurl.E_UNSUPPORTED_PROTOCOL: (Reason.FETCH_FAILED_HTTP, "the answer is not HTTP", False),
    _E_WEIRD_SERVER_REPLY: (Reason.FETCH_FAILED_HTTP, "the answer is malformed", False),
    _E_TOO_LARGE: (Reason.FETCH_FAILED_TOO_LARGE, "a line of headers without end", False),
    pycurl.E_BAD_CONTENT_ENCODING: (Reason.FETCH_FAILED_HTTP, "the encoding is malformed", False),
}


def curl_refusal(code: int) -> Refusal:
    """Returns what an error of libcurl means; a server can provoke any that is not named here."""
    reason, error, transient = _CURL_ERRORS.get(code, (_CONNECT, f"libcurl error {code}", False))
    return Refusal(reason, error, transient)


def status_refusal(status: int) -> RefusedError:
    """Returns the refusal for an HTTP status that is not success."""
    error = f"HTTP status {status}"
    return RefusedError(Reason.FETCH_FAILED_HTTP, error, status in TRANSIENT_STATUSES)


def retry_pause_s(url: str, attempt: int, first_s: float) -> float:
    """Returns the seconds before try number `attempt` (from 1) of a URL.

    They double with each try; a share between 0.5 and 1.5 that the URL decides keeps the URLs of a
    host apart without a random generator.
    """
    share = 0.5 + keyed_hash(attempt, "fetch-retry", url) / 2**64
    return first_s * 2.0 ** (attempt - 1) * share


def parse_retry_after(value: str, now: float) -> float | None:
    """Returns the seconds that a `Retry-After` asks for (RFC 9110, section 10.2.3).

    Args:
        value: the header; seconds or a date.
        now: seconds since 1970.

    Returns:
        Seconds from now, not negative; None for what is neither.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(min(int(value[:12]), 10**9))
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None
