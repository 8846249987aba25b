"""Rules: the first one that drops each row of a part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.keep import Quantile, Sample
from schemas.recipe import Rule
from transforms.decisions.columns import Mask, column, stored_numbers, valid_mask
from transforms.decisions.conditions import satisfied
from transforms.decisions.hashes import keyed_hashes
from transforms.decisions.quantiles import Cut, Ranking, exact_share, within_cut
from transforms.decisions.refusals import Verdict, Verdicts, refuse_unusable
from transforms.decisions.sort_keys import sort_keys


def quantile_rules(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Returns the quantile rules, in order: each needs a cut."""
    return tuple(rule for rule in rules if isinstance(rule.parsed, Quantile))


def decide_rows(
    table: pa.Table,
    rules: Sequence[Rule],
    seed: int,
    duplicate_rows: Mask,
    taken_down: Mask,
    cuts: Sequence[Cut | None] = (),
) -> Verdicts:
    """Returns what becomes of each row of a part, as far as the known cuts go.

    In order: the status of the row, the status of its image, repeated rows, the suppression list,
    then the rules as listed. They are applied up to the first quantile rule that has no cut yet;
    the rows that survive are those that reach it.

    Args:
        table: a part; see `transforms.decisions.columns`.
        rules: of the resolved recipe.
        seed: seed of the recipe.
        duplicate_rows: from `find_duplicate_rows`.
        taken_down: from `find_taken_down`.
        cuts: cuts of the first quantile rules, in their order.

    Raises:
        ValueError: the table lacks a column that a rule names.
    """
    verdicts = refuse_unusable(table)
    verdicts[(verdicts == Verdict.SURVIVES) & duplicate_rows] = Verdict.DUPLICATE_ROW
    verdicts[(verdicts == Verdict.SURVIVES) & taken_down] = Verdict.TAKEN_DOWN
    quantiles = 0
    for index, rule in enumerate(rules):
        reached = _reached(table, rule, verdicts)
        match rule.parsed:
            case Quantile():
                if quantiles == len(cuts):
                    break
                dropped = _beyond_cut(table, rule, seed, reached, cuts[quantiles])
                quantiles += 1
            case Sample(share):
                dropped = _left_out(table, rule, seed, reached, share)
            case condition:
                dropped = reached & ~satisfied(condition, column(table, rule.signal))
        verdicts[dropped] = index
    return verdicts


def rank_rows(table: pa.Table, rule: Rule, seed: int, verdicts: Verdicts) -> Ranking:
    """Returns the rows of a part that a quantile rule ranks.

    They are the survivors that it looks at and that have a value. A null passes unranked; what is
    not a number drops unranked.

    Args:
        table: a part.
        rule: a quantile rule.
        seed: seed of the recipe.
        verdicts: from `decide_rows`, with the cuts of all quantile rules before this one.
    """
    return _ranking(table, rule, seed, _reached(table, rule, verdicts))


def _reached(table: pa.Table, rule: Rule, verdicts: Verdicts) -> Mask:
    reached: Mask = verdicts == Verdict.SURVIVES
    if not rule.sources:
        return reached
    sources = pa.array(rule.sources, pa.string())
    inside = pc.is_in(column(table, "source"), value_set=sources)
    reached &= inside.to_numpy(zero_copy_only=False)
    return reached


def _ranking(table: pa.Table, rule: Rule, seed: int, reached: Mask) -> Ranking:
    array = column(table, rule.signal)
    numbers = stored_numbers(array)
    rows = np.flatnonzero(reached & valid_mask(array) & ~np.isnan(numbers))
    highest = isinstance(keep := rule.parsed, Quantile) and keep.highest
    keys = sort_keys(array.take(rows), highest)
    return Ranking(rule, seed, rows, keys, column(table, "sample_id").take(rows))


def _beyond_cut(table: pa.Table, rule: Rule, seed: int, reached: Mask, cut: Cut | None) -> Mask:
    ranking = _ranking(table, rule, seed, reached)
    dropped = reached & valid_mask(column(table, rule.signal))
    dropped[ranking.rows[within_cut(ranking, cut)]] = False
    return dropped


def _left_out(table: pa.Table, rule: Rule, seed: int, reached: Mask, share: float) -> Mask:
    rows = np.flatnonzero(reached)
    ids = column(table, "sample_id").take(rows)
    hashes = keyed_hashes(seed, f"sample/{rule.reason}", ids)
    dropped = np.zeros(len(reached), dtype=np.bool_)
    # The largest hash that is kept, since a share of 1 has a bound of 2**64, which does not fit.
    largest = int(exact_share(share) * (1 << 64)) - 1
    dropped[rows[hashes > largest]] = True
    return dropped
