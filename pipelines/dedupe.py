"""dedupe: which samples are copies of one another, over all intakes so far."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import apache_beam as beam

from pipelines.jobs import Job, Settings, missing
from storage.folders import Folder
from transforms.counts.keys import partitions_for
from transforms.duplicates.exact import FAMILY, FindExactDuplicates
from transforms.parts.work import NumberedPart
from transforms.work import Work


def families(work: Work) -> dict[str, Folder]:
    """Returns the folders of what the stage commits, by intake."""
    intakes = work.intakes()
    return {
        f"{FAMILY} {intake.name}": work.global_family(FAMILY, work.parts(*intakes[: number + 1]))
        for number, intake in enumerate(intakes)
    }


def jobs(work: Work, settings: Settings) -> Iterator[Job]:
    """Yields one job for every intake that lacks parts.

    It answers for the parts of earlier intakes too: a sample that was alone may have a copy now.
    """
    intakes = work.intakes()
    for number, intake in enumerate(intakes):
        parts = work.parts(*intakes[: number + 1])
        folder = work.global_family(FAMILY, parts)
        undone = missing(folder, parts)
        if undone:
            numbered = work.number(parts, set(undone))
            build = partial(_build, work=work, parts=numbered)
            rows = sum(part.rows for part in numbered)
            yield Job(f"{FAMILY} {intake.name}", build, rows, tuple(undone), folder)


def _build(pipeline: beam.Pipeline, work: Work, parts: list[NumberedPart]) -> None:
    files = [part.file for part in parts]
    (
        pipeline
        | "Parts" >> beam.Create(parts)
        | "Spread" >> beam.Reshuffle()
        | "Exact"
        >> FindExactDuplicates(
            work.ingest,
            work.local_family("measure/image"),
            work.global_family(FAMILY, files),
            partitions_for(sum(part.rows for part in parts)),
            work.recipe.dedupe,
        )
    )
