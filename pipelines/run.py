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
        if ran:
            record = stage_record(work, stage, rows, seconds)
            work.folder.replace(layout.stage_record(stage.name), record)
            reporter.done(stage.name, rows, seconds)
        else:
            reporter.note(stage.name, "up to date")


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
        "families": {
            label: folder.uri.removeprefix(f"{work.folder.uri}/")
            for label, folder in families.items()
        },
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
