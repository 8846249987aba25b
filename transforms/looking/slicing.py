"""Slices: what would be kept under other rules, from columns alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.reasons import Reason
from schemas.recipe import Recipe
from transforms.decisions.cuts import Cuts, freeze_cuts
from transforms.decisions.families import Families, read_suppressions
from transforms.decisions.ledger import KEPT, name_reasons
from transforms.decisions.passes import decide
from transforms.looking.rows import READS_AT_ONCE
from transforms.mixtures.weights import normalise_weights
from transforms.parts.tables import PartFile, list_committed, read_table
from transforms.work import Work

OUTCOMES = (KEPT, *map(str, Reason))
"""What can become of an input, by code."""

EXAMPLES = 3
"""Ids that are given of the samples that change."""

Outcomes = Mapping[PartFile, npt.NDArray[np.int8]]
"""The code of each row's outcome, by part."""

_DECIDED_LATER = frozenset({"select", "split", "shard", "mixtures", "card", "seed"})
_PREFER = "prefer"


class Change(NamedTuple):
    """Rows whose outcome changes in the same way.

    Attributes:
        before, after: `kept` or a reason.
        rows: how many.
        examples: the ids of some of them.
    """

    before: str
    after: str
    rows: int
    examples: tuple[str, ...]


@dataclass
class Comparison:
    """Rows by outcome before and after, and what changes.

    Attributes:
        before, after: rows by source and outcome; outcomes without rows are left out.
        changes: most rows first.
    """

    before: dict[str, dict[str, int]] = field(default_factory=dict)
    after: dict[str, dict[str, int]] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()


def needs_measuring(before: Recipe, after: Recipe) -> list[str]:
    """Returns the fields that differ and that columns depend on, as dotted keys.

    What is left (rules, who is preferred of duplicates, splits, shards, mixtures, the card) is
    decided from columns that are there.
    """
    old, new = (recipe.model_dump(mode="json") for recipe in (before, after))
    for values in (old, new):
        del values["dedupe"][_PREFER]
    sections = [name for name in old if name not in _DECIDED_LATER]
    return [key for name in sections for key in _differences(name, old[name], new[name])]


def _differences(key: str, old: object, new: object) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for name in old:
            yield from _differences(f"{key}.{name}", old[name], new[name])
    elif old != new:
        yield key


def read_outcomes(work: Work) -> Outcomes | None:
    """Returns the outcomes that the ledgers state; None where an intake lacks some."""
    ledgers, intakes = work.ledgers(), work.intakes()
    files = {file: ledgers[intake.name] for intake in intakes for file in work.parts(intake)}
    committed = {
        (intake, file) for intake in ledgers for file in list_committed(ledgers[intake]).values()
    }
    if any((file.part.intake, file) not in committed for file in files):
        return None
    names = pa.array(OUTCOMES, pa.string())

    def read(file: PartFile) -> npt.NDArray[np.int8]:
        reasons = read_table(files[file], file.name, ["reason"])["reason"].cast(pa.string())
        codes = pc.index_in(pc.fill_null(reasons, KEPT), value_set=names)
        return codes.to_numpy().astype(np.int8)

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return dict(zip(files, pool.map(read, files), strict=True))


def decide_outcomes(work: Work) -> Outcomes:
    """Returns the outcomes under the recipe of `work`, decided here.

    Intakes are decided in order, and those that came later keep the cuts of the first, as the
    stage `select` does. All columns that rules look at are held at once, about 300 bytes a row.

    Raises:
        FileNotFoundError: a column has not been measured yet.
    """
    recipe, intakes = work.recipe, work.intakes()
    suppressed = read_suppressions(work.folder)
    outcomes: dict[PartFile, npt.NDArray[np.int8]] = {}
    families: dict[str, Families] = {}
    frozen: Cuts = ()
    for number, intake in enumerate(intakes):
        families[intake.name] = work.families(work.parts(*intakes[: number + 1]))
        clusters = families[intake.name]

        def read(file: PartFile, clusters: Families = clusters) -> pa.Table:
            own = families[file.part.intake].with_clusters_of(clusters)
            table = own.read(file, recipe, media=len(suppressed) > 0)
            # Of an earlier intake, only what is in shards already competes with new rows.
            earlier = outcomes.get(file)
            return table if earlier is None else table.filter(pa.array(earlier == 0))

        files = work.parts(*intakes[: number + 1])
        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            tables = dict(zip(files, pool.map(read, files), strict=True))
        decisions = decide(
            {file.part: table for file, table in tables.items()},
            recipe,
            suppressed,
            {file.part: np.ones(len(tables[file]), np.bool_) for file in outcomes},
            frozen,
        )
        frozen = freeze_cuts(decisions.cuts) if number == 0 else frozen
        for file in work.parts(intake):
            verdicts = decisions.verdicts[file.part]
            reasons = name_reasons(tables[file], recipe.select.rules, verdicts)
            codes = pc.add(pc.fill_null(reasons.indices, -1), 1)
            outcomes[file] = codes.to_numpy(zero_copy_only=False).astype(np.int8)
    return outcomes


def compare_outcomes(work: Work, before: Outcomes, after: Outcomes) -> Comparison:
    """Returns what changes between two sets of outcomes of the same rows."""
    comparison = Comparison()
    counts: dict[str, npt.NDArray[np.int64]] = {}
    kinds = len(OUTCOMES)
    changed: dict[tuple[int, int], list[tuple[PartFile, int]]] = {}
    for file in sorted(before, key=lambda file: file.part):
        old, new = before[file].astype(np.int32), after[file].astype(np.int32)
        pairs = old * kinds + new
        total = np.bincount(pairs, minlength=kinds * kinds).reshape(kinds, kinds)
        source = file.part.source
        counts[source] = counts.get(source, np.zeros_like(total)) + total
        for one, other in zip(*np.nonzero(total), strict=True):
            places = changed.setdefault((int(one), int(other)), [])
            if one != other and (room := EXAMPLES - len(places)):
                rows = np.flatnonzero(pairs == one * kinds + other)[:room]
                places += [(file, int(row)) for row in rows]
    for source, total in counts.items():
        comparison.before[source] = _named(total.sum(axis=1))
        comparison.after[source] = _named(total.sum(axis=0))
    everything = sum(counts.values(), np.zeros((kinds, kinds), np.int64))
    changes = [
        Change(OUTCOMES[one], OUTCOMES[other], int(everything[one, other]), _ids(work, places))
        for (one, other), places in changed.items()
        if one != other
    ]
    comparison.changes = tuple(sorted(changes, key=lambda one: (-one.rows, one.before, one.after)))
    return comparison


def _named(rows: npt.NDArray[np.int64]) -> dict[str, int]:
    return {OUTCOMES[code]: int(rows[code]) for code in np.flatnonzero(rows)}


def _ids(work: Work, places: list[tuple[PartFile, int]]) -> tuple[str, ...]:
    return tuple(
        read_table(work.ingest, file.name, ["sample_id"])["sample_id"][row].as_py()
        for file, row in places
    )


def mixture_shares(recipe: Recipe, kept: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Returns the share of each source in each mixture, as far as rows of all splits tell it.

    Args:
        recipe: resolved.
        kept: kept rows by source.

    Raises:
        MixtureError: a mixture has a source without a kept row.
    """
    samples = {source.name: kept.get(source.name, 0) for source in recipe.sources}
    return {
        mixture.name: {
            source: float(share) for source, share in normalise_weights(mixture, samples).items()
        }
        for mixture in recipe.mixtures
    }
