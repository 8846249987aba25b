"""What would keep a sample that was dropped: the other thresholds, as `--set` takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
import pyarrow as pa

from schemas.keep import Between, Compare, Is, IsEmpty, Member, Quantile, Sample, parse_keep
from schemas.reasons import REASONS, Reason
from schemas.recipe import Preference, Rule
from transforms.decisions.keepers import keeper_id, keeper_keys
from transforms.decisions.ledger import KEPT
from transforms.looking.rows import RowPlace
from transforms.looking.story import RuleStory, Story, Value, read_row
from transforms.work import Work

_ALL = "top 100%"


def relax(keep: str, value: Value) -> str | None:
    """Returns the nearest `keep` that a value satisfies; None where the grammar has none.

    Args:
        keep: of a rule that drops the value.
        value: of its signal; None for a rule that samples.
    """
    match parse_keep(keep):
        case Quantile(highest):
            return "top 100%" if highest else "bottom 100%"
        case Sample():
            return "sample 100%"
        case Member(values, negate) if isinstance(value, str):
            return _with_member(values, negate, value)
        case Compare() | Between() as bounds if isinstance(value, int | float):
            return _with_number(bounds, value)
    return None
