"""The grammar of `keep`: what a rule asks of a signal.

> 200   >= 3   < 3   <= 20   == 0   != 0      compare with a number
between 3 and 20                              closed interval
in [en, de]      not in [a, b]                membership, for strings
is true   is false                            for booleans
is empty                                      for strings
top 10%   bottom 10%                          quantile over the rows that reach the rule
sample 25%                                    a keyed-hash share of the rows, by id
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Operator = Literal[">", ">=", "<", "<=", "==", "!="]


@dataclass(frozen=True)
class Compare:
    """Keeps values for which `value <operator> number`."""

    operator: Operator
    number: float


@dataclass(frozen=True)
class Between:
    """Keeps values in the closed interval [low, high]."""

    low: float
    high: float


@dataclass(frozen=True)
class Member:
    """Keeps strings in (or, with `negate`, not in) a list."""

    values: tuple[str, ...]
    negate: bool


@dataclass(frozen=True)
class Is:
    """Keeps booleans equal to `value`."""

    value: bool


@dataclass(frozen=True)
class IsEmpty:
    """Keeps empty strings."""


@dataclass(frozen=True)
class Quantile:
    """Keeps the highest (or lowest) share of the rows that reach the rule, exactly.

    Of n rows it keeps ceil(share × n); ties at the cut are broken by a keyed hash of the id.
    """

    highest: bool
    share: float


@dataclass(frozen=True)
class Sample:
    """Keeps the rows whose keyed hash of the id falls below `share` of its range."""

    share: float


Keep = Compare | Between | Member | Is | IsEmpty | Quantile | Sample

_NUMBER = r"[-+]?\d+(?:_\d+)*(?:\.\d+)?(?:[eE][-+]?\d+)?"
_COMPARE = re.compile(rf"(>=|<=|==|!=|>|<)\s*({_NUMBER})")
_BETWEEN = re.compile(rf"between\s+({_NUMBER})\s+and\s+({_NUMBER})")
_MEMBER = re.compile(r"(not\s+)?in\s*\[([^\[\]]*)\]")
_SHARE = re.compile(r"(top|bottom|sample)\s+(\d+(?:\.\d+)?)\s*%")
_FORMS = (
    '"> 200", "between 3 and 20", "in [en, de]", "not in [a, b]", "is true", "is empty", '
    '"top 10%", "bottom 10%", "sample 25%"'
)


def parse_keep(text: str) -> Keep:
    """Parses a `keep` expression.

    Raises:
        ValueError: the text is none of the forms above, or a number in it makes no sense.
    """
    stripped = text.strip()
    if match := _COMPARE.fullmatch(stripped):
        operator: Operator = match.group(1)  # type: ignore[assignment]
        return Compare(operator, float(match.group(2)))
    if match := _BETWEEN.fullmatch(stripped):
        low, high = float(match.group(1)), float(match.group(2))
        if low > high:
            raise ValueError(f"keep = {text!r}: {low:g} is above {high:g}; swap them")
        return Between(low, high)
    if match := _MEMBER.fullmatch(stripped):
        values = tuple(part.strip().strip("'\"") for part in match.group(2).split(","))
        if not all(values):
            raise ValueError(f"keep = {text!r}: the list holds an empty entry")
        return Member(values, negate=match.group(1) is not None)
    if match := _SHARE.fullmatch(stripped):
        percent = float(match.group(2))
        if not 0 < percent <= 100:
            raise ValueError(f"keep = {text!r}: a share is above 0 % and at most 100 %")
        if match.group(1) == "sample":
            return Sample(percent / 100)
        return Quantile(match.group(1) == "top", percent / 100)
    fixed: dict[str, Keep] = {"is true": Is(True), "is false": Is(False), "is empty": IsEmpty()}
    if stripped in fixed:
        return fixed[stripped]
    raise ValueError(f"keep = {text!r} is not understood; write one of {_FORMS}")
