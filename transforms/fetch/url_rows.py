"""Rows of URL lists: what is to be fetched, and the sample that it will belong to."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from schemas.reasons import Reason
from schemas.samples import Kind, MediaRole, RawMedia, RawSample
from schemas.sources import UrlSource
from transforms.fetch.records import ExpectedHash, FetchRequest, FetchResult
from transforms.fetch.url_columns import UrlColumns
from transforms.ingest.fields import printable, read_record
from transforms.ingest.parquet_rows import Row
from transforms.ingest.rows import malformed_sample, matches, plain_id, row_locator
from transforms.ingest.tables import MalformedRow

_DIGEST_BYTES = {"sha256": 32, "md5": 16}


@dataclass(frozen=True, slots=True)
class UrlRow:
    """One row of a list.

    Attributes:
        sample: the sample, without its media; with a reason where nothing can be fetched.
        request: what to fetch; None where the sample has a reason.
    """

    sample: RawSample
    request: FetchRequest | None


@dataclass(frozen=True, slots=True)
class UrlReader:
    """What the rows of one list are read with.

    Attributes:
        table: name of the list, relative to the root of the source.
        source: which rows are wanted.
        columns: which column is what.
    """

    table: str
    source: UrlSource
    columns: UrlColumns

    def rows(self, batches: Iterator[list[Row | MalformedRow]]) -> Iterator[UrlRow]:
        """Yields each row that `where` asks for, and each malformed one.

        A locator is the id of the row, else its URL; it never depends on the row's place.
        """
        for batch in batches:
            for row in batch:
                if isinstance(row, MalformedRow):
                    yield UrlRow(malformed_sample(self.table, row, Kind.PAIR), None)
                elif matches(row, self.source.where):
                    yield self._row(row)

    def _row(self, row: Row) -> UrlRow:
        columns = self.columns
        record = read_record(row, columns.fields)
        url = plain_id(row.get(columns.url))
        sample = RawSample(
            locator=plain_id(row.get(columns.id)) or url or row_locator(self.table, row),
            texts=record.texts,
            licence=record.licence,
            attribution=record.attribution,
            meta=record.meta | ({"url": url} if url else {}),
        )
        if not url:
            error = f"column {columns.url!r} is empty"
            return UrlRow(replace(sample, reason=Reason.MEDIA_MISSING, error=error), None)
        try:
            expected = self._expected(row)
        except ValueError as error:
            told = replace(sample, reason=Reason.ROW_MALFORMED, error=str(error))
            return UrlRow(told, None)
        return UrlRow(sample, FetchRequest(url, expected))

    def _expected(self, row: Row) -> ExpectedHash | None:
        """Returns the hash that a row states, the stronger one of two."""
        sha256 = plain_id(row.get(self.columns.sha256))
        if sha256:
            return parse_hash("sha256", sha256)
        md5 = plain_id(row.get(self.columns.md5))
        return parse_hash("md5", md5) if md5 else None


def parse_hash(algorithm: Literal["sha256", "md5"], text: str) -> ExpectedHash:
    """Returns a hash that is written in hex or, as in Open Images, in base64.

    Raises:
        ValueError: it is neither, or of another length.
    """
    size = _DIGEST_BYTES[algorithm]
    text = text.strip()
    try:
        digest = bytes.fromhex(text) if len(text) == 2 * size else _from_base64(text)
    except (ValueError, binascii.Error):
        digest = b""
    if len(digest) != size:
        raise ValueError(f"{printable(text[:100])!r} is no {algorithm} in hex or base64")
    return ExpectedHash(algorithm, digest)


def with_result(sample: RawSample, result: FetchResult) -> RawSample:
    """Returns a sample with what its fetch gave: its image, or the reason why there is none.

    A hash that does not match, where that is only a signal, is noted in `meta.hash_matches`.
    """
    if result.refusal is not None:
        return replace(sample, reason=result.refusal.reason, error=result.refusal.error)
    meta: dict[str, Any] = sample.meta
    if result.hash_matches is not None:
        meta = meta | {"hash_matches": result.hash_matches}
    body = result.body or b""
    return replace(sample, media=(RawMedia(MediaRole.IMAGE, body),), meta=meta)


def _from_base64(text: str) -> bytes:
    padded = text + "=" * (-len(text) % 4)
    return base64.b64decode(padded, altchars=b"-_" if "-" in text or "_" in text else None)
