"""The side table of evidence: what each fetch observed, outside every digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from schemas.tables import EVIDENCE
from transforms.fetch.diagnosis import PHASES, FetchTotals, host_class
from transforms.fetch.records import Evidence, FetchResult
from transforms.fetch.urls import parse_url

Row = dict[str, Any]


def evidence_row(result: FetchResult | None) -> Row:
    """Returns what a fetch observed; an empty row where nothing had to be fetched."""
    one = Evidence(url="") if result is None else result.evidence
    refusal = None if result is None else result.refusal
    return {
        "url": one.url,
        "final_url": one.final_url,
        "fetched_at": round(one.fetched_at * 1000) or None,
        "status": one.status,
        "headers": one.headers,
        "http_version": one.http_version,
        "attempts": one.attempts,
        "received": one.received,
        "dns_s": one.timings.dns,
        "connect_s": one.timings.connect,
        "wait_s": one.timings.wait,
        "transfer_s": one.timings.transfer,
        "polite_s": one.timings.polite,
        "reason": None if refusal is None else str(refusal.reason),
        "transient": refusal is not None and refusal.transient,
    }


def evidence_table(rows: Sequence[Row]) -> pa.Table:
    """Returns rows of evidence as a table of schema `EVIDENCE`, in the same order."""
    return pa.Table.from_pylist(list(rows), schema=EVIDENCE)


def read_totals(evidence: pa.Table) -> FetchTotals:
    """Returns the totals of a table of evidence."""
    rows = [row for row in evidence.to_pylist() if row["url"]]
    totals = FetchTotals(
        rows=len(rows),
        fetched=sum(row["reason"] is None for row in rows),
        transient=sum(row["transient"] for row in rows),
        received=sum(row["received"] for row in rows),
    )
    for row in rows:
        for phase in (*PHASES, "polite"):
            totals.seconds[phase] += row[f"{phase}_s"]
        if row["reason"] is not None:
            totals.reasons[row["reason"]] += 1
        if row["status"]:
            totals.statuses[row["status"]] += 1
        if row["final_url"]:
            totals.hosts[host_class(parse_url(row["final_url"])), row["reason"] is None] += 1
    return totals
