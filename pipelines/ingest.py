"""ingest: inputs come in as sealed intakes, cut into parts; every input gets one row."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial

import apache_beam as beam
import pyarrow as pa

from pipelines.jobs import Job, Settings
from schemas import layout
from schemas.fetch import Fetch
from schemas.layout import Part
from schemas.sources import Source
from schemas.tables import PARTS
from storage.folders import Entry, Folder, open_folder
from transforms.fetch.diagnosis import FetchTotals, describe
from transforms.fetch.evidence import read_totals
from transforms.fetch.parts import FetchInto, FetchParts
from transforms.fetch.read import FetchedSource
from transforms.ingest.inputs import SourceError, list_inputs, rooted
from transforms.ingest.intake import (
    DescribeInputs,
    PartTask,
    TakeIn,
    needs_description,
    read_description,
)
from transforms.ingest.slices import Slice, cut_slices, part_name
from transforms.parts.tables import PartFile, encode_table, list_committed, read_table
from transforms.work import Intake, Work

FIRST_INTAKE = "i0"


def families(work: Work) -> dict[str, Folder]:
    """Returns the folder of what the stage commits."""
    return {"ingest": work.ingest}


def jobs(work: Work, settings: Settings) -> Iterator[Job]:
    """Seals the intake that is asked for, then yields one job for every source that lacks parts."""
    intakes = work.intakes()
    sealed = [intake.name for intake in intakes]
    _check_settings(work, intakes)
    name = settings.intake or (sealed[-1] if sealed else FIRST_INTAKE)
    new = {source.name: _new_inputs(work, source) for source in work.recipe.sources}
    files = sum(map(len, new.values()))
    if name not in sealed and files:
        yield from _seal(work, len(intakes), name, new)
    elif name not in sealed:
        settings.note("ingest", f"no new inputs for intake {name}")
    elif files:
        settings.note(
            "ingest",
            f"{files:,} files have come since intake {sealed[-1]} was sealed and are left out; "
            "take them in with --intake NAME",
        )
    for intake in work.intakes():
        yield from _take_in(work, intake, settings)


def _check_settings(work: Work, intakes: list[Intake]) -> None:
    """Checks that sealed intakes were taken in under the settings of this recipe."""
    for source in work.recipe.sources:
        for intake in intakes:
            before = intake.settings.get(source.name)
            if before not in (None, work.source_settings(source)):
                raise SourceError(
                    f"source {source.name!r} was taken into {work.folder.uri} (intake "
                    f"{intake.name}) under other settings of [[sources]] or [ingest]; restore "
                    "them, rename the source, or choose another work directory with --work"
                )


def _new_inputs(work: Work, source: Source) -> list[Entry]:
    """Returns the files of a source that no sealed intake has."""
    known = {
        (file.name, file.size)
        for intake in work.intakes()
        if source.name in intake.parts
        for piece in read_slices(work, source.name, intake.name).values()
        for file in Slice.from_json(piece).files
    }
    at_root = rooted(source)
    files = list_inputs(open_folder(at_root.path), at_root)
    return [file for file in files if (file.name, file.size) not in known]


def read_slices(work: Work, source: str, intake: str) -> dict[str, str]:
    """Returns the slices of a sealed intake by part name."""
    table = read_table(work.folder, layout.parts_table(source, intake))
    return dict(zip(table["part"].to_pylist(), table["slice"].to_pylist(), strict=True))


def tables_folder(work: Work, source: str, intake: str) -> Folder:
    """Returns the folder of the transcoded text tables of a source's intake."""
    return work.ingest.child(f"{source}/{intake}/tables")


def _inputs(work: Work, source: str, intake: str) -> Folder:
    return work.ingest.child(f"{source}/{intake}/inputs")


def _seal(work: Work, number: int, name: str, new: dict[str, list[Entry]]) -> Iterator[Job]:
    """Describes and slices the new inputs of all sources; the seal is the last file written.

    Another run may do the same at the same time: whoever seals first is adopted.
    """
    sources = [rooted(source) for source in work.recipe.sources if new[source.name]]
    for source in sources:
        undescribed = [file for file in new[source.name] if needs_description(source, file)]
        if undescribed:
            describe = DescribeInputs(
                source,
                _inputs(work, source.name, name),
                tables_folder(work, source.name, name),
                work.recipe.ingest.part_rows,
            )
            build = partial(_build_description, files=undescribed, describe=describe)
            yield Job(f"look at {source.name}", build, len(undescribed))
    parts = {source.name: _cut(work, source, name, new[source.name]) for source in sources}
    settings = {
        source.name: work.source_settings(work.recipe.source(source.name)) for source in sources
    }
    intake = Intake(number, name, settings, parts)
    if not work.folder.create(layout.intake_record(number), intake.to_bytes()):
        sealed = work.intakes()[number].name
        if sealed != name:
            raise SourceError(
                f"another run sealed the intake {sealed} while {name} was looked at; run again"
            )


def _build_description(
    pipeline: beam.Pipeline, files: list[Entry], describe: DescribeInputs
) -> None:
    pipeline | "Files" >> beam.Create(files) | "Describe" >> describe


def _cut(work: Work, source: Source, intake: str, files: list[Entry]) -> int:
    """Commits the table of parts of a source; returns how many there are."""
    inputs = _inputs(work, source.name, intake)
    described = [
        read_description(inputs, file) if needs_description(source, file) else file
        for file in files
    ]
    pieces = sorted(
        (part_name(source.name, intake, piece), piece.to_json())
        for piece in cut_slices(
            open_folder(source.path),
            source,
            described,
            work.recipe.ingest,
            tables_folder(work, source.name, intake),
        )
    )
    table = pa.table(
        {
            "part": [part for part, _ in pieces],
            "source": [source.name] * len(pieces),
            "intake": [intake] * len(pieces),
            "slice": [piece for _, piece in pieces],
        },
        schema=PARTS,
    )
    name = layout.parts_table(source.name, intake)
    work.folder.create(name, encode_table(table, {"rows": len(table)}))
    return len(read_slices(work, source.name, intake))


def _take_in(work: Work, intake: Intake, settings: Settings) -> Iterator[Job]:
    for name in sorted(intake.parts):
        present = list_committed(work.ingest, f"{name}/{intake.name}/")
        tasks = [
            PartTask(PartFile(part, 1), piece)
            for stem, piece in read_slices(work, name, intake.name).items()
            if (part := Part(intake.name, name, stem)) not in present
        ]
        if tasks:
            rows = sum(_rows(task) for task in tasks)
            build = partial(_build, work=work, intake=intake.name, source=name, tasks=tasks)
            files = tuple(task.file for task in tasks)
            start = time.monotonic()
            yield Job(f"{name} {intake.name}", build, rows, files, work.ingest)
            for line in describe_fetches(work, files, time.monotonic() - start):
                settings.note("ingest", line)


def _rows(task: PartTask) -> int:
    """Returns the rows of a task, as far as its slice says; for progress."""
    piece = Slice.from_json(task.slice)
    return piece.stop - piece.start or len(piece.files)


def _build(
    pipeline: beam.Pipeline, work: Work, intake: str, source: str, tasks: list[PartTask]
) -> None:
    recipe = work.recipe
    at_root = rooted(recipe.source(source))
    tables = tables_folder(work, source, intake)
    started = pipeline | "Parts" >> beam.Create(tasks)
    if recipe.fetch is not None and isinstance(at_root, FetchedSource):
        started | "Fetch" >> FetchParts(fetch_into(work, at_root, recipe.fetch, tables))
    else:
        started | "TakeIn" >> TakeIn(at_root, recipe.ingest, recipe.measure, work.ingest, tables)


def describe_fetches(work: Work, files: Iterable[PartFile], seconds: float) -> list[str]:
    """Returns lines about the fetches of parts; none where nothing was fetched."""
    totals = sum(
        (
            read_totals(read_table(work.evidence, file.name))
            for file in files
            if work.evidence.exists(file.name)
        ),
        FetchTotals(),
    )
    return describe(totals, seconds) if totals.rows else []


def fetch_into(work: Work, source: FetchedSource, fetch: Fetch, tables: Folder) -> FetchInto:
    """Returns where a source's fetched parts come from and go to."""
    recipe = work.recipe
    return FetchInto(
        source, recipe.ingest, recipe.measure, fetch, work.ingest, tables, work.evidence
    )
