"""Splits: which kept samples are held out for evaluation."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.recipe import Recipe
from transforms.decisions.columns import Mask, column
from transforms.decisions.hashes import keyed_hashes
from transforms.decisions.quantiles import exact_share

CONTENT_SIGNAL = "image.pixel_digest"
"""Rows with equal values go to the same split."""


def assign_splits(table: pa.Table, recipe: Recipe, kept: Mask) -> pa.DictionaryArray:
    """Returns the split of every kept row of a part; null for the others.

    Args:
        table: the part; see `transforms.decisions.columns`.
        recipe: resolved.
        kept: which rows are kept.
    """
    held_out = np.zeros(len(table), dtype=np.bool_)
    if recipe.split.held_out:
        content = pc.coalesce(column(table, CONTENT_SIGNAL), column(table, "sample_id"))
        hashes = keyed_hashes(recipe.seed, "split", content)
        held_out = hashes < np.uint64(int(exact_share(recipe.split.held_out) * (1 << 64)))
    codes = pa.array(held_out.astype(np.int8), mask=~kept)
    return pa.DictionaryArray.from_arrays(codes, pa.array(["train", "test"], pa.string()))
