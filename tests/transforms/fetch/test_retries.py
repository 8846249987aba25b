from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from transforms.fetch.retries import (
    curl_refusal,
    parse_retry_after,
    retry_pause_s,
    status_refusal,
)

NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:00:00 GMT", 0.0),
        ("9" * 400, 1e9),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text(max_size=60))
def test_any_retry_after_is_seconds_or_nothing(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or seconds >= 0


@given(st.text(), st.integers(1, 9))
def test_pauses_double_and_spread_by_the_url(url: str, attempt: int) -> None:
    pause = retry_pause_s(url, attempt, 2.0)
    assert 2.0 ** (attempt - 1) <= pause <= 3 * 2.0 ** (attempt - 1)
    assert retry_pause_s(url, attempt, 2.0) == pause


def test_urls_do_not_come_back_at_once() -> None:
    pauses = {retry_pause_s(f"http://h/{number}", 1, 1.0) for number in range(1000)}
    assert len(pauses) == 1000
    assert sum(pauses) / 1000 == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("status", "transient"),
    [(status, False) for status in (0, 204, 401, 403, 404, 410, 451, 501, 999)]
    + [(status, True) for status in (408, 425, 429, 500, 502, 503, 504, 522)],
)
def test_statuses(status: int, transient: bool) -> None:
    refusal = status_refusal(status).refusal
    assert refusal.reason is Reason.FETCH_FAILED_HTTP
    assert refusal.transient is transient
    assert str(status) in refusal.error


def test_errors_of_libcurl_without_a_name_here_are_final() -> None:
    refusal = curl_refusal(12345)
    assert (refusal.reason, refusal.transient) == (Reason.FETCH_FAILED_CONNECT, False)
