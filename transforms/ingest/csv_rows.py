"""Reads CSV and TSV with pyarrow's parser, keeping every byte and every row that it refuses."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pc

from schemas.reasons import Reason
from transforms.ingest.inputs import SourceError
from transforms.ingest.tables import (
    MAX_COLUMNS,
    MAX_ROW_BYTES,
    Format,
    MalformedRow,
    malformed_batch,
    sound_batch,
    transcoded_schema,
)
from transforms.ingest.texts import excerpt

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_HEADER_BYTES = 1 << 20

_REFUSED_BATCH_ROWS = 4096
_UNCLOSED = "a quote is opened and never closed"
_END = b"\0mixwright: end of table\0"
"""A last row of our own: if it is not read as such, a quote before it was never closed."""


class CsvRows:
    """The rows of a CSV or TSV file; iterate once. Malformed rows come after the others.

    Quotes are `"`, doubled within quotes. A field is the bytes between its delimiters, quotes taken
    off; whether they are text is not looked at. Blank lines are no rows.

    Attributes:
        format: how the rows are stored.
        schema: of the batches.
        columns: names in the header; empty where there is no header.
        broken: why the rest of the file could not be parsed; empty where it could.
    """

    def __init__(self, stream: io.RawIOBase, delimiter: str, label: str) -> None:
        """Reads the header.

        Args:
            stream: the file.
            delimiter: what is between fields.
            label: the file, for messages.

        Raises:
            SourceError: the first line cannot be a header.
        """
        self.format: Format = "csv"
        self.broken = ""
        self._delimiter = delimiter
        self._lines = io.BufferedReader(stream, 1 << 20)
        self.columns = _read_header(self._lines, delimiter, label)
        self.schema = transcoded_schema("csv", len(self.columns))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if not self.columns:
            return
        with tempfile.SpooledTemporaryFile(max_size=8 << 20) as spool:
            refused = _Refused(spool)
            held: list[pa.Array] = []
            for batch in self._parsed(refused):
                if held:
                    yield sound_batch(self.schema, held)
                held = [_as_received(column) for column in batch.columns]
            if held:
                yield sound_batch(self.schema, _without_end(held, refused))
            yield from refused.batches(self.schema)

    def _parsed(self, refused: _Refused) -> Iterator[pa.RecordBatch]:
        names = [str(number) for number in range(len(self.columns))]
        try:
            reader = pc.open_csv(
                _WithEnd(self._lines),
                # One thread: rows come, and are refused, in the order of the file. The parser shows
                # us refused rows as text, which any bytes are in Latin-1.
                pc.ReadOptions(
                    column_names=names,
                    block_size=MAX_ROW_BYTES,
                    use_threads=False,
                    encoding="latin1",
                ),
                pc.ParseOptions(
                    delimiter=self._delimiter,
                    newlines_in_values=True,
                    invalid_row_handler=refused.add,
                ),
                pc.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.binary()),
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )
            while True:
                yield reader.read_next_batch()
        except StopIteration:
            return
        except pa.ArrowInvalid as error:
            self.broken = (
                f"a row is longer than {MAX_ROW_BYTES} bytes, or a quote is never closed ({error})"
            )


class _Refused:
    """Rows that the parser refuses, on disk until the others are written."""

    def __init__(self, spool: tempfile.SpooledTemporaryFile[bytes]) -> None:
        self._spool = spool

    def add(self, row: pc.InvalidRow) -> str:
        """Keeps a row; what pyarrow calls with each that it refuses."""
        data = row.text.encode("latin-1")
        swallowed = _before_end(data)
        if swallowed is None:
            self.keep(f"{row.actual_columns} columns instead of {row.expected_columns}", data)
        elif swallowed:
            self.keep(_UNCLOSED, swallowed)
        return "skip"

    def keep(self, problem: str, data: bytes) -> None:
        """Keeps a row with what is wrong with it."""
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        self._spool.write(orjson.dumps([f"{problem}: {excerpt(data)}", digest]) + b"\n")

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yields what was kept as malformed rows."""
        self._spool.seek(0)
        while lines := list(itertools.islice(self._spool, _REFUSED_BATCH_ROWS)):
            told = (orjson.loads(line) for line in lines)
            rows = [MalformedRow(Reason.ROW_MALFORMED, error, digest) for error, digest in told]
            yield malformed_batch(schema, rows)


class _WithEnd(io.RawIOBase):
    """A stream, then a line break and `_END`."""

    def __init__(self, stream: io.BufferedReader[io.RawIOBase]) -> None:
        self._stream = stream
        self._end = io.BytesIO(b"\n" + _END + b"\n")

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills `buffer`; returns the bytes, 0 at the end."""
        return self._stream.readinto(buffer) or self._end.readinto(buffer)


def _read_header(lines: io.BufferedReader[io.RawIOBase], delimiter: str, label: str) -> list[str]:
    """Returns the names in the first line that is not blank; none where there is no such line."""
    header = b""
    while line := lines.readline(MAX_HEADER_BYTES + 1):
        header = (header + line) if header.strip() else line
        if len(header) > MAX_HEADER_BYTES:
            raise SourceError(
                f"{label}: the first line is longer than {MAX_HEADER_BYTES} bytes; it must name "
                "the columns, and lines must end in LF or CRLF"
            )
        if header.strip() and header.count(b'"') % 2 == 0:
            break
    if header.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(f"{label}: the file is UTF-16; convert it to UTF-8")
    text = header.decode("utf-8", "backslashreplace").strip("\r\n")
    try:
        names = next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise SourceError(
            f"{label}: the first line cannot be read as names of columns ({error}); write one, "
            "with quotes closed and lines that end in LF or CRLF"
        ) from error
    if len(names) > MAX_COLUMNS:
        raise SourceError(f"{label}: {len(names)} columns, more than {MAX_COLUMNS}; drop some")
    return names


def _as_received(column: pa.Array) -> pa.Array:
    """Returns the bytes of a column that was parsed as Latin-1 and stored as UTF-8."""
    _, offsets_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32, len(column) + 1, 4 * column.offset)
    data = bytes(data_buffer[offsets[0] : offsets[-1]]) if data_buffer else b""
    if data.isascii():
        return column
    # A character of Latin-1 is one byte that was received, and two at most in UTF-8.
    is_start = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
    received = np.zeros(len(data) + 1, np.int32)
    np.cumsum(is_start, out=received[1:])
    return pa.Array.from_buffers(
        pa.binary(),
        len(column),
        [
            None,
            pa.py_buffer(received[offsets - offsets[0]]),
            pa.py_buffer(data.decode().encode("latin-1")),
        ],
    )


def _without_end(columns: list[pa.Array], refused: _Refused) -> list[pa.Array]:
    """Returns the last rows without our own, and without a row that swallowed it."""
    cells = [column[-1].as_py() for column in columns]
    row = _before_end(b",".join(cells))
    if row is None:
        return columns
    if row:
        refused.keep(_UNCLOSED, row)
    return [column.slice(0, len(column) - 1) for column in columns]


def _before_end(row: bytes) -> bytes | None:
    """Returns what a row that ends in our own last row begins with; None for any other row."""
    row = row.removesuffix(b"\n")
    return row.removesuffix(_END).removesuffix(b"\n") if row.endswith(_END) else None
