"""Parts of `ingest`: all of them are there, and ids and digests follow from what their rows say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any

import pyarrow.parquet as pq

from schemas import layout
from schemas.digests import sample_id
from schemas.samples import Kind, RawSample
from schemas.tables import INGEST
from storage.folders import Folder
from transforms.ingest.commit import row_digest
from transforms.parts.tables import PartFile, read_chunks, read_counts, read_table
from transforms.verifying.ahead import map_ahead
from transforms.verifying.findings import Check, Problem, Tally
from transforms.work import Intake, Work

CHUNK_ROWS = 2048

_RESTORE = "restore the file; ingest is never written twice"
_COLUMNS = [
    name if name != "media" else "media.list.element.media_id"
    for name in INGEST.names
    if name != "error"
]
_TEXT_FIELDS = ("role", "text", "lang")


def check_rows(work: Work, intakes: Iterable[Intake], pool: Executor) -> tuple[Tally, Counter[str]]:
    """Checks the parts of sealed intakes and their rows.

    Returns:
        The counts of `Check.ROWS`; the rows of each source, as counted.
    """
    tally, inputs = Tally(), Counter[str]()
    files: list[PartFile] = []
    for intake in intakes:
        files += _check_parts(work, intake, tally)
    check = partial(_check_file, work.ingest)
    for file, (rows, one) in zip(files, map_ahead(pool, check, files), strict=True):
        inputs[file.part.source] += rows
        tally.add(one)
    return tally, inputs


def _check_parts(work: Work, intake: Intake, tally: Tally) -> list[PartFile]:
    """Checks that the parts of an intake are those that its seal and its tables name."""
    committed = {file.part.stem: file for file in work.parts(intake)}
    listed: set[str] = set()
    for source, parts in intake.parts.items():
        name = layout.parts_table(source, intake.name)
        at = work.folder.locate(name)
        with tally.reading(Check.ROWS, at, _RESTORE):
            table = read_table(work.folder, name, ["part"])
            stems = {f"{source}/{intake.name}/{part}" for part in table["part"].to_pylist()}
            listed |= stems
            if len(table) != parts or len(stems) != parts:
                found = f"lists {len(stems)} parts in {len(table)} rows"
                tally.bad(Check.ROWS, Problem(at, found, f"{parts}, as the seal says", _RESTORE))
    for stem in sorted(listed - committed.keys()):
        at = work.ingest.locate(layout.committed_name(stem, 1))
        tally.bad(Check.ROWS, Problem(at, "is missing", "a part of a sealed intake", _RESTORE))
    for stem in sorted(committed.keys() - listed):
        at = work.ingest.locate(committed[stem].name)
        remedy = "move it away: it was never part of the intake"
        tally.bad(Check.ROWS, Problem(at, "is in no table of parts", "a listed part", remedy))
    return [committed[stem] for stem in sorted(committed.keys() & listed)]


def _check_file(ingest: Folder, file: PartFile) -> tuple[int, Tally]:
    tally, rows = Tally(), 0
    at = ingest.locate(file.name)

    def bad(found: str, expected: str) -> None:
        tally.bad(Check.ROWS, Problem(at, found, expected, _RESTORE))

    with tally.reading(Check.ROWS, at, _RESTORE):
        with ingest.open(file.name) as handle:
            schema = pq.read_schema(handle)
        if not schema.equals(INGEST):
            bad(f"has the columns {', '.join(schema.names)}", f"those of ingest: {INGEST.names}")
            return rows, tally
        for chunk in read_chunks(ingest, file.name, CHUNK_ROWS, _COLUMNS):
            for row in chunk.to_pylist():
                problem = _wrong(row, file.part.source)
                if problem is None:
                    tally.good(Check.ROWS)
                else:
                    bad(f"row {rows} ({row['locator']!r}) has {problem[0]}", problem[1])
                rows += 1
        stated = read_counts(ingest, file.name).get("rows")
        if stated != rows:
            bad(f"holds {rows} rows", f"{stated}, as its footer says")
    return rows, tally


def _wrong(row: Mapping[str, Any], source: str) -> tuple[str, str] | None:
    """Returns (found, expected) where a row's id or digest is not that of what it says."""
    if row["source"] != source:
        return f"the source {row['source']!r}", repr(source)
    # Ids of rows without a stored text were made from bytes that nothing keeps.
    if row["text"] is not None:
        wanted = sample_id(source, row["locator"], row["text"])
        if row["sample_id"] != wanted:
            return f"the sample_id {row['sample_id']}", f"{wanted}, by its source, locator and text"
    media = [one["media_id"] for one in row["media"]]
    texts = [{name: text[name] for name in _TEXT_FIELDS} for text in row["texts"]]
    said = RawSample(
        row["locator"],
        Kind(row["kind"]),
        licence=row["licence"],
        attribution=row["attribution"],
    )
    wanted = row_digest(said, media, texts, row["meta"], row["status"])
    if row["row_digest"] != wanted:
        return f"the row_digest {row['row_digest']}", f"{wanted}, by what the row says"
    return None
