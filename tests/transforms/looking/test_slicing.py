"""Which changes of a recipe can be decided from the columns that are there."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.recipe import Recipe
from transforms.looking.slicing import OUTCOMES, mixture_shares, needs_measuring

SOURCES = [{"type": "folder", "name": name, "path": name} for name in ("web", "art")]


def recipe(**sections: Any) -> Recipe:
    return Recipe.model_validate({"name": "one", "sources": SOURCES} | sections)


@pytest.mark.parametrize(
    "sections",
    [
        {"select": {"rules": [{"keep": "sample 5%", "reason": "not_sampled"}]}},
        {"dedupe": {"prefer": ["text_quality"]}},
        {"mixtures": [{"name": "other", "weights": {"web": 1}}]},
        {"shard": {"samples_per_shard": 7}},
        {"split": {"held_out": 0.1}},
        {"card": {"title": "another"}},
        {"seed": 5},
    ],
)
def test_what_is_decided_from_columns(sections: dict[str, Any]) -> None:
    assert needs_measuring(recipe(), recipe(**sections)) == []


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"measure": {"max_pixels": 5}}, "measure.max_pixels"),
        ({"count": {"min_ngram_count": 3}}, "count.min_ngram_count"),
        ({"dedupe": {"edges": ["bytes"]}}, "dedupe.edges"),
        ({"ingest": {"max_text_bytes": 9}}, "ingest.max_text_bytes"),
        ({"sources": SOURCES[:1]}, "sources"),
        ({"name": "two"}, "name"),
    ],
)
def test_what_columns_depend_on(sections: dict[str, Any], key: str) -> None:
    assert needs_measuring(recipe(), recipe(**sections)) == [key]


def test_outcomes_begin_with_kept() -> None:
    # Codes are one more than the code of the reason, and `kept` is where there is none.
    assert OUTCOMES[0] == "kept"
    assert len(set(OUTCOMES)) == len(OUTCOMES) < 127


def test_shares_follow_weights_or_rows() -> None:
    weighted = recipe(mixtures=[{"name": "a", "weights": {"web": 3, "art": 1}}, {"name": "b"}])
    shares = mixture_shares(weighted, {"web": 10, "art": 30})
    assert shares == {"a": {"web": 0.75, "art": 0.25}, "b": {"web": 0.25, "art": 0.75}}
