"""Reads rows of a table as text pairs: a query, a passage, and negatives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.digests import hex_digest
from schemas.samples import Kind, RawSample, RawText, TextRole
from transforms.ingest.columns import TableColumns
from transforms.ingest.fields import as_texts, read_record
from transforms.ingest.json_values import parse_json
from transforms.ingest.parquet_rows import Row
from transforms.ingest.rows import malformed_sample, plain_id, row_locator
from transforms.ingest.tables import MalformedRow


@dataclass(frozen=True, slots=True)
class TextPairReader:
    """What a row of one table of text pairs is read with.

    Attributes:
        table: name of the table, relative to the root of the source.
        columns: which column is what.
    """

    table: str
    columns: TableColumns

    def samples(self, rows: Iterator[list[Row | MalformedRow]]) -> Iterator[RawSample]:
        """Yields the sample of each row.

        A locator is the id of the row; else a digest of its query and passage; else the table and a
        digest of the row.
        """
        for batch in rows:
            for row in batch:
                if isinstance(row, MalformedRow):
                    yield malformed_sample(self.table, row, Kind.TEXT_PAIR)
                else:
                    yield self._sample(row)

    def _sample(self, row: Row) -> RawSample:
        record = read_record(row, self.columns.fields)
        texts = tuple(one for text in record.texts for one in _negatives(text))
        pair = [text.text for text in texts if text.role is not TextRole.NEGATIVE]
        locator = (
            f"pair:{hex_digest(*map(_as_bytes, pair))}" if pair else row_locator(self.table, row)
        )
        return RawSample(
            locator=plain_id(row.get(self.columns.id)) or locator,
            kind=Kind.TEXT_PAIR,
            texts=texts,
            licence=record.licence,
            attribution=record.attribution,
            meta=record.meta,
        )


def _negatives(text: RawText) -> Iterator[RawText]:
    """Yields a text; where it is negatives written as a JSON list, each of them."""
    data = _as_bytes(text.text).strip()
    if text.role is TextRole.NEGATIVE and data.startswith(b"["):
        try:
            listed = list(as_texts(parse_json(data)))
        except ValueError:
            # A passage may begin with a bracket.
            listed = [text.text]
        yield from (RawText(text.role, one, text.lang) for one in listed)
    else:
        yield text


def _as_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
