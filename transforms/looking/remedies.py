"""What would keep a sample that was dropped: the other thresholds, as `--set` takes them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import get_args

import numpy as np
import pyarrow as pa

from schemas.keep import Between, Compare, Member, Quantile, Sample, parse_keep
from schemas.reasons import REASONS, Reason
from schemas.recipe import Preference, Rule
from transforms.decisions.keepers import keeper_id, keeper_keys
from transforms.decisions.ledger import KEPT
from transforms.looking.rows import RowPlace
from transforms.looking.story import RuleStory, Story, Value, read_row
from transforms.work import Work

_PREFERENCES: tuple[Preference, ...] = get_args(Preference)
_NOT_IN_A_LIST = frozenset(",[]'\"")


@dataclass(frozen=True)
class Remedy:
    """What would keep a sample.

    Attributes:
        text: for people; empty where nothing needs to be done.
        settings: values of `--set` that do it, for `mixwright slice`; empty where none does.
    """

    text: str = ""
    settings: tuple[str, ...] = ()


def find_remedy(work: Work, story: Story) -> Remedy:
    """Returns what would keep the sample of a story."""
    if not story.reason:
        return Remedy()
    reason = Reason(story.reason)
    dropping = [rule for rule in story.rules if rule.outcome == "drop"]
    if reason is Reason.DUPLICATE_EXACT:
        return _preferred(work, story)
    if reason not in {rule.reason for rule in dropping}:
        return Remedy(REASONS[reason].remedy)
    settings = []
    for rule in dropping:
        keep = relax(rule.keep, rule.value)
        if keep is None:
            return Remedy(f"no threshold keeps it: only a recipe without the rule {rule.reason}")
        settings.append(f"{_key(work.recipe.select.rules, rule)}={keep}")
    several = "; then it must be preferred to its duplicates" if story.cluster else ""
    return Remedy(f"these thresholds keep it{several}", tuple(settings))


def relax(keep: str, value: Value) -> str | None:
    """Returns the nearest `keep` that a value satisfies; None where there is none to write.

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
            return _with_number(bounds, value) if math.isfinite(value) else None
    return None


def _with_number(bounds: Compare | Between, value: float) -> str | None:
    match bounds:
        case Between(low, high):
            return _between(min(low, value), max(high, value))
        case Compare("==", number):
            return _between(min(number, value), max(number, value))
        case Compare("!="):
            return None
        case Compare(sign):
            return f"{'>=' if sign.startswith('>') else '<='} {_number(value)}"


def _with_member(values: tuple[str, ...], negate: bool, value: str) -> str | None:
    if negate:
        rest = [one for one in values if one != value]
        return f"not in [{', '.join(rest)}]" if rest else None
    if not value or _NOT_IN_A_LIST & set(value):
        return None
    return f"in [{', '.join([*values, value])}]"


def _between(low: float, high: float) -> str:
    return f"between {_number(low)} and {_number(high)}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.12g}"


def _key(rules: Sequence[Rule], rule: RuleStory) -> str:
    """Returns the shortest key that names a rule and no other."""
    for key in (rule.reason, rule.signal):
        if key and sum(key in (str(one.reason), one.signal) for one in rules) == 1:
            return key
    return f"select.rules.{rule.number}.keep"


def _preferred(work: Work, story: Story) -> Remedy:
    """Finds an order of preferences under which a duplicate is the one that is kept."""
    candidates = [
        one for one in story.cluster if one.decision in (KEPT, str(Reason.DUPLICATE_EXACT))
    ]
    keeper = (story.decision or {}).get("keeper_id")
    said = f"{keeper} is kept of its duplicates"
    if any(
        one.decision == KEPT and one.place.file.part.intake != story.intake for one in candidates
    ):
        return Remedy(f"{said}: an earlier intake has put it into shards")
    dedupe = work.recipe.dedupe.model_copy(update={"prefer": _PREFERENCES})
    with_all = Work(work.folder, work.recipe.model_copy(update={"dedupe": dedupe}))
    places: list[RowPlace] = [story.place, *(one.place for one in candidates)]
    rows = pa.concat_tables([read_row(with_all, place) for place in places])
    nobody = np.zeros(len(rows), dtype=np.bool_)
    for count in range(len(_PREFERENCES), -1, -1):
        for prefer in permutations(_PREFERENCES, count):
            keys = keeper_keys(rows, prefer, nobody)
            if keeper_id(min(key.tobytes() for key in keys)) == story.sample_id:
                setting = f"dedupe.prefer={json.dumps(prefer)}"
                return Remedy(f"{said}; this order of preferences keeps this one", (setting,))
    return Remedy(f"{said}; no order of preferences keeps this one")
