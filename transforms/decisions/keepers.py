"""Which sample of a duplicate cluster is kept: the associative minimum of a key.

A key is a fixed number of bytes, and the smallest in byte order is kept, so that a combiner can
take minima in any order. It says, from the left: whether the row was kept in an earlier intake (1
byte), the preferences of `dedupe.prefer` as listed, the sample id (16 bytes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.recipe import Preference
from schemas.signals import ROUND_DECIMALS
from transforms.decisions.columns import (
    CLUSTER_COLUMN,
    Mask,
    column,
    id_bytes,
    stored_numbers,
    valid_mask,
)
from transforms.decisions.refusals import Verdict, Verdicts

KeyBytes = npt.NDArray[np.uint8]

KEEPERS = pa.schema(
    [
        pa.field("cluster_id", pa.string(), nullable=False),
        pa.field("keeper_id", pa.string(), nullable=False),
    ]
)
"""One row per cluster with a survivor, in order of `cluster_id`."""

FEWEST_UNIGRAMS, MOST_UNIGRAMS = 5, 20
"""Lengths that read as a caption. ALIGN keeps 3 to 20; the lower bound is ours."""

_ID_BYTES = 16


def clustered_rows(table: pa.Table, verdicts: Verdicts) -> npt.NDArray[np.int64]:
    """Returns the positions of the survivors of a part that belong to a cluster."""
    clustered = valid_mask(column(table, CLUSTER_COLUMN))
    survivors = (verdicts == Verdict.SURVIVES) | (verdicts == Verdict.KEPT_EARLIER)
    return np.flatnonzero(clustered & survivors)


def keeper_keys(table: pa.Table, prefer: Sequence[Preference], kept_earlier: Mask) -> KeyBytes:
    """Returns the key of each row: of a cluster, the row with the smallest is kept.

    Args:
        table: rows with their `sample_id` and the signals of `PREFERENCE_SIGNALS`.
        prefer: preferences, most important first.
        kept_earlier: rows that an earlier intake has put into shards; they beat all others.

    Returns:
        Array of shape (rows, width); the width depends on `prefer` alone.
    """
    columns = [(~kept_earlier).astype(np.uint8).reshape(-1, 1)]
    columns += [_PREFERENCES[preference](table) for preference in prefer]
    return np.hstack([*columns, id_bytes(column(table, "sample_id"))])


def key_width(prefer: Sequence[Preference]) -> int:
    """Returns the bytes of a key under these preferences."""
    return 1 + 8 * len(prefer) + _ID_BYTES


def keeper_id(key: bytes) -> str:
    """Returns the sample id that a key ends in."""
    return key[-_ID_BYTES:].hex()


def choose_keepers(cluster_ids: pa.Array, keys: KeyBytes) -> pa.Table:
    """Returns the keeper of each cluster as a `KEEPERS` table.

    Args:
        cluster_ids: strings, no nulls, of surviving rows.
        keys: from `keeper_keys`, of the same rows.
    """
    encoded = cluster_ids.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    padding = np.zeros((len(keys), -keys.shape[1] % 8), dtype=np.uint8)
    words = np.hstack([keys, padding]).view(">u8").astype(np.uint64)
    order = np.lexsort((*words.T[::-1], codes))
    first = order[np.flatnonzero(np.diff(codes[order], prepend=-1))]
    keepers = [keeper_id(key.tobytes()) for key in keys[first]]
    table = pa.Table.from_arrays(
        [encoded.dictionary, pa.array(keepers, pa.string())], schema=KEEPERS
    )
    return table.sort_by("cluster_id")


def keepers_of(cluster_ids: pa.Array, keepers: pa.Table) -> pa.Array:
    """Returns the keeper of each row's cluster; null where it has no cluster, or none survived."""
    found = pc.index_in(cluster_ids, value_set=keepers["cluster_id"].combine_chunks())
    return keepers["keeper_id"].combine_chunks().take(found)


def drop_duplicates(table: pa.Table, verdicts: Verdicts, keepers: pa.Table) -> Verdicts:
    """Returns the verdicts with `DUPLICATE` for survivors whose cluster keeps another."""
    keeper = keepers_of(column(table, CLUSTER_COLUMN), keepers)
    other = pc.not_equal(keeper, column(table, "sample_id")).fill_null(False)
    decided = verdicts.copy()
    lost = other.to_numpy(zero_copy_only=False) & (verdicts == Verdict.SURVIVES)
    decided[lost] = Verdict.DUPLICATE
    return decided


def _big_endian(values: npt.NDArray[np.uint64]) -> KeyBytes:
    return values.astype(">u8").view(np.uint8).reshape(-1, 8)


def _resolution(table: pa.Table) -> KeyBytes:
    """Returns 8 bytes: more pixels first; a row without an image comes last."""
    width = stored_numbers(column(table, "image.width")).astype(np.uint64)
    height = stored_numbers(column(table, "image.height")).astype(np.uint64)
    return _big_endian(~(width * height))


def _text_quality(table: pa.Table) -> KeyBytes:
    """Returns 8 bytes, smaller for a text that reads more like a caption.

    From the left: how many of three defects it has (boilerplate, mojibake, a URL); by how many
    unigrams it is outside `FEWEST_UNIGRAMS` to `MOST_UNIGRAMS`; how unsure its language is. The
    defects and the upper length are those for which ALIGN and Conceptual Captions drop texts; the
    order is ours. A null counts as the worst of its kind, except that it is no defect.
    """
    defects = (
        pc.not_equal(column(table, "text.boilerplate"), "").fill_null(False),
        column(table, "text.mojibake").fill_null(False),
        pc.greater(column(table, "text.urls"), 0).fill_null(False),
    )
    defect_count = sum(one.to_numpy(zero_copy_only=False).astype(np.uint64) for one in defects)
    unigrams = stored_numbers(column(table, "text.unigrams")).astype(np.int64)
    outside = np.maximum(FEWEST_UNIGRAMS - unigrams, 0) + np.maximum(unigrams - MOST_UNIGRAMS, 0)
    confidence = np.nan_to_num(stored_numbers(column(table, "text.language_confidence")))
    unsure = np.rint((1 - np.clip(confidence, 0, 1)) * 10**ROUND_DECIMALS).astype(np.uint64)
    score = (defect_count << np.uint64(56)) + (outside.astype(np.uint64) << np.uint64(16)) + unsure
    return _big_endian(score)


_PREFERENCES: dict[Preference, Callable[[pa.Table], KeyBytes]] = {
    "resolution": _resolution,
    "text_quality": _text_quality,
}
