"""What a person, or a machine, sees while a run goes on."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipelines.jobs import Job
from transforms.parts.heartbeat import rows_done
from transforms.parts.tables import list_committed, read_counts

_POLL_S = 1.0
_NOT_REASONS = ("rows", "ok", "kept")


class Reporter(Protocol):
    """Shows stages as they start, advance and end."""

    def note(self, stage: str, text: str) -> None:
        """Says something about a stage."""
        ...

    def watch(self, stage: str, job: Job) -> AbstractContextManager[None]:
        """Shows the progress of a job while the body runs."""
        ...

    def done(self, name: str, rows: int, seconds: float) -> None:
        """Says that a stage has ended."""
        ...


class Watcher:
    """Polls the committed files of a job: the same on every engine."""

    def __init__(self, stage: str, job: Job) -> None:
        """Starts counting at what this process has done so far."""
        self._stage = stage
        self._job = job
        self._wanted = set(job.parts)
        self._start = time.monotonic()
        self._beats = rows_done(stage)
        self._rows = 0
        self.done = 0
        self.reasons: Counter[str] = Counter()

    def poll(self) -> None:
        """Reads what has been committed since the last poll."""
        if self._job.family is None:
            return
        for file in sorted(
            self._wanted & set(list_committed(self._job.family).values()),
            key=lambda file: file.part,
        ):
            self._wanted.discard(file)
            counts = read_counts(self._job.family, file.name)
            self.done += 1
            self._rows += counts.get("rows", 0)
            self.reasons.update({name: n for name, n in counts.items() if name not in _NOT_REASONS})

    @property
    def rows(self) -> int:
        """Rows worked on so far, as far as this machine can tell."""
        return min(max(self._rows, rows_done(self._stage) - self._beats), self._job.rows)

    @property
    def rate(self) -> float:
        """Rows per second since the job started."""
        return self.rows / max(time.monotonic() - self._start, 1e-9)

    @property
    def top_reasons(self) -> str:
        """The three most frequent reasons so far."""
        return ", ".join(f"{name} {n}" for name, n in self.reasons.most_common(3))


@contextmanager
def watching(watch: Callable[[], None]) -> Iterator[None]:
    """Calls `watch` every second from a thread while the body runs, and once at its end."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(_POLL_S):
            watch()

    thread = threading.Thread(target=loop, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        watch()


class TerminalReporter:
    """Live bars on a terminal."""

    def __init__(self, console: Console) -> None:
        """Draws on `console`."""
        self._console = console

    def note(self, stage: str, text: str) -> None:
        """Prints a line."""
        self._console.print(f"[bold]{stage:8}[/] {text}")

    @contextmanager
    def watch(self, stage: str, job: Job) -> Iterator[None]:
        """Shows parts done, samples per second, time left, and the top reasons."""
        watcher = Watcher(stage, job)
        columns = (
            TextColumn("[bold]{task.fields[stage]:8}[/] {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[reasons]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(
                job.title, total=job.rows or None, stage=stage, rate="", reasons=""
            )

            def show() -> None:
                watcher.poll()
                progress.update(
                    task,
                    completed=watcher.rows,
                    rate=f"{watcher.rate:,.0f}/s",
                    reasons=watcher.top_reasons,
                )

            with watching(show):
                yield

    def done(self, name: str, rows: int, seconds: float) -> None:
        """Prints what the stage did and how fast."""
        self._console.print(
            f"[bold]{name:8}[/] {rows:,} samples in {seconds:.1f} s ({rows / seconds:,.0f}/s)"
        )


class LineReporter:
    """Plain lines, or JSON lines, for pipes and logs."""

    def __init__(self, as_json: bool) -> None:
        """Writes to standard error, so that standard output keeps the result."""
        self._as_json = as_json

    def _say(self, event: str, text: str, **fields: object) -> None:
        line = json.dumps({"event": event, **fields}) if self._as_json else text
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is what it is for

    def note(self, stage: str, text: str) -> None:
        """Writes a line."""
        self._say("note", f"{stage}: {text}", stage=stage, note=text)

    @contextmanager
    def watch(self, stage: str, job: Job) -> Iterator[None]:
        """Writes a line when a job starts, and whenever parts have been committed since."""
        watcher = Watcher(stage, job)
        shown = 0
        self._say(
            "start",
            f"{stage}: {job.title}, {len(job.parts)} parts, {job.rows:,} samples",
            stage=stage,
            title=job.title,
            parts=len(job.parts),
            samples=job.rows,
        )

        def show() -> None:
            nonlocal shown
            watcher.poll()
            if watcher.done > shown:
                shown = watcher.done
                self._say(
                    "progress",
                    f"{stage}: {watcher.done}/{len(job.parts)} parts, {watcher.rate:,.0f} "
                    f"samples/s, {watcher.top_reasons or 'nothing refused'}",
                    stage=stage,
                    parts=watcher.done,
                    of=len(job.parts),
                    samples_per_s=round(watcher.rate, 1),
                    reasons=dict(watcher.reasons),
                )

        with watching(show):
            yield

    def done(self, name: str, rows: int, seconds: float) -> None:
        """Writes what the stage did and how fast."""
        self._say(
            "done",
            f"{name}: {rows:,} samples in {seconds:.1f} s ({rows / seconds:,.0f}/s)",
            stage=name,
            samples=rows,
            seconds=round(seconds, 3),
        )


def make_reporter(as_json: bool) -> Reporter:
    """Returns bars on a terminal, plain lines when piped, JSON lines when asked."""
    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        return LineReporter(as_json)
    return TerminalReporter(console)
