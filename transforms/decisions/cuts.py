"""Cuts of quantile rules as a file: later intakes keep those of the first."""

from __future__ import annotations

from dataclasses import asdict

import orjson

from storage.folders import Folder
from transforms.decisions.quantiles import Cut

CUTS = "cuts.json"
"""File of the cuts below the ledgers of an intake."""

Cuts = tuple[Cut | None, ...]
"""Cuts of the quantile rules, in order; None for a rule that no row reached."""


def commit_cuts(cuts: Cuts, ledger: Folder) -> Cuts:
    """Commits the cuts of an intake beside its ledgers, so that later intakes can keep them."""
    values = [asdict(cut) if cut is not None else None for cut in cuts]
    ledger.create(CUTS, orjson.dumps(values))
    return cuts


def read_cuts(ledger: Folder) -> Cuts:
    """Returns the cuts that `commit_cuts` stored.

    Raises:
        FileNotFoundError: the intake has not been decided.
    """
    values = orjson.loads(ledger.read(CUTS))
    return tuple(Cut(**value) if value is not None else None for value in values)


def freeze_cuts(cuts: Cuts) -> Cuts:
    """Returns the cuts of the first intake that later ones keep: up to a rule that no row reached.

    A rule behind it was reached by no row either, and is searched among the rows that do.
    """
    return cuts[: cuts.index(None)] if None in cuts else cuts
