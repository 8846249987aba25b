"""The funnel: how many inputs each source had, what dropped them, and how many are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from schemas.reasons import REASONS, Reason
from schemas.recipe import Recipe
from transforms.decisions.ledger import KEPT, Outcome, check_balance
from transforms.parts.tables import list_committed, read_counts
from transforms.work import Work

_NOT_REASONS = ("rows", KEPT)


@dataclass(frozen=True)
class SourceFunnel:
    """One source.

    Attributes:
        source: its name.
        inputs: rows of `ingest`.
        kept: rows that the ledger keeps.
        dropped: rows by reason, in the order of the closed list.
    """

    source: str
    inputs: int
    kept: int
    dropped: dict[str, int]

    @property
    def kept_share(self) -> float:
        """Kept rows of inputs, 0 to 1."""
        return self.kept / self.inputs if self.inputs else 0.0


def read_funnel(work: Work) -> list[SourceFunnel]:
    """Reads the funnel of every source from the footers of committed files.

    Raises:
        UnbalancedBooksError: inputs are not kept + dropped.
    """
    inputs: Counter[str] = Counter()
    outcomes: Counter[Outcome] = Counter()
    ledgers = work.ledgers()
    for intake in work.intakes():
        for file in work.parts(intake):
            inputs[file.part.source] += read_counts(work.ingest, file.name)["rows"]
        ledger = ledgers[intake.name]
        for file in list_committed(ledger).values():
            for name, rows in read_counts(ledger, file.name).items():
                if name == KEPT:
                    outcomes[Outcome(file.part.source, KEPT, "", "")] += rows
                elif name not in _NOT_REASONS:
                    outcomes[Outcome(file.part.source, "dropped", "", name)] += rows
    check_balance(inputs, outcomes)
    return [
        SourceFunnel(
            source=name,
            inputs=inputs[name],
            kept=outcomes[Outcome(name, KEPT, "", "")],
            dropped={
                str(reason): rows
                for reason in Reason
                if (rows := outcomes[Outcome(name, "dropped", "", str(reason))])
            },
        )
        for name in (source.name for source in work.recipe.sources)
        if name in inputs
    ]


def total_dropped(funnels: Iterable[SourceFunnel]) -> Counter[str]:
    """Returns dropped rows by reason over all sources."""
    total: Counter[str] = Counter()
    for funnel in funnels:
        total.update(funnel.dropped)
    return total


def describe_rule(recipe: Recipe, reason: str) -> str:
    """Returns what a reason's rule asks, for people: `image.short_side_px >= 64`."""
    rules = [rule for rule in recipe.select.rules if rule.reason == reason]
    return "; ".join(f"{rule.signal} {rule.keep}".strip() for rule in rules)


def explain_reason(reason: str) -> str:
    """Returns the meaning of a reason."""
    return REASONS[Reason(reason)].meaning
