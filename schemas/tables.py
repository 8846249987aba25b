"""Arrow schemas of every table in a work directory.

`ingest` and the column families have one Parquet file per part with the same rows in the same
order: columns join by position. `TABLES` lists all of them for documentation and checks.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from schemas.shards import INDEX
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
        pa.field("split", pa.dictionary(pa.int8(), pa.string())),
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
        pa.field("dns_s", pa.float32(), nullable=False),
        pa.field("connect_s", pa.float32(), nullable=False),
        pa.field("wait_s", pa.float32(), nullable=False),
        pa.field("transfer_s", pa.float32(), nullable=False),
        pa.field("polite_s", pa.float32(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("transient", pa.bool_(), nullable=False),
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
    """A table, for documentation.

    Attributes:
        schema: its columns.
        path: where its files lie in a work directory.
        row: what one row is.
        columns: the meaning of each column; the fields of a list of structs are `column.field`.
    """

    schema: pa.Schema
    path: str
    row: str
    columns: dict[str, str]


_SAMPLE_ID = "Id of the sample that the row is about; the same in every table."


def _family_table(family: str, row: str, **others: str) -> TableInfo:
    """Returns the table of a column family: its signals mean what the registry says."""
    signals = {signal.name: signal.meaning for signal in family_signals(family)}
    return TableInfo(
        schema=family_schema(family),
        path=f"{family}/<fingerprint>/<source>/<intake>/<part>.v<version>.parquet",
        row=row,
        columns={"sample_id": _SAMPLE_ID, **signals, **others},
    )


TABLES: dict[str, TableInfo] = {
    "ingest": TableInfo(
        schema=INGEST,
        path="ingest/<source>/<intake>/<part>.v<version>.parquet",
        row="one input of a source, usable or not",
        columns={
            "sample_id": "First 128 bits of blake2b over source, locator and primary text, as hex.",
            "source": "Name of the source in the recipe.",
            "kind": "`pair` (an image and a text) or `text_pair` (a query and a passage).",
            "locator": "Where the input is, relative to the root of its source.",
            "media": "Media of the sample, by reference; empty where it has none or is refused.",
            "media.role": "What the media is to the sample: `image`.",
            "media.media_id": "sha256 of the bytes, as hex.",
            "media.part_tar": "The tar that holds the bytes, in the folder of the source's intake.",
            "media.offset": "First byte in the tar.",
            "media.length": "Number of bytes.",
            "texts": "All usable texts of the sample, the primary one first.",
            "texts.role": "What the text is to the sample: `alt`, `title`, `query`, …",
            "texts.text": "The text, stripped of white space at its ends; otherwise as received.",
            "texts.lang": "Language that the source states; null where it states none.",
            "texts.model": "Model that wrote the text; null where people did.",
            "texts.prompt_id": "Prompt that the model was given; null where people wrote it.",
            "texts.media_id": "Media that the model was shown; null where people wrote the text.",
            "text": "The primary text, which `text.*` signals are about; null where there is none.",
            "licence": "As the source states it, or the recipe for the source; else empty.",
            "attribution": "As the source states it; else empty.",
            "meta": "Further small fields of the source, as canonical JSON.",
            "row_digest": "Digest of everything that the row says, for repeated ids and shards.",
            "status": "`ok`, or the reason why the input cannot be used.",
            "error": "More about that reason, for people; else empty.",
        },
    ),
    "evidence": TableInfo(
        schema=EVIDENCE,
        path="evidence/<source>/<intake>/<part>.v<version>.parquet",
        row="one input of a part whose media are fetched; in no digest",
        columns={
            "url": "The URL as the source writes it; empty where nothing had to be fetched.",
            "final_url": "What answered in the end; empty where nothing was asked.",
            "fetched_at": "When the last request was sent; null where none was.",
            "status": "HTTP status of the last answer; 0 where there was none.",
            "headers": "Consent headers of the last answer, as received.",
            "http_version": "`1.1` or `2`; empty where nothing answered.",
            "attempts": "Tries of the last run that asked.",
            "received": "Bytes of the body.",
            "dns_s": "Seconds of the last try: the address look-up.",
            "connect_s": "Seconds of the last try: TCP and TLS.",
            "wait_s": "Seconds of the last try: from the request to the first byte.",
            "transfer_s": "Seconds of the last try: from the first byte to the last.",
            "polite_s": "Seconds for which the host's rate and pauses made it wait.",
            "reason": "Why no media came; null where they did.",
            "transient": "Whether trying again later may help.",
        },
    ),
    "ingest parts": TableInfo(
        schema=PARTS,
        path="ingest/<source>/<intake>/parts.parquet",
        row="one part of a source's intake",
        columns={
            "part": "Name of the part: `part-` and 16 hex digits of the digest of its slice.",
            "source": "Name of the source.",
            "intake": "Name of the sealed intake.",
            "slice": "The piece of input that the part covers: files with size and checksum, rows.",
        },
    ),
    "measure/image": _family_table(
        "measure/image",
        "one row of `ingest`; signals are null unless `status` is `ok`",
        status="`ok`, the reason why the image cannot be measured, or null: there is no image.",
        error="More about that reason, for people; else null.",
    ),
    "measure/text": _family_table(
        "measure/text", "one row of `ingest`; signals are null where it has no text"
    ),
    "count/sharing": _family_table(
        "count/sharing", "one row of `ingest`, counted over its intake and all before it"
    ),
    "count/ngrams": _family_table(
        "count/ngrams",
        "one row of `ingest`, counted over its intake and all before it; null without a word",
    ),
    "dedupe/exact": TableInfo(
        schema=CLUSTERS,
        path="dedupe/exact/<fingerprint>/<source>/<intake>/<part>.v<version>.parquet",
        row="one row of `ingest`, compared with its intake and all before it",
        columns={
            "sample_id": _SAMPLE_ID,
            "cluster_id": "Digest of what the duplicates share; null where there are none.",
            "cluster_size": "Rows of the cluster, this one included.",
            "edge": "`bytes` where another row has the same bytes, else `pixels`.",
        },
    ),
    "select/ledger": TableInfo(
        schema=LEDGER,
        path="select/ledger/<fingerprint>/<source>/<intake>/<part>.v<version>.parquet",
        row="one row of `ingest`: what became of it",
        columns={
            "sample_id": _SAMPLE_ID,
            "part": "The part, as `<source>/<intake>/<part>`.",
            "row": "Position of the row in its part, from 0.",
            "decision": "`kept` or `dropped`.",
            "stage": "Stage that the reason belongs to; null where kept.",
            "reason": "The first reason that dropped the row; null where kept.",
            "signal": "Signal that the rule compared; null where no rule on a signal dropped it.",
            "value": "The number that it compared; booleans are 0 and 1; null for strings.",
            "detail": "The string that it compared, or the error of ingest or of the decoder.",
            "threshold": "What the rule asks, as `keep` has it.",
            "cluster_id": "Duplicate cluster, whether or not the row is kept; null without one.",
            "keeper_id": "Who is kept of the cluster; null for rows that a rule dropped before.",
            "split": "`train` or `test`; null where dropped.",
        },
    ),
    "events": TableInfo(
        schema=EVENTS,
        path="shards/<source>/<intake>/<split>-<digest>/events.parquet",
        row="one kept sample that is not in its shard",
        columns={
            "sample_id": _SAMPLE_ID,
            "stage": "Stage that refused it: `shard`.",
            "reason": "Why; see the list of reasons.",
            "detail": "What went wrong, for people.",
        },
    ),
    "shard index": TableInfo(
        schema=INDEX,
        path="shards/<source>/<intake>/<split>-<digest>/<number>.idx.parquet",
        row="one member of the tar beside it, in the order of the tar",
        columns={
            "key": "Key of the sample: its `sample_id`.",
            "member": "Name of the member: key, a dot, extension.",
            "offset": "First byte of the member's data in the tar.",
            "length": "Number of bytes.",
            "sha256": "Of the member's data, as hex.",
            "width": "Width in pixels, as stored; null for texts.",
            "height": "Height in pixels, as stored; null for texts.",
            "caption_tokens": "Words (`text.unigrams`) of a `txt` member; null for others.",
        },
    ),
}
"""Every table of a work directory, by name."""
