"""The route: every stage of the product, in order. Who reads this page knows the whole of it.

ingest  ─► measure ─► count ─► dedupe ─► select ─► shard ─► mix ─► card
pairs      image +    sharing,  copies    ledger    tars     mani-  report
texts      text       n-grams             kept or            fests
           signals    (global)            dropped
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipelines import card, count, dedupe, ingest, measure, mix, select, shard
from pipelines.jobs import Job, Settings
from storage.folders import Folder
from transforms.work import Work


@dataclass(frozen=True)
class StageOfRoute:
    """One stage.

    Attributes:
        name: names the stage on the command line; its module in `pipelines` has the same name.
        promise: what is true once it has run.
        jobs: yields the pipelines that it still has to run, each after the one before has ended.
        families: folders of the part files that it commits, by label.
    """

    name: str
    promise: str
    jobs: Callable[[Work, Settings], Iterator[Job]]
    families: Callable[[Work], dict[str, Folder]]


ROUTE: tuple[StageOfRoute, ...] = (
    StageOfRoute(
        "ingest",
        "Every input has one row, and its media are stored once.",
        ingest.jobs,
        ingest.families,
    ),
    StageOfRoute(
        "measure",
        "Every row has its image and text signals.",
        measure.jobs,
        measure.families,
    ),
    StageOfRoute(
        "count",
        "Every row knows how widely its image, its text and its words are shared.",
        count.jobs,
        count.families,
    ),
    StageOfRoute(
        "dedupe",
        "Every row knows which others are copies of it.",
        dedupe.jobs,
        dedupe.families,
    ),
    StageOfRoute(
        "select",
        "Every row is kept, or dropped by a named rule: the ledger.",
        select.jobs,
        select.families,
    ),
    StageOfRoute(
        "shard",
        "Every kept sample is in a WebDataset tar.",
        shard.jobs,
        shard.families,
    ),
    StageOfRoute("mix", "Every mixture has a manifest.", mix.jobs, mix.families),
    StageOfRoute("card", "The release can be looked at.", card.jobs, card.families),
)

STAGES: dict[str, StageOfRoute] = {stage.name: stage for stage in ROUTE}


def between(first: str, last: str) -> tuple[StageOfRoute, ...]:
    """Returns the stages from `first` to `last`, both included; empty names mean the ends."""
    names = [stage.name for stage in ROUTE]
    start = names.index(first) if first else 0
    stop = names.index(last) if last else len(names) - 1
    return ROUTE[start : stop + 1]
