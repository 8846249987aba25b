"""Takes one part in: reads its slice, stores its media once, and commits its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from schemas.digests import canonical_json, hex_digest, media_id, sample_id
from schemas.layout import Part
from schemas.reasons import OK, Reason
from schemas.samples import Kind, RawSample
from schemas.tables import INGEST
from storage.folders import Folder
from transforms.ingest.blocklist import BlockList
from transforms.parts.media import MediaTar
from transforms.parts.tables import PartFile, commit_table

StoredRow = dict[str, Any]
"""A row of `schemas.tables.INGEST`."""


def commit_part(
    ingest: Folder,
    file: PartFile,
    samples: Iterable[Sequence[RawSample | StoredRow]],
    block: BlockList,
) -> None:
    """Commits a part: first the tar of its media, then the Parquet that names it.

    Args:
        ingest: the `ingest` folder of the work directory.
        file: the part and the version to commit.
        samples: chunks of its raw samples, texts already cleaned; or rows of an earlier version of
            the part, which stay as they are, with their media where they lie.
        block: media that are never stored.
    """
    rows: list[dict[str, Any]] = []
    with ingest.temporary_file() as path:
        with MediaTar(path, file.part) as tar:
            for chunk in samples:
                rows.extend(
                    _row(file.part, one, tar, block) if isinstance(one, RawSample) else one
                    for one in chunk
                )
        tar_name = ""
        if not tar.empty:
            tar_name = tar.name
            ingest.create(f"{file.part.source}/{file.part.intake}/{tar_name}", path)
    for row in rows:
        for media in row["media"]:
            media.setdefault("part_tar", tar_name)
    table = pa.Table.from_pylist(rows, schema=INGEST)
    counts = Counter(row["status"] for row in rows)
    commit_table(ingest, file, table, {"rows": len(rows), **counts})


def _row(part: Part, sample: RawSample, tar: MediaTar, block: BlockList) -> dict[str, Any]:
    primary = sample.texts[0].text if sample.texts else None
    reason, error = sample.reason, sample.error
    media: list[dict[str, Any]] = []
    if reason is None:
        matches = [match for one in sample.media if (match := block.match(one.data))]
        if matches:
            reason, error = Reason.BLOCKED_HASH, matches[0]
    if reason is None:
        for one in sample.media:
            identity = media_id(one.data)
            offset, length = tar.add(identity, one.data)
            media.append(
                {"role": one.role, "media_id": identity, "offset": offset, "length": length}
            )
    texts = [
        {"role": text.role, "text": text.text, "lang": text.lang}
        for text in sample.texts
        if isinstance(text.text, str)
    ]
    meta = canonical_json(sample.meta)
    status = OK if reason is None else str(reason)
    return {
        "sample_id": sample_id(part.source, sample.locator, primary),
        "source": part.source,
        "kind": sample.kind,
        "locator": sample.locator,
        "media": media,
        "texts": texts,
        "text": primary if isinstance(primary, str) else None,
        "licence": sample.licence,
        "attribution": sample.attribution,
        "meta": meta,
        "row_digest": row_digest(sample, [one["media_id"] for one in media], texts, meta, status),
        "status": status,
        "error": error,
    }


def row_digest(
    sample: RawSample, media_ids: list[str], texts: list[dict[str, Any]], meta: str, status: str
) -> str:
    """Returns a digest of everything that a row says, 32 hex digits.

    Rows with equal ids and equal digests are copies, whichever part or position they have.
    """
    return hex_digest(
        Kind(sample.kind),
        canonical_json(media_ids),
        canonical_json(texts),
        sample.licence,
        sample.attribution,
        meta,
        status,
    )
