"""`mixwright fetch`: tries failed fetches again."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from rich.console import Console

from pipelines import fetch as stage
from pipelines.cli.failures import explained
from pipelines.cli.options import AsJson, WorkUri
from pipelines.engine import LocalEngine
from pipelines.jobs import Settings
from pipelines.progress import make_reporter
from pipelines.recipes import open_release
from schemas import layout


def fetch(
    work: WorkUri,
    retry: Annotated[
        Literal["transient"],
        typer.Option(help="Which failures: `transient`, those that may have passed."),
    ] = "transient",
    as_json: AsJson = False,
) -> None:
    """Fetches again what failed and may succeed by now; no other row is asked for."""
    with explained():
        release = open_release(work)
        reporter = make_reporter(as_json)
        console = Console(highlight=False, soft_wrap=True)
        ran = False
        for job in stage.jobs(release, Settings(note=reporter.note)):
            with reporter.watch("fetch", job):
                LocalEngine().execute(job.build)
            ran = True
        if not ran:
            console.print(f"no {retry} failures are left in {release.folder.uri}", markup=False)
            return
        lock = release.folder.locate(layout.LOCK)
        console.print(f"next      mixwright run {lock} --work {release.folder.uri}", markup=False)
