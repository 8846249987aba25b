"""The columns that deciding reads, and how stored values become numbers.

The input of a part is one Arrow table with the rows of `ingest`, in its order: `INGEST_COLUMNS`,
`STATUS_COLUMNS`, `CLUSTER_COLUMN` and the signals of `required_columns`.
"""

from __future__ import annotations

import binascii
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.digests import SAMPLE_ID_HEX
from schemas.recipe import Preference, Recipe
from schemas.signals import ROUND_DECIMALS, SIGNALS

Mask = npt.NDArray[np.bool_]

INGEST_COLUMNS = ("sample_id", "source", "media", "row_digest", "status", "error")
"""Columns of `ingest`; of `media`, the field `media_id` is enough."""

STATUS_COLUMNS = {"image_status": "status", "image_error": "error"}
"""Columns of `measure/image` that are no signals, by their name here; null where no image is."""

CLUSTER_COLUMN = "cluster_id"
"""Column of `dedupe/exact`; null where the row has no duplicate."""

PREFERENCE_SIGNALS: dict[Preference, tuple[str, ...]] = {
    "resolution": ("image.width", "image.height"),
    "text_quality": (
        "text.boilerplate",
        "text.mojibake",
        "text.urls",
        "text.unigrams",
        "text.language_confidence",
    ),
}
"""Signals that choose the keeper of a cluster, by preference."""


def required_columns(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Returns the signals that deciding reads, by column family, in column order.

    Args:
        recipe: resolved: `select.extends` has been replaced by the rules of the profile.
    """
    names = {rule.signal for rule in recipe.select.rules}
    if recipe.dedupe.edges:
        for preference in recipe.dedupe.prefer:
            names.update(PREFERENCE_SIGNALS[preference])
    if recipe.split.held_out:
        names.add("image.pixel_digest")
    wanted = [signal for signal in SIGNALS if signal.name in names]
    families = dict.fromkeys(signal.family for signal in wanted)
    return {
        family: tuple(signal.name for signal in wanted if signal.family == family)
        for family in families
    }


def column(table: pa.Table, name: str) -> pa.Array:
    """Returns a column of a part as one array.

    Raises:
        ValueError: the table has no such column.
    """
    if name not in table.column_names:
        raise ValueError(
            f"deciding needs the column {name!r}, but the part has only "
            f"{', '.join(table.column_names)}; join the families that required_columns() names"
        )
    chunked = table.column(name)
    # One chunk is taken as it is: combining would copy it.
    array = chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()
    return array.cast(pa.string()) if pa.types.is_dictionary(array.type) else array


def valid_mask(array: pa.Array) -> Mask:
    """Returns where the array is not null."""
    if array.null_count == 0:
        return np.ones(len(array), dtype=np.bool_)
    mask: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    return mask


def stored_numbers(array: pa.Array) -> npt.NDArray[Any]:
    """Returns the numbers that a column stands for; 0 where it is null.

    A floating signal is a decimal of `ROUND_DECIMALS` places kept as float32. It comes back as the
    float64 nearest to that decimal, so that a stored 0.3 equals the 0.3 of a recipe and 2.985 is
    not 2.98499990. Integers keep their type, booleans become 0 and 1 (uint8).
    """
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    values: npt.NDArray[Any] = array.fill_null(0).to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        # Adding zero turns -0.0 into 0.0, which must not rank below it.
        return np.round(values.astype(np.float64), ROUND_DECIMALS) + 0.0
    return values


def id_bytes(sample_ids: pa.Array) -> npt.NDArray[np.uint8]:
    """Returns sample ids as bytes, in the same lexicographic order.

    Args:
        sample_ids: strings of 32 hex digits, no nulls.

    Returns:
        Array of shape (rows, 16).

    Raises:
        ValueError: one of them has another length, or is not hex.
    """
    lengths = pc.binary_length(sample_ids).to_numpy(zero_copy_only=False)
    if not np.all(lengths == SAMPLE_ID_HEX):
        raise ValueError(
            f"a sample_id does not have {SAMPLE_ID_HEX} hex digits; make it with "
            "schemas.digests.sample_id"
        )
    if len(sample_ids) == 0:
        return np.empty((0, SAMPLE_ID_HEX // 2), dtype=np.uint8)
    _, offsets, data = sample_ids.cast(pa.string()).buffers()
    start = int(np.frombuffer(offsets, dtype=np.int32)[sample_ids.offset])
    text = data.slice(start, SAMPLE_ID_HEX * len(sample_ids)).to_pybytes()
    return np.frombuffer(binascii.unhexlify(text), dtype=np.uint8).reshape(len(sample_ids), -1)
