"""Reads JSONL: one object a line, each line on its own."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

import pyarrow as pa

from schemas.reasons import Reason
from transforms.ingest.json_values import parse_json
from transforms.ingest.streams import TextStream
from transforms.ingest.tables import (
    MAX_COLUMNS,
    MAX_ROW_BYTES,
    Format,
    MalformedRow,
    malformed_batch,
    sound_batch,
    transcoded_schema,
)
from transforms.ingest.texts import EXCERPT, excerpt

BATCH_ROWS = 4096
BATCH_BYTES = 16 << 20


class JsonlRows:
    """The rows of a JSONL file; iterate once.

    Attributes:
        format: how the rows are stored.
        schema: of the batches.
        broken: empty: nothing that follows a line depends on it.
    """

    def __init__(self, stream: TextStream) -> None:
        """Reads the lines of `stream`."""
        self.format: Format = "jsonl"
        self.schema = transcoded_schema("jsonl", 0)
        self.broken = ""
        self._names: dict[str, None] = {}
        self._lines = io.BufferedReader(stream, 1 << 20)

    @property
    def columns(self) -> list[str]:
        """Names of the fields of the rows so far, in the order in which they appeared."""
        return list(self._names)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        sound: list[bytes] = []
        malformed: list[MalformedRow] = []
        held = 0
        for line in self._rows():
            if isinstance(line, bytes):
                sound.append(line)
                held += len(line)
            else:
                malformed.append(line)
            if len(sound) + len(malformed) >= BATCH_ROWS or held >= BATCH_BYTES:
                yield from self._batches(sound, malformed)
                sound, malformed, held = [], [], 0
        yield from self._batches(sound, malformed)

    def _batches(
        self, sound: list[bytes], malformed: list[MalformedRow]
    ) -> Iterator[pa.RecordBatch]:
        if sound:
            yield sound_batch(self.schema, [pa.array(sound, pa.large_binary())])
        if malformed:
            yield malformed_batch(self.schema, malformed)

    def _rows(self) -> Iterator[bytes | MalformedRow]:
        """Yields each line that is not blank: as it is, or as a malformed row."""
        while line := self._lines.readline(MAX_ROW_BYTES + 1):
            if len(line) > MAX_ROW_BYTES:
                yield self._overlong(line)
                continue
            line = line.strip()
            if line:
                yield self._checked(line)

    def _checked(self, line: bytes) -> bytes | MalformedRow:
        try:
            value = parse_json(line)
        except ValueError as error:
            problem = f"not JSON ({error})"
        else:
            if isinstance(value, dict):
                if len(self._names) < MAX_COLUMNS:
                    self._names.update(dict.fromkeys(value))
                return line
            problem = f"a {type(value).__name__}, not an object"
        digest = hashlib.blake2b(line, digest_size=16).hexdigest()
        return MalformedRow(Reason.ROW_MALFORMED, f"{problem}: {excerpt(line)}", digest)

    def _overlong(self, line: bytes) -> MalformedRow:
        """Reads the rest of a line that is too long, and forgets it."""
        hasher = hashlib.blake2b(line, digest_size=16)
        size = len(line)
        start = line[: 4 * EXCERPT]
        while line and not line.endswith(b"\n"):
            line = self._lines.readline(MAX_ROW_BYTES)
            hasher.update(line)
            size += len(line)
        error = f"a line of {size} bytes, more than {MAX_ROW_BYTES}: {excerpt(start)}"
        return MalformedRow(Reason.ROW_MALFORMED, error, hasher.hexdigest())
