"""Quantile cuts, as PaLI makes them (arXiv 2209.06794: the top 10 % by score), all the way."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.digests import keyed_hash
from transforms.decisions.cuts import read_cuts
from transforms.work import Work

Row = dict[str, Any]

ROWS = 57
RULE = {"signal": "text.characters", "keep": "top 10%", "reason": "text_too_short"}


@pytest.mark.parametrize("order", [1, 2])
def test_the_top_tenth_is_exact_and_ties_are_broken_by_id(
    run_route: Callable[..., Work],
    outcomes: Callable[[Work], list[Row]],
    write_recipe: Callable[..., Path],
    tmp_path: Path,
    order: int,
) -> None:
    # Lengths 10 to 13: 14 of the longest compete for ⌈5.7⌉ = 6 places.
    lines = [f'{{"query": "{n:02d}{"x" * (8 + n % 4)}", "passage": "p"}}\n' for n in range(ROWS)]
    random.Random(order).shuffle(lines)  # noqa: S311 - an order, no secret
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text("".join(lines[:20]))
    (tmp_path / "in" / "b.jsonl").write_text("".join(lines[20:]))
    recipe = write_recipe(
        tmp_path,
        [{"name": "asked", "type": "text_pairs", "path": "in"}],
        ingest={"part_rows": 5 * order},
        select={"rules": [RULE]},
    )
    work = run_route(recipe, tmp_path / "work", last="select")
    rows = outcomes(work)
    longest = [row["sample_id"] for row in rows if len(row["text"]) == 13]
    assert len(longest) == 14
    longest.sort(key=lambda one: (keyed_hash(7, "quantile/text.characters", one), one))
    kept = {row["sample_id"] for row in rows if row["decision"] == "kept"}
    assert kept == set(longest[:6])
    (cut,) = read_cuts(work.ledgers()["i0"])
    assert cut is not None
    assert (cut.value, cut.rows, cut.kept) == (13, ROWS, 6)
    assert cut.sample_id == longest[5]
