from __future__ import annotations

import pytest

from schemas.reasons import Reason
from transforms.ingest.fetch_failures import fetch_failure

# What img2dataset 1.47 (`str` of urllib's, socket's and ssl's errors, its own phrases) writes.
MESSAGES = [
    ("HTTP Error 404: Not Found", Reason.FETCH_FAILED_HTTP),
    ("HTTP Error 403: Forbidden", Reason.FETCH_FAILED_HTTP),
    ("HTTP Error 408: Request Timeout", Reason.FETCH_FAILED_HTTP),
    ("HTTP Error 504: Gateway Time-out", Reason.FETCH_FAILED_HTTP),
    (
        "HTTP Error 301: The HTTP server returned a redirect error that would lead to an infinite "
        "loop.\nThe last 30x error message was:\nMoved Permanently",
        Reason.FETCH_FAILED_HTTP,
    ),
    ("timed out", Reason.FETCH_FAILED_TIMEOUT),
    ("<urlopen error timed out>", Reason.FETCH_FAILED_TIMEOUT),
    ("The read operation timed out", Reason.FETCH_FAILED_TIMEOUT),
    ("<urlopen error [Errno 110] Connection timed out>", Reason.FETCH_FAILED_TIMEOUT),
    ("<urlopen error _ssl.c:980: The handshake operation timed out>", Reason.FETCH_FAILED_TIMEOUT),
    ("<urlopen error [Errno -2] Name or service not known>", Reason.FETCH_FAILED_DNS),
    ("<urlopen error [Errno -3] Temporary failure in name resolution>", Reason.FETCH_FAILED_DNS),
    ("<urlopen error [Errno -5] No address associated with hostname>", Reason.FETCH_FAILED_DNS),
    ("<urlopen error [Errno 8] nodename nor servname provided>", Reason.FETCH_FAILED_DNS),
    ("<urlopen error [Errno 11001] getaddrinfo failed>", Reason.FETCH_FAILED_DNS),
    ("<urlopen error [Errno 111] Connection refused>", Reason.FETCH_FAILED_CONNECT),
    ("[Errno 104] Connection reset by peer", Reason.FETCH_FAILED_CONNECT),
    ("Remote end closed connection without response", Reason.FETCH_FAILED_CONNECT),
    ("IncompleteRead(1024 bytes read, 4096 more expected)", Reason.FETCH_FAILED_CONNECT),
    ("<urlopen error [Errno 113] No route to host>", Reason.FETCH_FAILED_CONNECT),
    (
        "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate "
        "has expired (_ssl.c:1006)>",
        Reason.FETCH_FAILED_CONNECT,
    ),
    ("unknown url type: 'foo'", Reason.FETCH_FAILED_CONNECT),
    ("Use of image disallowed by X-Robots-Tag directive", Reason.FETCH_FAILED_OPT_OUT),
    ("hash mismatch", Reason.FETCH_FAILED_BAD_CONTENT),
]
RESIZE_MESSAGES = [
    "Image decoding error",
    "image decoding error",
    "image too small",
    "image area too large",
    "aspect ratio too large",
    "OpenCV(4.11.0) error: (-215:Assertion failed) !buf.empty() in function 'imdecode_'",
    "blurrer not defined",
]


@pytest.mark.parametrize(("message", "reason"), MESSAGES)
def test_download_errors(message, reason):
    assert fetch_failure("failed_to_download", message) is reason


@pytest.mark.parametrize("message", RESIZE_MESSAGES)
def test_resize_errors(message):
    assert fetch_failure("failed_to_resize", message) is Reason.FETCH_FAILED_BAD_CONTENT


def test_unknown_messages_go_by_their_status():
    assert fetch_failure("failed_to_download", "?") is Reason.FETCH_FAILED_CONNECT
    assert fetch_failure("failed_to_resize", "?") is Reason.FETCH_FAILED_BAD_CONTENT
    assert fetch_failure("odd", "") is Reason.FETCH_FAILED_BAD_CONTENT
