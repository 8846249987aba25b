"""measure: image and text signals, part by part, as columns beside the rows of `ingest`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import apache_beam as beam

from pipelines.jobs import Job, Settings, missing
from storage.folders import Folder
from transforms.measure.images import MeasureImages
from transforms.measure.texts import MeasureTexts
from transforms.parts.tables import PartFile
from transforms.work import Work

FAMILIES = ("measure/image", "measure/text")


def families(work: Work) -> dict[str, Folder]:
    """Returns the folders of what the stage commits."""
    return {family: work.local_family(family) for family in FAMILIES}


def jobs(work: Work, settings: Settings) -> Iterator[Job]:
    """Yields one job for every family that lacks parts."""
    parts = work.parts(*work.intakes())
    for family in FAMILIES:
        folder = work.local_family(family)
        undone = missing(folder, parts)
        if undone:
            build = partial(_build, work=work, settings=settings, family=family, parts=undone)
            rows = sum(part.rows for part in work.number(undone, set()))
            yield Job(family, build, rows, tuple(undone), folder)


def _build(
    pipeline: beam.Pipeline, work: Work, settings: Settings, family: str, parts: list[PartFile]
) -> None:
    spread = pipeline | "Parts" >> beam.Create(parts) | "Spread" >> beam.Reshuffle()
    folder = work.local_family(family)
    if family == "measure/image":
        spread | "Images" >> MeasureImages(
            work.ingest, folder, work.recipe.measure.max_pixels, settings.threads
        )
    else:
        spread | "Texts" >> MeasureTexts(work.ingest, folder)
