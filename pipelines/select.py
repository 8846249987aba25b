"""select: which samples are kept, and the ledger that says why each of the others is not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import apache_beam as beam

from pipelines.jobs import Job, Settings, missing
from storage.folders import Folder
from transforms.counts.keys import partitions_for
from transforms.decisions.cuts import freeze_cuts, read_cuts
from transforms.decisions.select import DecideParts, Selection
from transforms.parts.work import NumberedPart
from transforms.work import Work


def families(work: Work) -> dict[str, Folder]:
    """Returns the folders of what the stage commits, by intake."""
    return {f"ledger {intake}": folder for intake, folder in work.ledgers().items()}


def jobs(work: Work, settings: Settings) -> Iterator[Job]:
    """Yields one job for every intake that lacks ledgers."""
    intakes = work.intakes()
    ledgers = work.ledgers()
    families = {
        intake.name: work.families(work.parts(*intakes[: number + 1]))
        for number, intake in enumerate(intakes)
    }
    for number, intake in enumerate(intakes):
        undone = missing(ledgers[intake.name], work.parts(intake))
        if undone:
            # Rows compete with one another, so an intake is decided whole or not at all.
            parts = work.number(work.parts(*intakes[: number + 1]), set(work.parts(intake)))
            frozen = freeze_cuts(read_cuts(ledgers[intakes[0].name])) if number else ()
            columns = {
                name: one.with_clusters_of(families[intake.name]) for name, one in families.items()
            }
            selection = Selection(work.recipe, intake.name, columns, work.folder, ledgers, frozen)
            build = partial(_build, selection=selection, parts=parts)
            rows = sum(part.rows for part in parts)
            yield Job(f"ledger {intake.name}", build, rows, tuple(undone), ledgers[intake.name])


def _build(pipeline: beam.Pipeline, selection: Selection, parts: list[NumberedPart]) -> None:
    (
        pipeline
        | "Parts" >> beam.Create(parts)
        | "Spread" >> beam.Reshuffle()
        | "Decide" >> DecideParts(selection, partitions_for(sum(part.rows for part in parts)))
    )
