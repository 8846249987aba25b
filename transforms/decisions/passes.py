"""All passes of deciding, over parts that are at hand: the order that every runner follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.layout import Part
from schemas.recipe import Recipe
from transforms.decisions.columns import CLUSTER_COLUMN, PREFERENCE_SIGNALS, Mask, column
from transforms.decisions.keepers import (
    KEEPERS,
    choose_keepers,
    clustered_rows,
    drop_duplicates,
    keeper_keys,
    keepers_of,
)
from transforms.decisions.ledger import build_ledger
from transforms.decisions.quantiles import Cut, find_cut
from transforms.decisions.refusals import (
    Verdict,
    Verdicts,
    find_duplicate_rows,
    find_taken_down,
    mark_kept_earlier,
    refuse_unusable,
)
from transforms.decisions.rules import decide_rows, quantile_rules, rank_rows


@dataclass(frozen=True)
class Decisions:
    """What deciding yields.

    Attributes:
        verdicts: what becomes of each row, by part.
        keepers: the keeper of each cluster, a `KEEPERS` table.
        cuts: of the quantile rules, in order; None for a rule that no row reached.
    """

    verdicts: dict[Part, Verdicts]
    keepers: pa.Table
    cuts: tuple[Cut | None, ...]


def decide(
    parts: Mapping[Part, pa.Table],
    recipe: Recipe,
    suppressed: pa.Array,
    kept_earlier: Mapping[Part, Mask],
    frozen_cuts: Sequence[Cut | None] = (),
) -> Decisions:
    """Decides every row of every part. Neither the order of parts nor their size matters.

    Args:
        parts: tables as `transforms.decisions.columns` says.
        recipe: resolved.
        suppressed: sample ids and media ids that have been taken down.
        kept_earlier: rows that an earlier intake has put into shards; parts without any may be
            left out.
        frozen_cuts: cuts of the first quantile rules, from an earlier intake.
    """
    rules, seed = recipe.select.rules, recipe.seed
    earlier = {part: kept_earlier.get(part, _none(table)) for part, table in parts.items()}
    duplicate_rows = _duplicate_rows(parts, earlier)
    taken_down = {
        part: find_taken_down(column(table, "sample_id"), column(table, "media"), suppressed)
        for part, table in parts.items()
    }
    cuts = list(frozen_cuts)

    def decide_parts() -> dict[Part, Verdicts]:
        return {
            part: mark_kept_earlier(
                decide_rows(table, rules, seed, duplicate_rows[part], taken_down[part], cuts),
                earlier[part],
            )
            for part, table in parts.items()
        }

    verdicts = decide_parts()
    for rule in quantile_rules(rules)[len(cuts) :]:
        rankings = [rank_rows(table, rule, seed, verdicts[part]) for part, table in parts.items()]
        cuts.append(find_cut(rule, rankings))
        verdicts = decide_parts()

    keepers = KEEPERS.empty_table()
    if recipe.dedupe.edges:
        keepers = _keepers(parts, recipe, verdicts, earlier)
    verdicts = {
        part: drop_duplicates(table, verdicts[part], keepers) for part, table in parts.items()
    }
    for found in verdicts.values():
        found[found == Verdict.KEPT_EARLIER] = Verdict.SURVIVES
    return Decisions(verdicts, keepers, tuple(cuts))


def ledger_of(part: Part, table: pa.Table, recipe: Recipe, decisions: Decisions) -> pa.Table:
    """Returns the ledger of a part that `decide` was given."""
    keeper_ids = keepers_of(column(table, CLUSTER_COLUMN), decisions.keepers)
    return build_ledger(table, part, recipe, decisions.verdicts[part], keeper_ids)


def _none(table: pa.Table) -> Mask:
    return np.zeros(table.num_rows, dtype=np.bool_)


def _duplicate_rows(
    parts: Mapping[Part, pa.Table], earlier: Mapping[Part, Mask]
) -> dict[Part, Mask]:
    masks = {part: _none(table) for part, table in parts.items()}
    usable = {
        part: np.flatnonzero(refuse_unusable(table) == Verdict.SURVIVES)
        for part, table in parts.items()
    }
    order = sorted(parts, key=lambda part: part.stem)
    if not order:
        return masks
    found = find_duplicate_rows(
        pa.concat_arrays([column(parts[part], "sample_id").take(usable[part]) for part in order]),
        pa.concat_arrays([column(parts[part], "row_digest").take(usable[part]) for part in order]),
        np.repeat(np.arange(len(order)), [len(usable[part]) for part in order]),
        np.concatenate([usable[part] for part in order]),
        np.concatenate([earlier[part][usable[part]] for part in order]),
    )
    ends = np.cumsum([len(usable[part]) for part in order])
    for part, mask in zip(order, np.split(found, ends[:-1]), strict=True):
        masks[part][usable[part]] = mask
    return masks


def _keepers(
    parts: Mapping[Part, pa.Table],
    recipe: Recipe,
    verdicts: Mapping[Part, Verdicts],
    earlier: Mapping[Part, Mask],
) -> pa.Table:
    needed = {"sample_id", CLUSTER_COLUMN}
    needed.update(*(PREFERENCE_SIGNALS[preference] for preference in recipe.dedupe.prefer))
    cluster_ids, keys = [], []
    for part, table in parts.items():
        rows = clustered_rows(table, verdicts[part])
        chosen = pa.table({name: column(table, name).take(rows) for name in sorted(needed)})
        cluster_ids.append(column(chosen, CLUSTER_COLUMN))
        keys.append(keeper_keys(chosen, recipe.dedupe.prefer, earlier[part][rows]))
    if not keys:
        return KEEPERS.empty_table()
    return choose_keepers(pa.concat_arrays(cluster_ids), np.vstack(keys))
