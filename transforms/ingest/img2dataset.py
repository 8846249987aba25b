"""Reads shards of img2dataset: the rows of its Parquet joined with the samples of its tar."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from schemas.reasons import Reason
from schemas.recipe import Ingest
from schemas.samples import MediaRole, RawMedia, RawSample
from storage.folders import Entry, Folder
from transforms.ingest.columns import bytes_column, readable_names
from transforms.ingest.fetch_failures import fetch_failure
from transforms.ingest.fields import read_record, recognise
from transforms.ingest.inputs import stem
from transforms.ingest.media import too_large
from transforms.ingest.parquet_rows import (
    BrokenFileError,
    columns_of,
    open_parquet,
    read_rows,
)
from transforms.ingest.rows import plain_id
from transforms.ingest.webdataset import read_tar

SUCCESS = "success"

ENCODE_FORMATS = ("jpg", "png", "webp")
"""Names of the column that holds the media, with `output_format=parquet`."""

HASHES = ("sha256", "sha512", "sha1", "md5")
"""Columns that hold a digest of the bytes as fetched, named after the algorithm."""


def read_shard(folder: Folder, files: Sequence[Entry], limits: Ingest) -> Iterator[RawSample]:
    """Yields a sample for each row of a shard, fetched or not; texts are not cleaned yet.

    Rows and samples of the tar are joined by key; either may lack the other. Rows that wait for
    their media are held, some 2 kB each (img2dataset writes 10,000 to a shard by default). Locators
    are URLs; `<shard>/<key>` where there is none. With `output_format=parquet` the media are in the
    rows.

    Args:
        folder: the root of the source.
        files: the Parquet of the shard, its tar, or both.
        limits: largest media and texts.
    """
    shard = stem(files[0].name)
    parquet = next((file for file in files if file.name.lower().endswith(".parquet")), None)
    tar = next((file for file in files if file is not parquet), None)
    waiting: dict[str, list[RawSample]] = {}
    if parquet is not None:
        with folder.open(parquet.name) as file:
            try:
                for key, sample in _read_parquet(file, shard, limits):
                    if sample.reason is None and not sample.media:
                        waiting.setdefault(key, []).append(sample)
                    else:
                        yield sample
            except BrokenFileError as error:
                reason = Reason.CONTAINER_TRUNCATED
                yield RawSample(parquet.name, reason=reason, error=str(error))
    broken = ""
    if tar is not None:
        for key, sample in read_tar(folder, tar, limits):
            rows = waiting.get(key, []) if key else []
            yield _joined(sample, rows.pop(0)) if rows else _alone(sample)
            broken = broken or ("" if key else sample.error)
    reason = Reason.CONTAINER_TRUNCATED if broken else Reason.MEDIA_MISSING
    for sample in (sample for rows in waiting.values() for sample in rows):
        yield replace(sample, reason=reason, error=broken or "the shard has no media of this key")


def _read_parquet(file: BinaryIO, shard: str, limits: Ingest) -> Iterator[tuple[str, RawSample]]:
    """Yields key and sample of each row: with media only where the row itself holds them."""
    parquet = open_parquet(file)
    columns = columns_of(parquet)
    data = bytes_column(columns, ENCODE_FORMATS)
    names = [name for name in readable_names(columns) if name != data]
    fields = recognise(names)
    wanted = [*names, data] if data else names
    for batch in read_rows(parquet, 0, parquet.metadata.num_rows, wanted):
        for row in batch:
            record = read_record(row, fields)
            key = plain_id(row.get("key"))
            sample = RawSample(
                locator=plain_id(row.get("url")) or f"{shard}/{key}",
                texts=record.texts,
                licence=record.licence,
                attribution=record.attribution,
                meta=record.meta,
            )
            yield key, _with_outcome(sample, _bytes(row.get(data)), limits.max_media_bytes)


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _with_outcome(sample: RawSample, data: bytes | None, max_media_bytes: int) -> RawSample:
    """Returns a row's sample with the reason of a failed fetch, or with the media in the row."""
    status = str(sample.meta.get("status", SUCCESS))
    if status != SUCCESS:
        message = str(sample.meta.get("error_message", ""))
        error = f"{status}: {message}" if message else status
        return replace(sample, reason=fetch_failure(status, message), error=error)
    if not data:
        return sample
    refused = too_large("the image", len(data), max_media_bytes)
    if refused:
        return replace(sample, reason=refused.reason, error=refused.error)
    return _verified(replace(sample, media=(RawMedia(MediaRole.IMAGE, data),)))


def _joined(sample: RawSample, row: RawSample) -> RawSample:
    """Returns a sample of the tar together with its row, which says more."""
    joined = replace(
        row,
        texts=sample.texts + row.texts,
        media=sample.media,
        reason=sample.reason,
        error=sample.error,
        licence=row.licence or sample.licence,
        attribution=row.attribution or sample.attribution,
        meta={**sample.meta, **row.meta},
    )
    return _verified(joined)


def _alone(sample: RawSample) -> RawSample:
    """Returns a sample of the tar that has no row; its own JSON may know the URL."""
    url = sample.meta.get("url")
    return replace(sample, locator=url) if isinstance(url, str) else sample


def _verified(sample: RawSample) -> RawSample:
    """Returns the sample; refused where its bytes are not those that were fetched.

    Hashes are of the bytes as fetched. img2dataset leaves width and height empty where it stores
    those (`disable_all_reencoding`); elsewhere it may have encoded the image anew.
    """
    if sample.reason is not None or not sample.media or "width" in sample.meta:
        return sample
    data = sample.media[0].data
    for name in HASHES:
        expected = sample.meta.get(name)
        if not isinstance(expected, str):
            continue
        digest = hashlib.new(name, data, usedforsecurity=False).hexdigest()
        if digest != expected.lower():
            error = f"{name} of the media is {digest}, not {expected}"
            return replace(sample, reason=Reason.FETCH_FAILED_BAD_CONTENT, error=error)
    return sample
