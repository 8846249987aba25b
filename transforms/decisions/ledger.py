"""The ledger: what became of every input, by which rule, at which value. Its books balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.layout import Part
from schemas.reasons import Reason, Stage
from schemas.recipe import Recipe, Rule
from schemas.tables import LEDGER
from transforms.decisions.columns import CLUSTER_COLUMN, Mask, column, stored_numbers
from transforms.decisions.refusals import Verdict, Verdicts
from transforms.decisions.splits import assign_splits

KEPT, DROPPED = "kept", "dropped"

_STAGES: dict[int, str] = {
    Verdict.INGEST: Stage.INGEST,
    Verdict.MEASURE: Stage.MEASURE,
    Verdict.DUPLICATE_ROW: Stage.SELECT,
    Verdict.TAKEN_DOWN: Stage.SELECT,
    Verdict.DUPLICATE: Stage.DEDUPE,
}
_REASONS: dict[int, str] = {
    Verdict.DUPLICATE_ROW: Reason.DUPLICATE_ROW,
    Verdict.TAKEN_DOWN: Reason.TAKEN_DOWN,
    Verdict.DUPLICATE: Reason.DUPLICATE_EXACT,
}


class Outcome(NamedTuple):
    """A line of the books. Stage and reason are empty where the decision is `kept`."""

    source: str
    decision: str
    stage: str
    reason: str


class UnbalancedBooksError(Exception):
    """Inputs are not kept + dropped: rows were lost, or counted twice."""


def build_ledger(
    table: pa.Table, part: Part, recipe: Recipe, verdicts: Verdicts, keeper_ids: pa.Array
) -> pa.Table:
    """Returns the ledger of a part: one row per input row, in order.

    `value` is the number that a rule compared (booleans as 0 and 1), `detail` the string that it
    compared or the error of ingest or decoder, `threshold` the rule's `keep`. `cluster_id` is
    there for every row of a cluster, `keeper_id` for those that reached the choice of a keeper:
    the row itself where it is kept.

    Args:
        table: the part; see `transforms.decisions.columns`.
        part: its name.
        recipe: resolved.
        verdicts: final, from `drop_duplicates`.
        keeper_ids: from `keepers_of`, one per row.

    Raises:
        ValueError: a status is not one of the closed list of reasons.
    """
    rows, rules = len(verdicts), recipe.select.rules
    kept = verdicts == Verdict.SURVIVES
    in_choice = kept | (verdicts == Verdict.DUPLICATE)
    value, detail = _evidence(table, rules, verdicts)
    columns = {
        "sample_id": column(table, "sample_id"),
        "part": _encoded(np.zeros(rows, dtype=np.int32), [part.stem], pa.int32()),
        "row": pa.array(np.arange(rows, dtype=np.int32)),
        "decision": _encoded(np.where(kept, 0, 1), [KEPT, DROPPED]),
        "stage": _named(verdicts, _STAGES | {i: Stage.SELECT for i in range(len(rules))}),
        "reason": name_reasons(table, rules, verdicts),
        "signal": _named(verdicts, {i: rule.signal for i, rule in enumerate(rules)}),
        "value": value,
        "detail": detail,
        "threshold": _named(verdicts, {i: rule.keep for i, rule in enumerate(rules)}),
        "cluster_id": column(table, CLUSTER_COLUMN),
        "keeper_id": pc.if_else(pa.array(in_choice), keeper_ids, None),
        "split": assign_splits(table, recipe, kept),
    }
    return pa.Table.from_pydict(columns, schema=LEDGER)


def summarise(ledger: pa.Table) -> Counter[Outcome]:
    """Returns how many rows of a ledger had each outcome. Counters of several ledgers add up."""
    keys = ["part", "decision", "stage", "reason"]
    groups = ledger.select(keys).group_by(keys).aggregate([([], "count_all")])
    counts: Counter[Outcome] = Counter()
    for row in groups.to_pylist():
        source = row["part"].partition("/")[0]
        outcome = Outcome(source, row["decision"], row["stage"] or "", row["reason"] or "")
        counts[outcome] += row["count_all"]
    return counts


def check_balance(inputs: Mapping[str, int], counts: Mapping[Outcome, int]) -> None:
    """Checks that the inputs of every source are kept or dropped, each exactly once.

    Args:
        inputs: rows of `ingest`, by source, summed from committed files.
        counts: from `summarise`, over all ledgers.

    Raises:
        UnbalancedBooksError: they are not; the message has the figures of every such source.
    """
    kept: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for outcome, rows in counts.items():
        (kept if outcome.decision == KEPT else dropped)[outcome.source] += rows
    wrong = [
        f"{source}: {inputs.get(source, 0)} inputs, {kept[source]} kept + {dropped[source]} dropped"
        for source in sorted({*inputs, *kept, *dropped})
        if inputs.get(source, 0) != kept[source] + dropped[source]
    ]
    if wrong:
        raise UnbalancedBooksError(
            f"the books do not balance: {'; '.join(wrong)}. A part's ledger is missing, stale or "
            "counted twice: remove it and run `mixwright run` again"
        )


def _encoded(
    codes: npt.NDArray[Any], words: Sequence[str], index: pa.DataType | None = None
) -> pa.DictionaryArray:
    """Returns the words that codes stand for; null for a code below 0."""
    # The cast is checked: a code that the index cannot hold raises instead of wrapping round.
    indices = pa.array(codes, mask=codes < 0).cast(index or pa.int8())
    return pa.DictionaryArray.from_arrays(indices, pa.array(words, pa.string()))


def _lookup(names: Mapping[int, str], words: Sequence[str]) -> npt.NDArray[np.int64]:
    """Returns the code of each verdict, by its distance from the lowest; -1 for one without."""
    highest = max([Verdict.SURVIVES, *names])
    codes = np.full(highest + 1 - min(Verdict), -1, dtype=np.int64)
    for verdict, name in names.items():
        if name:
            codes[verdict - min(Verdict)] = words.index(name)
    return codes


def _named(verdicts: Verdicts, names: Mapping[int, str]) -> pa.DictionaryArray:
    words = list(dict.fromkeys(name for name in names.values() if name))
    codes = _lookup(names, words)
    return _encoded(codes[verdicts - min(Verdict)], words)


def name_reasons(table: pa.Table, rules: Sequence[Rule], verdicts: Verdicts) -> pa.DictionaryArray:
    """Returns the reason of each row of a part, over all of `Reason`; null where it is kept.

    Args:
        table: the part, with `status` and `image_status`.
        rules: of the resolved recipe.
        verdicts: from `drop_duplicates`.

    Raises:
        ValueError: a status is not one of the closed list of reasons.
    """
    words = [str(reason) for reason in Reason]
    names = _REASONS | {i: str(rule.reason) for i, rule in enumerate(rules)}
    codes = _lookup(names, words)[verdicts - min(Verdict)]
    for verdict, name in ((Verdict.INGEST, "status"), (Verdict.MEASURE, "image_status")):
        mask = verdicts == verdict
        statuses = column(table, name).filter(pa.array(mask))
        found = pc.index_in(statuses, value_set=pa.array(words, pa.string()))
        if found.null_count:
            unknown = statuses.filter(found.is_null())[0]
            raise ValueError(
                f"{name} {unknown.as_py()!r} is not in the closed list of reasons; "
                "add it to schemas.reasons or correct the stage that wrote it"
            )
        codes[mask] = found.to_numpy(zero_copy_only=False)
    return _encoded(codes, words)


def _evidence(
    table: pa.Table, rules: Sequence[Rule], verdicts: Verdicts
) -> tuple[pa.Array, pa.Array]:
    """Returns the columns `value` and `detail`."""
    value = np.zeros(len(verdicts), dtype=np.float64)
    measured: Mask = np.zeros(len(verdicts), dtype=np.bool_)
    detail = pa.nulls(len(verdicts), pa.string())
    named: dict[int, str] = {Verdict.INGEST: "error", Verdict.MEASURE: "image_error"}
    named |= {i: rule.signal for i, rule in enumerate(rules) if rule.signal}
    present = set(np.unique(verdicts).tolist())
    for verdict, name in named.items():
        if verdict not in present:
            continue
        mask = verdicts == verdict
        array = column(table, name)
        if pa.types.is_string(array.type):
            detail = pc.if_else(pa.array(mask), array, detail)
        else:
            value[mask] = stored_numbers(array.filter(pa.array(mask)))
            measured |= mask
    return pa.array(value, mask=~measured), detail
