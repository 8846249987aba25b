"""Jobs: what a stage asks an engine to run, and what to watch meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pipelines.engine import Build
from storage.folders import Folder
from transforms.parts.tables import PartFile, list_committed


@dataclass(frozen=True)
class Settings:
    """How a run is carried out.

    Attributes:
        threads: decoding threads of a worker; 0 takes one for each core.
        intake: name of the intake that new inputs come in as; empty for the first, or for none
            where one is sealed already.
        note: is told (stage, text) what a person should know.
    """

    threads: int = 0
    intake: str = ""
    note: Callable[[str, str], None] = lambda _stage, _text: None


@dataclass(frozen=True)
class Job:
    """One pipeline of a stage.

    Attributes:
        title: for people: what it does, and to which intake.
        build: adds the steps to a pipeline.
        rows: rows that it works on, as far as known before it starts.
        parts: parts that it commits.
        family: where it commits them; its committed files are the progress.
    """

    title: str
    build: Build
    rows: int = 0
    parts: tuple[PartFile, ...] = field(default=(), repr=False)
    family: Folder | None = None


def missing(family: Folder, parts: Iterable[PartFile]) -> list[PartFile]:
    """Returns the parts that a family does not have yet, in order."""
    present = set(list_committed(family).values())
    return [part for part in parts if part not in present]
