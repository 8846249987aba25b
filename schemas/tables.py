"""Arrow schemas of every table in a work directory.

`ingest` and the column families have one Parquet file per part with the same rows in the same
order: columns join by position. `TABLES` lists all of them for documentation and checks.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from schemas.signals import family_signals

MEDIA = pa.struct(
    [
        pa.field("role", pa.string(), nullable=False),
        pa.field("media_id", pa.string(), nullable=False),
        pa.field("part_tar", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
    ]
)

TEXT = pa.struct(
    [
        pa.field("role", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("lang", pa.string()),
        pa.field("model", pa.string()),
        pa.field("prompt_id", pa.string()),
        pa.field("media_id", pa.string()),
    ]
)

INGEST = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("locator", pa.string(), nullable=False),
        pa.field("media", pa.list_(MEDIA), nullable=False),
        pa.field("texts", pa.list_(TEXT), nullable=False),
        pa.field("text", pa.string()),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("attribution", pa.string(), nullable=False),
        pa.field("meta", pa.string(), nullable=False),
        pa.field("row_digest", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
    ]
)

LEDGER = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("part", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("decision", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("stage", pa.dictionary(pa.int8(), pa.string())),
        pa.field("reason", pa.dictionary(pa.int8(), pa.string())),
        pa.field("signal", pa.dictionary(pa.int8(), pa.string())),
        pa.field("value", pa.float64()),
        pa.field("detail", pa.string()),
        pa.field("threshold", pa.dictionary(pa.int8(), pa.string())),
        pa.field("cluster_id", pa.string()),
        pa.field("keeper_id", pa.string()),
    ]
)

EVENTS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)

PARTS = pa.schema(
    [
        pa.field("part", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("intake", pa.string(), nullable=False),
        pa.field("slice", pa.string(), nullable=False),
    ]
)

CLUSTERS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("cluster_id", pa.string()),
        pa.field("cluster_size", pa.int64()),
        pa.field("edge", pa.string()),
    ]
)


def family_schema(family: str) -> pa.Schema:
    """Returns the Arrow schema of a column family: `sample_id`, its signals, then its status."""
    fields = [pa.field("sample_id", pa.string(), nullable=False)]
    fields += [
        pa.field(signal.name, pa.type_for_alias(signal.dtype)) for signal in family_signals(family)
    ]
    if family == "measure/image":
        fields += [pa.field("status", pa.string()), pa.field("error", pa.string())]
    return pa.schema(fields)


@dataclass(frozen=True)
class TableInfo:
    """A table, for documentation: its columns, where it lies, and what one row is."""

    schema: pa.Schema
    path: str
    row: str
    columns: dict[str, str]
