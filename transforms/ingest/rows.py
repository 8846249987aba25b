"""Reads rows of a table as raw samples: texts from columns, media from a column or by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from schemas.digests import hex_digest, media_id
from schemas.recipe import Ingest
from schemas.samples import Kind, MediaRole, RawMedia, RawSample
from schemas.sources import TableSource
from storage.folders import Folder
from transforms.ingest.ahead import map_ahead
from transforms.ingest.columns import TableColumns
from transforms.ingest.fields import printable, read_record
from transforms.ingest.media import Refused, read_media, resolve, too_large
from transforms.ingest.parquet_rows import Row
from transforms.ingest.tables import MalformedRow
from transforms.ingest.texts import excerpt


@dataclass(frozen=True, slots=True)
class TableReader:
    """What a row of one table is read with.

    Attributes:
        table: name of the table, relative to the root of the source.
        source: which rows are wanted.
        columns: which column is what.
        media: folder that the media lie in.
        below: its sub-folder that paths in the table are relative to; empty for the folder itself.
        limits: largest media.
    """

    table: str
    source: TableSource
    columns: TableColumns
    media: Folder
    below: str
    limits: Ingest

    def samples(self, rows: Iterator[list[Row | MalformedRow]]) -> Iterator[RawSample]:
        """Yields the sample of each row that `where` asks for, and of each malformed row.

        A locator is the id of the row; else the path of its media; else `sha256:` and the digest of
        their bytes; else the table and a digest of the row. It never depends on the row's place.
        """
        flat = (row for batch in rows for row in batch)
        wanted = (
            row for row in flat if isinstance(row, MalformedRow) or matches(row, self.source.where)
        )
        yield from map_ahead(self._sample_or_malformed, wanted)

    def _sample_or_malformed(self, row: Row | MalformedRow) -> RawSample:
        if isinstance(row, MalformedRow):
            return malformed_sample(self.table, row, Kind.PAIR)
        return self._sample(row)

    def _sample(self, row: Row) -> RawSample:
        columns = self.columns
        record = read_record(row, columns.fields)
        data, path = _media_of(row.get(columns.data), row.get(columns.path))
        name = resolve(path, self.below)
        sample = RawSample(
            locator=plain_id(row.get(columns.id)) or self._locator(row, data, path, name),
            texts=record.texts,
            licence=record.licence,
            attribution=record.attribution,
            meta=record.meta,
        )
        media = self._media(data, name)
        if isinstance(media, Refused):
            return replace(sample, reason=media.reason, error=media.error)
        return replace(sample, media=(RawMedia(MediaRole.IMAGE, media),))

    def _media(self, data: bytes | None, name: str | Refused) -> bytes | Refused:
        if data is not None:
            return too_large("the image", len(data), self.limits.max_media_bytes) or data
        if isinstance(name, Refused):
            return name
        return read_media(self.media, name, self.limits.max_media_bytes)

    def _locator(self, row: Row, data: bytes | None, path: str | bytes, name: str | Refused) -> str:
        if isinstance(name, str):
            return name
        if path:
            return excerpt(path)
        return f"sha256:{media_id(data)}" if data is not None else row_locator(self.table, row)


def matches(row: Row, where: Mapping[str, str]) -> bool:
    """Returns whether a row's columns have the values asked for, compared as text."""
    return all(_as_text(row.get(name)) == wanted for name, wanted in where.items())


def plain_id(value: Any) -> str:
    """Returns the value of an id column as text; empty where there is none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return "" if value is None or isinstance(value, list | dict) else printable(str(value)).strip()


def malformed_sample(table: str, row: MalformedRow, kind: Kind) -> RawSample:
    """Returns what stands for a row of `table` that could not be read."""
    locator = f"{table}#{row.digest}" if row.digest else table
    return RawSample(locator, kind, reason=row.reason, error=row.error)


def row_locator(table: str, row: Row) -> str:
    """Returns a locator for a row that nothing names: its table and a digest of its values."""
    return f"{table}#{hex_digest(*(f'{name}={row[name]!r}' for name in sorted(row)))}"


def _media_of(value: Any, path: Any) -> tuple[bytes | None, str | bytes]:
    """Returns a row's media as (bytes, path), from its bytes column and its path column.

    Hugging Face stores a struct of `bytes` and `path`. Its path is looked at only where there are
    no bytes: otherwise it is a bare file name, which many rows may share.
    """
    if isinstance(value, dict):
        data = value.get("bytes") or None
        path = value.get("path") if data is None and path is None else path
    else:
        data = value or None
    return data, path if isinstance(path, str | bytes) else plain_id(path)


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, list | dict):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
