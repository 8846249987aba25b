from __future__ import annotations

import pytest

from schemas.reasons import Reason
from schemas.tables import EVIDENCE
from transforms.fetch.diagnosis import FetchTotals, advice, describe, total
from transforms.fetch.evidence import evidence_row, evidence_table
from transforms.fetch.records import Evidence, FetchResult, Refusal, Timings


def result(
    url: str = "http://a.example/x", reason: Reason | None = None, status: int = 200, **took: float
) -> FetchResult:
    evidence = Evidence(
        url=url,
        final_url=url,
        fetched_at=1.7e9,
        status=status,
        headers=(("x-robots-tag", "all"),),
        http_version="1.1",
        attempts=1,
        received=0 if reason else 3,
        timings=Timings(**took),
    )
    refusal = None if reason is None else Refusal(reason, "", reason is Reason.FETCH_FAILED_TIMEOUT)
    return FetchResult(None if reason else b"abc", refusal, None, evidence)


def test_totals_add_up() -> None:
    results = [
        result(dns=1, connect=2, wait=3, transfer=4),
        result("http://127.0.0.1/", Reason.FETCH_FAILED_HTTP, 404, wait=2, polite=9),
        result("http://b.test/", Reason.FETCH_FAILED_TIMEOUT, 0),
        FetchResult(None, Refusal(Reason.ROW_MALFORMED, ""), None, Evidence(url="x")),
    ]
    totals = total(results)
    assert totals == total(results[:1]) + total(results[1:]) + FetchTotals()
    assert (totals.rows, totals.fetched, totals.transient, totals.received) == (4, 1, 1, 3)
    assert totals.success_rate == 0.25
    assert totals.time_shares == pytest.approx(
        {"dns": 1 / 12, "connect": 2 / 12, "wait": 5 / 12, "transfer": 4 / 12}
    )
    assert totals.statuses == {200: 1, 404: 1}
    assert totals.hosts == {("example", True): 1, ("address", False): 1, ("test", False): 1}


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (result(dns=7, connect=1, wait=1, transfer=1), "DNS takes 70 % of the time: run a local"),
        (result(reason=Reason.FETCH_FAILED_DNS), "100 % of the host names do not resolve"),
        (result(reason=Reason.FETCH_FAILED_HTTP, status=429), "requests_per_s"),
        (result(reason=Reason.FETCH_FAILED_TIMEOUT), "fetch.deadlines"),
        (result(reason=Reason.FETCH_FAILED_CONNECT), "firewall"),
        (result(reason=Reason.FETCH_FAILED_ROBOTS), "robots.txt refuses 100 %"),
        (result(connect=3, wait=1), "sort the list by host"),
        (result(wait=1, polite=20), "mix more hosts"),
        (result(wait=1, transfer=1), ""),
    ],
)
def test_advice(one: FetchResult, words: str) -> None:
    told = advice(total([one] * 50))
    assert words.replace(" %", "%") in told
    assert bool(told) == bool(words)
    assert advice(total([one] * 10)) == ""


def test_lines_for_people() -> None:
    results = [result(f"http://h.c{number}/", wait=1) for number in range(20)] * 3
    lines = describe(total(results), elapsed_s=2.0)
    assert lines[0] == "60 URLs, 100.0% fetched, 30/s, 0.0 MB/s"
    assert lines[1] == "time: dns 0%, connect 0%, wait 100%, transfer 0%"
    assert lines[2] == ".c0: 3 URLs, 100% fetched, 2/s"
    assert lines[-1] == ".others: 12 URLs, 100% fetched, 6/s"
    assert describe(FetchTotals(), 0.0)[0].startswith("0 URLs")


def test_evidence_has_a_row_for_each() -> None:
    table = evidence_table([evidence_row(result(wait=0.5)), evidence_row(None)])
    assert table.schema.equals(EVIDENCE)
    first, second = table.to_pylist()
    assert first["headers"] == [("x-robots-tag", "all")]
    assert first["wait_s"] == 0.5
    assert first["fetched_at"].timestamp() == 1.7e9
    assert second["fetched_at"] is None
    assert evidence_table([]).schema.equals(EVIDENCE)
