"""Slices: pieces of a source's input that one worker reads and one part covers.

A slice is a small description that travels as JSON. Its part is named after it, so new inputs leave
the parts of others as they are. The one exception is a folder of images, whose files are dealt out
in runs: a file that is added there moves the runs after it, which is why intakes are sealed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from schemas.digests import canonical_json, hex_digest
from schemas.recipe import Ingest
from schemas.sources import Source, TableSource, TextPairSource, UrlSource
from storage.folders import Entry, Folder
from transforms.ingest.columns import table_columns
from transforms.ingest.inputs import stem
from transforms.ingest.parquet_rows import BrokenFileError, bytes_per_row, open_parquet
from transforms.ingest.sidecars import is_sidecar
from transforms.ingest.tables import Table
from transforms.ingest.transcode import needs_transcoding, transcoded_name

SliceKind = Literal["rows", "tar", "shard", "files"]


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of input.

    Attributes:
        kind: rows of a table; a whole tar or WARC; a shard of img2dataset (Parquet, tar, or both);
            images of a folder with their sidecars, or pages.
        files: the files that it is in, sorted by name.
        start: of a table, its first row; 0 otherwise.
        stop: of a table, the row after its last; 0 where the table cannot be opened.
        table: of a text table, the name of its transcoded Parquet; empty otherwise.
    """

    kind: SliceKind
    files: tuple[Entry, ...]
    start: int = 0
    stop: int = 0
    table: str = ""

    def to_json(self) -> str:
        """Returns the slice as canonical JSON: equal slices give equal text."""
        return canonical_json(
            {
                "kind": self.kind,
                "files": [[file.name, file.size, file.checksum] for file in self.files],
                "start": self.start,
                "stop": self.stop,
                "table": self.table,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Slice:
        """Returns the slice that `to_json` wrote."""
        told: dict[str, Any] = orjson.loads(text)
        return cls(**{**told, "files": tuple(Entry(*file) for file in told["files"])})


def part_name(source: str, intake: str, piece: Slice) -> str:
    """Returns the name of the part that covers a slice: `part-` and 16 hex digits.

    Args:
        source: name of the source.
        intake: name of the sealed intake.
        piece: the slice.
    """
    return f"part-{hex_digest('part', source, intake, piece.to_json(), size=8)}"


def cut_slices(
    folder: Folder,
    source: Source,
    files: Sequence[Entry],
    limits: Ingest,
    tables: Folder | None = None,
) -> Iterator[Slice]:
    """Yields the slices of inputs, which are read no further than their Parquet footers.

    Rows of a table are cut into ranges of at most `part_rows` rows and about `part_bytes` media
    bytes, between row groups where that is possible. Images of a folder are cut likewise. A tar is
    one slice whatever its size, since it is read as a stream; so is a shard of img2dataset.

    Any subset of a source's inputs gives the slices of that subset, but the images of a folder, and
    the Parquet and the tar of an img2dataset shard, belong in one call.

    Args:
        folder: the root of the source.
        source: the source.
        files: its inputs, from `list_inputs`.
        limits: sizes of parts.
        tables: where text tables have been transcoded to, each under its `transcoded_name`.

    Raises:
        SourceError: a table has not the columns that are needed.
    """
    match source.type:
        case "table" | "text_pairs" | "urls":
            for file in files:
                yield from _cut_table(folder, source, file, limits, tables)
        case "webdataset" | "warc":
            for file in files:
                yield Slice("tar", (file,))
        case "img2dataset":
            shards: dict[str, list[Entry]] = {}
            for file in files:
                shards.setdefault(stem(file.name), []).append(file)
            for shard in shards.values():
                yield Slice("shard", tuple(shard))
        case "folder" | "html":
            yield from _cut_folder(files, limits)


def _cut_table(
    folder: Folder,
    source: TableSource | TextPairSource | UrlSource,
    file: Entry,
    limits: Ingest,
    tables: Folder | None,
) -> Iterator[Slice]:
    table = ""
    holder, name = folder, file.name
    if needs_transcoding(file.name):
        if tables is None:
            raise ValueError(f"{file.name}: a text table is sliced after it has been transcoded")
        holder, name = tables, transcoded_name(file)
        table = name
    with holder.open(name) as opened:
        try:
            parquet = open_parquet(opened)
        except BrokenFileError:
            # Its reader says what is wrong with it, in a row of its own.
            yield Slice("rows", (file,))
            return
        columns = Table(parquet, transcoded=bool(table)).columns
        data = ""
        if columns and isinstance(source, TableSource):
            data = table_columns(source, file.name, columns).data
        groups = map(parquet.metadata.row_group, range(parquet.metadata.num_row_groups))
        sizes = [
            (group.num_rows, group.num_rows * bytes_per_row(group, [data])) for group in groups
        ]
    for start, stop in cut_ranges(sizes, limits.part_rows, limits.part_bytes):
        yield Slice("rows", (file,), start, stop, table)


def cut_ranges(
    groups: Sequence[tuple[int, float]], most_rows: int, most_bytes: float
) -> Iterator[tuple[int, int]]:
    """Yields ranges [start, stop) over all rows, each within the limits.

    Row groups are packed whole, in order; one that is too large alone is cut into equal ranges.

    Args:
        groups: rows and bytes of each row group.
        most_rows: limit of rows.
        most_bytes: limit of bytes, which one row may exceed.
    """
    start = stop = 0
    held = 0.0
    for rows, size in groups:
        if rows == 0:
            continue
        if stop > start and (stop - start + rows > most_rows or held + size > most_bytes):
            yield start, stop
            start, held = stop, 0.0
        pieces = min(rows, max(-(-rows // most_rows), math.ceil(size / most_bytes)))
        for number in range(1, pieces):
            yield start, stop + rows * number // pieces
            start = stop + rows * number // pieces
        held += size / pieces
        stop += rows
    if stop > start:
        yield start, stop


def _cut_folder(files: Sequence[Entry], limits: Ingest) -> Iterator[Slice]:
    """Yields runs of images, in the order of their names, each with all of its sidecars."""
    sidecars: dict[str, list[Entry]] = {}
    for file in files:
        if is_sidecar(file.name):
            sidecars.setdefault(stem(file.name), []).append(file)
    run: list[Entry] = []
    held = 0
    for file in files:
        if is_sidecar(file.name):
            continue
        if run and (len(run) >= limits.part_rows or held + file.size > limits.part_bytes):
            yield _run_of(run, sidecars)
            run, held = [], 0
        run.append(file)
        held += file.size
    if run:
        yield _run_of(run, sidecars)


def _run_of(run: Sequence[Entry], sidecars: dict[str, list[Entry]]) -> Slice:
    beside = {entry for file in run for entry in sidecars.get(stem(file.name), [])}
    return Slice("files", tuple(sorted({*run, *beside}, key=lambda entry: entry.name.encode())))
