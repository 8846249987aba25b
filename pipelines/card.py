"""card: the report that people open."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.cards.report import build_report
from pipelines.jobs import Job, Settings
from schemas import layout
from storage.folders import Folder
from transforms.work import Work


def families(work: Work) -> dict[str, Folder]:
    """Returns nothing: the report is no column family."""
    return {}


def jobs(work: Work, settings: Settings) -> Iterator[Job]:
    """Writes the report; there is no pipeline to run."""
    page = build_report(work)
    if not work.folder.exists(layout.REPORT) or work.folder.read(layout.REPORT) != page:
        work.folder.replace(layout.REPORT, page)
    yield from ()
