"""How far the route has come in a work directory, under the recipe that it has now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import orjson

from schemas import layout
from schemas.recipe import Mixture
from schemas.shards import Manifest
from storage.folders import Folder
from transforms.parts.tables import PartFile, list_committed
from transforms.shards.commit import committed_names
from transforms.work import Series, Work

_SHARED = ("count/sharing", "count/ngrams", "dedupe/exact")
_LOCAL = ("measure/image", "measure/text")


class State(StrEnum):
    """How far a stage is."""

    DONE = "done"
    PARTIAL = "partial"
    STALE = "stale"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Progress:
    """How much there is of one thing that a stage makes.

    Attributes:
        title: a family, a series of shards, or a mixture.
        intake: the intake that it is of; empty where it is of all.
        done, total: parts, shards, or files.
    """

    title: str
    intake: str
    done: int
    total: int


@dataclass(frozen=True)
class StageState:
    """One stage of the route.

    Attributes:
        stage: its name.
        state: `stale` where what it has made belongs to an earlier recipe, or to fewer inputs.
        progress: of everything that it makes.
        rows, seconds, rows_per_second: of its last run; None where there is no record.
    """

    stage: str
    state: State
    progress: tuple[Progress, ...]
    rows: int | None
    seconds: float | None
    rows_per_second: float | None


def read_states(work: Work) -> list[StageState]:
    """Returns every stage, in the order of the route."""
    intakes = work.intakes()
    parts = [work.parts(intake) for intake in intakes]
    upto = [work.parts(*intakes[: number + 1]) for number in range(len(intakes))]
    everything = upto[-1] if upto else []
    ledgers = work.ledgers()
    listed = [
        Progress("rows", intake.name, len(own), sum(intake.parts.values()))
        for intake, own in zip(intakes, parts, strict=True)
    ]
    local = [_count(family, "", work.local_family(family), everything) for family in _LOCAL]
    shared = {
        family: [
            # Clusters reach over all intakes so far; counts are only asked for by the new one.
            _count(
                family,
                intake.name,
                work.global_family(family, known),
                known if family == "dedupe/exact" else own,
            )
            for intake, own, known in zip(intakes, parts, upto, strict=True)
        ]
        for family in _SHARED
    }
    decided = [
        _count("ledger", intake.name, ledgers[intake.name], own)
        for intake, own in zip(intakes, parts, strict=True)
    ]
    whole = bool(intakes) and all(one.done == one.total for one in decided)
    series = work.series() if whole else []
    shards = [_count_shards(work, one) for one in series]
    sharded = whole and all(one.done == one.total for one in shards)
    mixed = [one for mixture in work.recipe.mixtures for one in _mixture(work, mixture, series)]
    report = Progress("report", "", int(work.folder.exists(layout.REPORT)), 1)
    return [
        _stage(work, "ingest", listed),
        _stage(work, "measure", local, bool(intakes)),
        _stage(work, "count", [*shared["count/sharing"], *shared["count/ngrams"]]),
        _stage(work, "dedupe", shared["dedupe/exact"]),
        _stage(work, "select", decided),
        _stage(work, "shard", shards, whole),
        _stage(work, "mix", mixed, sharded),
        _stage(work, "card", [report], all(one.done == one.total for one in mixed)),
    ]


def next_stage(states: Iterable[StageState]) -> str:
    """Returns the first stage that is not done; empty where all are."""
    return next((one.stage for one in states if one.state is not State.DONE), "")


def _count(title: str, intake: str, folder: Folder, wanted: Sequence[PartFile]) -> Progress:
    present = set(list_committed(folder).values())
    return Progress(title, intake, sum(file in present for file in wanted), len(wanted))


def _count_shards(work: Work, series: Series) -> Progress:
    done, total = len(committed_names(series.folder)), series.shards(work.recipe.shard)
    return Progress(f"{series.source} {series.split}", series.intake, done, total)


def _mixture(work: Work, mixture: Mixture, series: Sequence[Series]) -> Iterator[Progress]:
    """Yields the manifests of a mixture; one counts where it is of this recipe and these shards."""
    names = [layout.manifest(mixture.name)]
    names += [layout.interleaved_manifest(mixture.name)] if mixture.interleave else []
    digest = work.recipe.digest()
    drawn = {one.path for one in series if one.split == mixture.split and one.samples}
    for name in names:
        current = False
        if work.folder.exists(name):
            manifest = Manifest.model_validate_json(work.folder.read(name))
            shards = [shard.path for source in manifest.sources for shard in source.shards]
            folders = {path.rpartition("/")[0] for path in shards}
            of_source = {one.name for one in manifest.sources}
            wanted = {path for path in drawn if path.split("/")[1] in of_source}
            current = manifest.recipe_digest == digest
            current &= manifest.layout == "interleaved" or folders == wanted
        yield Progress(name.removeprefix("mix/"), "", int(current), 1)


def _stage(work: Work, stage: str, progress: Sequence[Progress], ready: bool = True) -> StageState:
    """Returns the state of a stage.

    Args:
        work: the work directory.
        stage: its name.
        progress: of everything that it makes.
        ready: the stages before it are done, so that what it makes can be current.
    """
    name = layout.stage_record(stage)
    record = orjson.loads(work.folder.read(name)) if work.folder.exists(name) else {}
    done, total = sum(one.done for one in progress), sum(one.total for one in progress)
    if ready and progress and done == total:
        state = State.DONE
    elif ready and done:
        state = State.PARTIAL
    else:
        state = State.STALE if record or done else State.NOT_RUN
    return StageState(
        stage=stage,
        state=state,
        progress=tuple(progress),
        rows=record.get("rows"),
        seconds=record.get("seconds"),
        rows_per_second=record.get("rows_per_second"),
    )
