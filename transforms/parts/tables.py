"""Reads and commits part files: one Parquet a part and family, immutable, highest version wins."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.layout import Part, committed_name, parse_committed
from storage.folders import Folder

ROW_GROUP_ROWS = 16_384
ROW_GROUP_BYTES = 16 << 20
"""A row group holds so many rows, or bytes before compression, at most.

A reader that streams a part holds one group at a time; opening one costs each column some 40 µs.
"""

_DICTIONARY_SHARE = 4
"""Strings are dictionary-encoded where each occurs so many times: others are read faster plain."""

_FOOTERS_AT_ONCE = 16

_COUNTS = b"mixwright.counts"
_SPLITS = b"mixwright.splits"


@dataclass(frozen=True, slots=True)
class PartFile:
    """A committed part file of a family.

    Attributes:
        part: the part.
        version: its version; a family computed from an ingest part has that part's version.
    """

    part: Part
    version: int

    @property
    def name(self) -> str:
        """Name of the file below its family."""
        return committed_name(self.part.stem, self.version)


def part_of(stem: str) -> Part:
    """Returns the part that `<source>/<intake>/<part>` names."""
    source, intake, name = stem.split("/")
    return Part(intake=intake, source=source, name=name)


def list_committed(folder: Folder, prefix: str = "") -> dict[Part, PartFile]:
    """Returns the highest committed version of every part below a family's folder."""
    latest: dict[Part, PartFile] = {}
    for entry in folder.list(prefix):
        parsed = parse_committed(entry.name)
        if parsed is None:
            continue
        file = PartFile(part_of(parsed[0]), parsed[1])
        if file.part not in latest or latest[file.part].version < file.version:
            latest[file.part] = file
    return latest


class KeptSplit(NamedTuple):
    """The kept rows of a part that belong to one split: how many, and their `rows_digest`."""

    samples: int
    digest: str


def encode_table(
    table: pa.Table, counts: dict[str, int], splits: Mapping[str, KeptSplit] | None = None
) -> bytes:
    """Returns the Parquet bytes of a table: equal arguments give equal bytes.

    Args:
        table: the rows.
        counts: small totals to keep in the file's metadata, read back by `read_counts`.
        splits: of a ledger, what is kept by split; read back by `read_notes`.
    """
    metadata = {_COUNTS: json.dumps(counts, sort_keys=True).encode()}
    if splits is not None:
        metadata[_SPLITS] = json.dumps(splits, sort_keys=True).encode()
    sink = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata(metadata),
        sink,
        compression="zstd",
        row_group_size=_group_rows(table),
        use_dictionary=_repetitive(table) or False,
    )
    return sink.getvalue()


def _group_rows(table: pa.Table) -> int:
    """Returns how many rows a row group holds."""
    within_bytes = ROW_GROUP_BYTES * len(table) // max(1, table.nbytes)
    return max(1, min(ROW_GROUP_ROWS, within_bytes))


def _repetitive(table: pa.Table) -> list[str]:
    """Returns the string columns whose values repeat."""
    return [
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if pa.types.is_dictionary(column.type)
        or (
            pa.types.is_string(column.type)
            and pc.count_distinct(column).as_py() * _DICTIONARY_SHARE <= len(column)
        )
    ]


def commit_table(
    folder: Folder,
    file: PartFile,
    table: pa.Table,
    counts: dict[str, int],
    splits: Mapping[str, KeptSplit] | None = None,
) -> bool:
    """Commits a part file; returns False where another worker has committed it before."""
    return folder.create(file.name, encode_table(table, counts, splits))


class Notes(NamedTuple):
    """What `encode_table` kept in the metadata of a Parquet file."""

    counts: dict[str, int]
    splits: dict[str, KeptSplit]


def read_notes(folder: Folder, name: str) -> Notes:
    """Returns the notes of a Parquet file, from its footer alone."""
    with folder.open(name) as handle:
        metadata = pq.read_metadata(handle).metadata or {}
    splits = json.loads(metadata.get(_SPLITS, b"{}"))
    return Notes(
        json.loads(metadata.get(_COUNTS, b"{}")),
        {name: KeptSplit(*one) for name, one in splits.items()},
    )


def read_counts(folder: Folder, name: str) -> dict[str, int]:
    """Returns the totals of a Parquet file, from its footer alone."""
    return read_notes(folder, name).counts


def read_all_notes(folder: Folder, files: Iterable[PartFile]) -> list[Notes]:
    """Returns the notes of many part files, in order; a store with latency is asked in parallel."""
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        return list(pool.map(lambda file: read_notes(folder, file.name), files))


def status_counts(status: pa.ChunkedArray) -> dict[str, int]:
    """Returns the totals of a status column: its rows, and how often each value occurs."""
    found = pc.value_counts(status.drop_null()).to_pylist()
    return {"rows": len(status)} | {one["values"]: one["counts"] for one in found}


def read_table(folder: Folder, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads a Parquet file, or some of its columns, on the calling thread."""
    with folder.open(name) as handle:
        return pq.ParquetFile(handle).read(
            columns=list(columns) if columns is not None else None, use_threads=False
        )


def read_chunks(
    folder: Folder, name: str, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Streams a Parquet file in batches of up to `rows` rows, in order."""
    with folder.open(name) as handle:
        yield from pq.ParquetFile(handle).iter_batches(
            batch_size=rows,
            columns=list(columns) if columns is not None else None,
            use_threads=False,
        )
