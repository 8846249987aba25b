"""The story of one input: what it is, what every rule made of it, and where it is now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import layout
from schemas.keep import Quantile
from schemas.reasons import OK
from schemas.recipe import Rule
from schemas.signals import SIGNALS_BY_NAME
from storage.folders import Folder
from transforms.decisions.columns import stored_numbers
from transforms.decisions.cuts import read_cuts
from transforms.decisions.quantiles import Cut
from transforms.decisions.refusals import Verdict
from transforms.decisions.rules import decide_rows
from transforms.looking.rows import READS_AT_ONCE, RowPlace, find_equal
from transforms.parts.tables import list_committed, read_table
from transforms.shards.commit import committed_names
from transforms.work import Work

Value = str | float | int | bool | None


@dataclass(frozen=True)
class RuleStory:
    """What one rule makes of the sample, whether or not an earlier one has dropped it.

    Attributes:
        number: position in the rule list, from 0.
        reason, signal, keep: of the rule.
        value: stored value of the signal; None where it does not apply.
        unit: of the signal.
        cut: for a quantile rule, the value of the last row that it keeps.
        outcome: `pass`, `drop`, `other source`, or `not applicable` (the signal is null).
    """

    number: int
    reason: str
    signal: str
    keep: str
    value: Value
    unit: str
    cut: float | None
    outcome: str


@dataclass(frozen=True)
class ShardPlace:
    """Where a sample is in the shards.

    Attributes:
        tar: path of the tar, relative to the work directory.
        members: name, offset and length in bytes, of each member.
    """

    tar: str
    members: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class ClusterMember:
    """Another row of the sample's duplicate cluster.

    Attributes:
        sample_id, source, locator: which.
        decision: `kept`, or why it was dropped.
        place: where its row is.
    """

    sample_id: str
    source: str
    locator: str
    decision: str
    place: RowPlace


@dataclass(frozen=True)
class Story:
    """Everything that is known of one row of `ingest`.

    Attributes:
        ingest: the columns of `ingest`, `meta` parsed.
        place: where its row is.
        decision: the columns of the ledger; None where `select` has not run.
        rules: what each rule makes of it; empty where it was not measured.
        cluster: other members of its duplicate cluster.
        shard: where it is in the shards; None where it is in none (yet).
        event: why it was left out of its shard after it was kept; empty where it was not.
    """

    ingest: dict[str, Any]
    place: RowPlace
    decision: dict[str, Any] | None
    rules: tuple[RuleStory, ...]
    cluster: tuple[ClusterMember, ...]
    shard: ShardPlace | None
    event: str

    @property
    def sample_id(self) -> str:
        """Its id."""
        return str(self.ingest["sample_id"])

    @property
    def intake(self) -> str:
        """Name of the intake that it came in with."""
        return self.place.file.part.intake

    @property
    def reason(self) -> str:
        """Why it was dropped; empty where it was not, or not yet."""
        return str((self.decision or {}).get("reason") or "")


def tell(work: Work, place: RowPlace) -> Story:
    """Returns the story of a row, as far as the route has been run."""
    file, row = place.file, place.row
    values = read_table(work.ingest, file.name).slice(row, 1).to_pylist()[0]
    values["meta"] = json.loads(values["meta"] or "{}")
    ledger = work.ledgers()[file.part.intake]
    decision: dict[str, Any] | None = None
    rules: tuple[RuleStory, ...] = ()
    shard, event = None, ""
    if file in list_committed(ledger, file.part.stem).values():
        decision = read_table(ledger, file.name).slice(row, 1).to_pylist()[0]
        rules = tuple(_read_rules(work, place))
        if decision["split"] is not None:
            shard, event = _find_in_shards(work, place, values["sample_id"], decision["split"])
    return Story(
        ingest=values,
        place=place,
        decision=decision,
        rules=rules,
        cluster=tuple(_read_cluster(work, place, decision)),
        shard=shard,
        event=event,
    )


def read_row(work: Work, place: RowPlace) -> pa.Table:
    """Returns the columns that rules and preferences look at, of one row."""
    intakes = work.intakes()
    names = [intake.name for intake in intakes]
    known = intakes[: names.index(place.file.part.intake) + 1]
    families = work.families(work.parts(*known))
    return families.read(place.file, work.recipe, media=False).slice(place.row, 1)


def _read_rules(work: Work, place: RowPlace) -> Iterator[RuleStory]:
    """Yields what each rule makes of a row, as if no other had dropped it."""
    recipe = work.recipe
    table = read_row(work, place)
    for name in ("status", "image_status"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.array([OK], pa.string()))
    cuts = iter(read_cuts(work.ledgers()[place.file.part.intake]))
    for number, rule in enumerate(recipe.select.rules):
        cut = next(cuts) if isinstance(rule.parsed, Quantile) else None
        value = _value(table, rule)
        yield RuleStory(
            number=number,
            reason=str(rule.reason),
            signal=rule.signal,
            keep=rule.keep,
            value=value,
            unit=SIGNALS_BY_NAME[rule.signal].unit if rule.signal else "",
            cut=cut.value if cut else None,
            outcome=_outcome(table, rule, recipe.seed, value, cut, place.file.part.source),
        )


def _value(table: pa.Table, rule: Rule) -> Value:
    """Returns what a rule compares."""
    if not rule.signal:
        return None
    array = table[rule.signal].combine_chunks()
    if array.null_count or pa.types.is_string(array.type) or pa.types.is_boolean(array.type):
        value: Value = array[0].as_py()
        return value
    number: float | int = stored_numbers(array)[0].item()
    return number


def _outcome(
    table: pa.Table, rule: Rule, seed: int, value: Value, cut: Cut | None, source: str
) -> str:
    if rule.sources and source not in rule.sources:
        return "other source"
    if rule.signal and value is None:
        return "not applicable"
    nobody = np.zeros(1, dtype=np.bool_)
    verdict = decide_rows(table, [rule], seed, nobody, nobody, (cut,))[0]
    return "pass" if verdict == Verdict.SURVIVES else "drop"


def _read_cluster(
    work: Work, place: RowPlace, decision: dict[str, Any] | None
) -> Iterator[ClusterMember]:
    """Yields the other rows of a row's cluster, of all intakes that have been decided."""
    if decision is None or decision["cluster_id"] is None:
        return
    others: dict[RowPlace, Folder] = {}
    for intake, ledger in work.ledgers().items():
        committed = (file for file in list_committed(ledger).values() if file.part.intake == intake)
        files = sorted(committed, key=lambda file: file.part)
        # A keeper of an earlier intake may have been alone then, without a cluster.
        for column, value in (
            ("cluster_id", decision["cluster_id"]),
            ("sample_id", decision["keeper_id"]),
        ):
            for other in find_equal(ledger, files, column, value).places:
                others[other] = ledger
    for other, ledger in others.items():
        if other == place:
            continue
        row = read_table(work.ingest, other.file.name, ["sample_id", "source", "locator"])
        outcome = read_table(ledger, other.file.name, ["decision", "reason"])
        (decided,) = outcome.slice(other.row, 1).to_pylist()
        yield ClusterMember(
            **row.slice(other.row, 1).to_pylist()[0],
            decision=decided["reason"] or decided["decision"],
            place=other,
        )


def _find_in_shards(
    work: Work, place: RowPlace, sample_id: str, split: str
) -> tuple[ShardPlace | None, str]:
    """Returns where a kept sample is in the shards, or the event that kept it out of them."""
    part = place.file.part
    for series in work.series():
        if (series.source, series.intake, series.split) != (part.source, part.intake, split):
            continue
        names = sorted(committed_names(series.folder))
        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            found = pool.map(partial(_members, series.folder, sample_id), names)
            for name, members in zip(names, found, strict=True):
                if members:
                    return ShardPlace(f"{series.path}/{name}.tar", members), ""
        if series.folder.exists(layout.EVENTS):
            events = read_table(series.folder, layout.EVENTS).to_pylist()
            mine = [one for one in events if one["sample_id"] == sample_id]
            if mine:
                return None, f"{mine[0]['reason']}: {mine[0]['detail']}"
    return None, ""


def _members(folder: Folder, sample_id: str, name: str) -> tuple[tuple[str, int, int], ...]:
    columns = ["key", "member", "offset", "length"]
    index = read_table(folder, f"{name}.idx.parquet", columns)
    mine = index.filter(pc.equal(index["key"], sample_id)).to_pylist()
    return tuple((row["member"], row["offset"], row["length"]) for row in mine)
