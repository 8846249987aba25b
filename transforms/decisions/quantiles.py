"""Exact quantile cuts over rows that lie in many parts.

A row's sort key is its value (complemented where the highest are kept), then a keyed hash of its
id, then the id: smaller keys are kept first, and no two rows have the same key. The cut is the
key of the last row that is kept. It is found as in a radix sort: each round counts, part by part,
the next 16 bits of the rows that agree with the cut so far, and the sum of the counts says which
16 bits the cut has. Two rounds settle the value of a 32-bit signal (four, of a 64-bit one), one
more the head of the hash; the few rows left are then collected. So a worker holds 65,536 counters,
however many rows there are, and at the end about one 65,536th of the rows that tie with the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.keep import Quantile
from schemas.recipe import Rule
from schemas.signals import SIGNALS_BY_NAME
from transforms.decisions.columns import Mask, id_bytes
from transforms.decisions.hashes import keyed_hashes
from transforms.decisions.sort_keys import Keys, key_value, sort_keys

Histogram = npt.NDArray[np.int64]

_DIGIT_BITS = 16
_DIGITS = 1 << _DIGIT_BITS
_TIE_BYTES = 24


@dataclass(frozen=True)
class Cut:
    """Where a quantile rule cuts: the sort key of the last row that it keeps. Plain JSON values.

    Attributes:
        value: that row's value, as `stored_numbers` gives it.
        tie: keyed hash of its id, 16 hex digits.
        sample_id: its id.
        rows: how many rows were ranked.
        kept: how many of them are kept.
    """

    value: float
    tie: str
    sample_id: str
    rows: int
    kept: int


@dataclass(frozen=True)
class Ranking:
    """The rows of a part that a quantile rule ranks.

    Attributes:
        rule: the rule.
        seed: seed of the recipe.
        rows: positions of the rows in the part; shape (n,).
        keys: sort keys of their values, from `sort_keys`; shape (n,).
        sample_ids: their ids; length n.
    """

    rule: Rule
    seed: int
    rows: npt.NDArray[np.int64]
    keys: Keys
    sample_ids: pa.Array

    def tie_hashes(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """Returns the hashes that break ties, of the n-th ranked rows for n in `at`."""
        return keyed_hashes(self.seed, f"quantile/{self.rule.signal}", self.sample_ids.take(at))


@dataclass(frozen=True)
class Search:
    """How far the cut of a quantile rule is known; `Search(rule)` is a new one.

    Attributes:
        rule: the rule.
        digits: the 16-bit digits of the cut's sort key so far, most significant first.
        rows: rows ranked; known after the first round.
        kept: how many of them are kept.
        left: of the rows that agree with `digits`, how many are kept; the last of them is the cut.
    """

    rule: Rule
    digits: tuple[int, ...] = ()
    rows: int = 0
    kept: int = 0
    left: int = 0

    @property
    def value_digits(self) -> int:
        """Number of digits that make up a value."""
        return _dtype(self.rule).itemsize * 8 // _DIGIT_BITS

    @property
    def rounds(self) -> int:
        """Number of rounds of `count_digits` and `narrow` before `collect_ties`."""
        return self.value_digits + 1


def exact_share(share: float) -> Fraction:
    """Returns a share as it was written.

    It comes from a percentage in decimal digits, and 1.1 % arrives as 0.011000000000000001, of
    which 1000 rows would keep 12. Rounding to fifteen digits recovers what was written.
    """
    return Fraction(f"{share:.15g}")


def count_digits(ranking: Ranking, search: Search) -> Histogram:
    """Returns how many rows of a part have each next digit, among those that agree with the cut.

    Histograms of several parts add up.

    Returns:
        Array of shape (65536,).
    """
    at = _agreeing(ranking, search)
    left = search.value_digits - len(search.digits)
    if left > 0:
        digits = (ranking.keys[at] >> (_DIGIT_BITS * (left - 1))) & (_DIGITS - 1)
    else:
        digits = ranking.tie_hashes(at) >> (64 - _DIGIT_BITS)
    return np.bincount(digits.astype(np.int64), minlength=_DIGITS)


def narrow(search: Search, histogram: Histogram) -> Search:
    """Returns the search with one more digit of the cut.

    Args:
        search: before the round.
        histogram: the sum of `count_digits` over all parts.
    """
    if not search.digits:
        rows = int(histogram.sum())
        kept = ceil(exact_share(_quantile(search.rule).share) * rows)
        search = replace(search, rows=rows, kept=kept, left=kept)
    up_to = np.cumsum(histogram)
    digit = int(np.searchsorted(up_to, search.left))
    below = int(up_to[digit - 1]) if digit else 0
    return replace(search, digits=(*search.digits, digit), left=search.left - below)


def collect_ties(ranking: Ranking, search: Search) -> npt.NDArray[np.uint8]:
    """Returns the rows of a part that agree with all digits of the cut.

    Args:
        ranking: rows of the part.
        search: after all its rounds.

    Returns:
        Array of shape (ties, 24): big-endian hash and id of each row.
    """
    at = _agreeing(ranking, search)
    hashes = ranking.tie_hashes(at)
    chosen = hashes >> (64 - _DIGIT_BITS) == search.digits[-1]
    heads = hashes[chosen].astype(">u8").view(np.uint8).reshape(-1, 8)
    return np.hstack([heads, id_bytes(ranking.sample_ids.take(at[chosen]))])


def settle(search: Search, ties: npt.NDArray[np.uint8]) -> Cut | None:
    """Returns the cut; None where no row was ranked.

    Args:
        search: after all its rounds.
        ties: the rows of `collect_ties` of all parts, in any order.
    """
    if search.rows == 0:
        return None
    words = np.ascontiguousarray(ties).view(">u8")
    highest = _quantile(search.rule).highest
    last = ties[np.lexsort(words.T[::-1])[search.left - 1]].tobytes()
    return Cut(
        value=key_value(_prefix(search), _dtype(search.rule), highest),
        tie=last[:8].hex(),
        sample_id=last[8:].hex(),
        rows=search.rows,
        kept=search.kept,
    )


def find_cut(rule: Rule, rankings: Sequence[Ranking]) -> Cut | None:
    """Returns the cut of a rule over parts that are at hand; None where no row was ranked."""
    search = Search(rule)
    for _ in range(search.rounds):
        histogram = np.zeros(_DIGITS, dtype=np.int64)
        for ranking in rankings:
            histogram += count_digits(ranking, search)
        search = narrow(search, histogram)
    ties = [collect_ties(ranking, search) for ranking in rankings]
    return settle(search, np.vstack([np.empty((0, _TIE_BYTES), dtype=np.uint8), *ties]))


def within_cut(ranking: Ranking, cut: Cut | None) -> Mask:
    """Returns which ranked rows a rule keeps; all of them where there is no cut.

    The rows need not be those that the cut was found on: a later intake keeps earlier cuts.
    """
    if cut is None:
        return np.ones(len(ranking.rows), dtype=np.bool_)
    value = np.array([cut.value], dtype=_dtype(ranking.rule))
    key = sort_keys(pa.array(value), _quantile(ranking.rule).highest)[0]
    kept: Mask = ranking.keys < key
    level = np.flatnonzero(ranking.keys == key)
    hashes = ranking.tie_hashes(level)
    tie = int(cut.tie, 16)
    kept[level] = hashes < tie
    same = level[hashes == tie]
    kept[same] = [one <= cut.sample_id for one in ranking.sample_ids.take(same).to_pylist()]
    return kept


def _quantile(rule: Rule) -> Quantile:
    keep = rule.parsed
    if not isinstance(keep, Quantile):
        raise ValueError(f"keep = {rule.keep!r} is no quantile; only quantile rules have a cut")
    return keep


def _dtype(rule: Rule) -> np.dtype[Any]:
    return np.dtype(SIGNALS_BY_NAME[rule.signal].dtype)


def _prefix(search: Search) -> int:
    prefix = 0
    for digit in search.digits[: search.value_digits]:
        prefix = prefix << _DIGIT_BITS | digit
    return prefix


def _agreeing(ranking: Ranking, search: Search) -> npt.NDArray[np.int64]:
    """Returns which ranked rows have the value digits of the cut that are known."""
    if not search.digits:
        return np.arange(len(ranking.keys))
    unknown = max(0, search.value_digits - len(search.digits))
    return np.flatnonzero(ranking.keys >> (_DIGIT_BITS * unknown) == _prefix(search))
