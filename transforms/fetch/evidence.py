"""The side table of evidence: what each fetch observed, outside every digest."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from transforms.fetch.records import Evidence

_SECONDS = pa.float32()

EVIDENCE = pa.schema(
    [
        pa.field("url", pa.string(), nullable=False),
        pa.field("final_url", pa.string(), nullable=False),
        pa.field("fetched_at", pa.timestamp("ms", tz="UTC")),
        pa.field("status", pa.int16(), nullable=False),
        pa.field("headers", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("http_version", pa.string(), nullable=False),
        pa.field("attempts", pa.int8(), nullable=False),
        pa.field("received", pa.int64(), nullable=False),
        pa.field("dns_s", _SECONDS, nullable=False),
        pa.field("connect_s", _SECONDS, nullable=False),
        pa.field("wait_s", _SECONDS, nullable=False),
        pa.field("transfer_s", _SECONDS, nullable=False),
        pa.field("polite_s", _SECONDS, nullable=False),
    ]
)
"""One row per input, in the order of the part. `fetched_at` is null where nothing was asked."""


def evidence_table(evidence: Sequence[Evidence]) -> pa.Table:
    """Returns evidence as a table of schema `EVIDENCE`, in the same order."""
    rows = [
        {
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
        }
        for one in evidence
    ]
    return pa.Table.from_pylist(rows, schema=EVIDENCE)
