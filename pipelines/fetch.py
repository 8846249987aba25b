"""fetch: tries again what failed for a reason that may have passed; a part's next version."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import apache_beam as beam
import pyarrow.compute as pc

from pipelines.ingest import describe_fetches, fetch_into, read_slices, tables_folder
from pipelines.jobs import Job, Settings
from schemas.fetch import Fetch
from transforms.fetch.parts import FetchParts
from transforms.fetch.read import FetchedSource
from transforms.ingest.inputs import rooted
from transforms.ingest.intake import PartTask
from transforms.parts.tables import PartFile, read_table
from transforms.work import Work


def jobs(work: Work, settings: Settings) -> Iterator[Job]:
    """Yields one job for every source and intake that has rows to try again."""
    for source in work.recipe.sources:
        at_root = rooted(source)
        if work.recipe.fetch is None or not isinstance(at_root, FetchedSource):
            continue
        for intake in work.intakes():
            if source.name not in intake.parts:
                continue
            slices = read_slices(work, source.name, intake.name)
            files = [file for file in work.parts(intake) if file.part.source == source.name]
            rows = {file: _count_transient(work, file) for file in files}
            tasks = [PartTask(file, slices[file.part.name]) for file in files if rows[file]]
            if not tasks:
                continue
            build = partial(
                _build,
                work=work,
                source=at_root,
                fetch=work.recipe.fetch,
                intake=intake.name,
                tasks=tasks,
            )
            start = time.monotonic()
            yield Job(f"again {source.name} {intake.name}", build, sum(rows.values()))
            following = [PartFile(one.file.part, one.file.version + 1) for one in tasks]
            for line in describe_fetches(work, following, time.monotonic() - start):
                settings.note("fetch", line)


def _count_transient(work: Work, file: PartFile) -> int:
    """Returns how many rows of a part failed for a reason that may have passed."""
    transient = read_table(work.evidence, file.name, ["transient"])["transient"]
    return int(pc.sum(transient, min_count=0).as_py())


def _build(
    pipeline: beam.Pipeline,
    work: Work,
    source: FetchedSource,
    fetch: Fetch,
    intake: str,
    tasks: list[PartTask],
) -> None:
    into = fetch_into(work, source, fetch, tables_folder(work, source.name, intake))
    pipeline | "Parts" >> beam.Create(tasks) | "Fetch" >> FetchParts(into, again=True)
