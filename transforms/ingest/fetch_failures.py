"""What the errors of a downloader mean: img2dataset writes them as free text, without codes."""

from __future__ import annotations

import re

from schemas.reasons import Reason

_PATTERNS: tuple[tuple[Reason, str], ...] = (
    (Reason.FETCH_FAILED_OPT_OUT, r"x-robots-tag|\bno(image)?ai\b|opted? out|disallowed"),
    # Before time-outs: 408 and 504 carry the word.
    (Reason.FETCH_FAILED_HTTP, r"http error \d{3}|\bredirect"),
    (Reason.FETCH_FAILED_TIMEOUT, r"timed[ -]?out|time[ -]?out"),
    (
        Reason.FETCH_FAILED_DNS,
        r"name or service not known|name resolution|nodename nor servname|getaddrinfo"
        r"|no address associated|name does not resolve|no usable address|'idna' codec",
    ),
    (
        Reason.FETCH_FAILED_CONNECT,
        r"connection (refused|reset|aborted)|remote end closed|broken pipe|unreachable"
        r"|no route to host|\bssl\b|\btls\b|certificate|eof occurred|incompleteread"
        r"|bad ?status ?line|cannot assign requested address|unknown url type|no host given"
        r"|invalid url|can't contain control characters|nonnumeric port|urlopen error",
    ),
    (
        Reason.FETCH_FAILED_BAD_CONTENT,
        r"decoding error|hash mismatch|image too small|image area too large|aspect ratio"
        r"|identify image|truncated|opencv|image",
    ),
)
"""Reason and what its messages hold, in lower case; the first that is found counts."""

_BY_STATUS = {
    "failed_to_download": Reason.FETCH_FAILED_CONNECT,
    "failed_to_resize": Reason.FETCH_FAILED_BAD_CONTENT,
}
"""Reason of a message that no pattern knows."""


def fetch_failure(status: str, message: str) -> Reason:
    """Returns the reason for a fetch that failed.

    Args:
        status: of img2dataset: `failed_to_download` or `failed_to_resize`.
        message: its `error_message`: what Python's urllib, socket or ssl said, what OpenCV said, or
            a phrase of img2dataset 1.47 (`resizer.py`, `downloader.py`).
    """
    lower = message.lower()
    for reason, pattern in _PATTERNS:
        if re.search(pattern, lower):
            return reason
    return _BY_STATUS.get(status, Reason.FETCH_FAILED_BAD_CONTENT)
