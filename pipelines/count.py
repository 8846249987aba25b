"""count: sharing of images and texts, and n-gram frequencies, over all intakes so far."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import apache_beam as beam

from pipelines.jobs import Job, Settings, missing
from storage.folders import Folder
from transforms.counts.keys import partitions_for
from transforms.counts.ngrams import CountNgrams
from transforms.counts.sharing import CountSharing
from transforms.parts.work import NumberedPart
from transforms.work import Work

FAMILIES = ("count/sharing", "count/ngrams")


def families(work: Work) -> dict[str, Folder]:
    """Returns the folders of what the stage commits, by family and intake."""
    intakes = work.intakes()
    return {
        f"{family} {intake.name}": work.global_family(family, work.parts(*intakes[: number + 1]))
        for number, intake in enumerate(intakes)
        for family in FAMILIES
    }


def jobs(work: Work, settings: Settings) -> Iterator[Job]:
    """Yields one job for every intake and family that lacks parts."""
    intakes = work.intakes()
    for number, intake in enumerate(intakes):
        parts = work.parts(*intakes[: number + 1])
        for family in FAMILIES:
            folder = work.global_family(family, parts)
            undone = missing(folder, work.parts(intake))
            if undone:
                numbered = work.number(parts, set(undone))
                build = partial(_build, work=work, family=family, parts=numbered)
                rows = sum(part.rows for part in numbered)
                yield Job(f"{family} {intake.name}", build, rows, tuple(undone), folder)


def _build(pipeline: beam.Pipeline, work: Work, family: str, parts: list[NumberedPart]) -> None:
    spread = pipeline | "Parts" >> beam.Create(parts) | "Spread" >> beam.Reshuffle()
    folder = work.global_family(family, [part.file for part in parts])
    partitions = partitions_for(sum(part.rows for part in parts))
    if family == "count/sharing":
        spread | "Sharing" >> CountSharing(work.ingest, folder, partitions)
    else:
        count = work.recipe.count
        spread | "Ngrams" >> CountNgrams(
            work.ingest, folder, partitions, count.ngram_vocabulary_size, count.min_ngram_count
        )
