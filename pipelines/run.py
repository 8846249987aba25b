"""Runs stages in order, each over what the ones before it have committed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import orjson

from pipelines.engine import LocalEngine
from pipelines.jobs import Settings
from pipelines.progress import Reporter
from pipelines.route import StageOfRoute
from schemas import layout
from storage.folders import Folder
from transforms.parts.tables import list_committed, read_all_notes
from transforms.work import Work


def run_stages(
    work: Work,
    stages: Iterable[StageOfRoute],
    engine: LocalEngine,
    settings: Settings,
    reporter: Reporter,
) -> None:
    """Runs stages; what has been done under the same fingerprint is not done again."""
    for stage in stages:
        start = time.monotonic()
        rows = 0
        ran = False
        for job in stage.jobs(work, settings):
            with reporter.watch(stage.name, job):
                engine.execute(job.build)
            rows += job.rows
            ran = True
        seconds = time.monotonic() - start
        # A run that was cut off, or a recipe that was changed back, leaves all done but the record.
        if ran or not _is_recorded(work, stage):
            record = stage_record(work, stage, rows, seconds)
            work.folder.replace(layout.stage_record(stage.name), record)
        if ran:
            reporter.done(stage.name, rows, seconds)
        else:
            reporter.note(stage.name, "up to date")


def _is_recorded(work: Work, stage: StageOfRoute) -> bool:
    """Returns whether the record of a stage says where its output lies."""
    name = layout.stage_record(stage.name)
    if not work.folder.exists(name):
        return False
    places: dict[str, str] = orjson.loads(work.folder.read(name))["families"]
    return places == _places(work, stage.families(work))


def _places(work: Work, families: dict[str, Folder]) -> dict[str, str]:
    """Returns where families lie, relative to the work directory."""
    top = f"{work.folder.uri}/"
    return {label: folder.uri.removeprefix(top) for label, folder in families.items()}


def stage_record(work: Work, stage: StageOfRoute, rows: int, seconds: float) -> bytes:
    """Returns `runs/<stage>.json`: where the stage's output lies, its counts, and its speed.

    Args:
        work: the work directory.
        stage: the stage that has just run.
        rows: rows that it worked on this time.
        seconds: wall time that it took.
    """
    families = stage.families(work)
    record = {
        "stage": stage.name,
        "families": _places(work, families),
        "counts": {label: count_family(folder) for label, folder in families.items()},
        "rows": rows,
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds, 1) if seconds else None,
    }
    return orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def count_family(folder: Folder) -> Counter[str]:
    """Returns the totals of a family, summed from the footers of its committed files."""
    total: Counter[str] = Counter()
    for notes in read_all_notes(folder, list_committed(folder).values()):
        total.update(notes.counts)
    return total
