"""What is refused before any rule: unusable inputs, repeated rows, what has been taken down."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.reasons import OK
from transforms.decisions.columns import Mask, column, id_bytes

Verdicts = npt.NDArray[np.int16]
"""What becomes of each row: the index of the rule that drops it, or one of `Verdict`."""


class Verdict(IntEnum):
    """Verdicts that are not the index of a rule."""

    SURVIVES = -1
    INGEST = -2
    MEASURE = -3
    DUPLICATE_ROW = -4
    TAKEN_DOWN = -5
    DUPLICATE = -6
    KEPT_EARLIER = -7


def refuse_unusable(table: pa.Table) -> Verdicts:
    """Returns `INGEST` or `MEASURE` where a row or its image cannot be used, else `SURVIVES`.

    Args:
        table: a part, with `status` and `image_status`; an image status of null stands for a row
            without an image, which is no reason to refuse it.
    """
    verdicts = np.full(table.num_rows, Verdict.SURVIVES, dtype=np.int16)
    image_status = column(table, "image_status")
    unreadable = pc.not_equal(image_status, OK).fill_null(False)
    verdicts[unreadable.to_numpy(zero_copy_only=False)] = Verdict.MEASURE
    failed = pc.not_equal(column(table, "status"), OK)
    verdicts[failed.to_numpy(zero_copy_only=False)] = Verdict.INGEST
    return verdicts


def mark_kept_earlier(verdicts: Verdicts, kept_earlier: Mask) -> Verdicts:
    """Returns the verdicts with `KEPT_EARLIER` for rows that are in shards already.

    Rules, and counts that have grown since, are for the new rows; the old ones only take part in
    the choice of keepers, which they win.
    """
    return np.where(kept_earlier, np.int16(Verdict.KEPT_EARLIER), verdicts)


def repeated_values(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Returns the values that occur more than once, sorted."""
    ordered = np.sort(values)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def find_duplicate_rows(
    sample_ids: pa.Array,
    row_digests: pa.Array,
    parts: npt.NDArray[Any],
    rows: npt.NDArray[Any],
    kept_earlier: Mask,
) -> Mask:
    """Returns which rows repeat a sample id and are not the one that stays.

    The one that stays has been kept in an earlier intake, or else has the smallest (row digest,
    part, row). Give only rows that can be used, so that a failed fetch never displaces a good one.

    Args:
        sample_ids: ids of any rows that hold every repeat of an id.
        row_digests: `row_digest` of `ingest`, of the same rows.
        parts: integers that order the parts as their stems do.
        rows: positions of the rows in their parts.
        kept_earlier: rows that an earlier intake has put into shards.
    """
    words = id_bytes(sample_ids).view(">u8").astype(np.uint64)
    heads = np.ascontiguousarray(words[:, 0])
    repeated = repeated_values(heads)
    duplicates = np.zeros(len(heads), dtype=np.bool_)
    if len(repeated) == 0:
        return duplicates
    at = np.flatnonzero(np.isin(heads, repeated))
    digest_ranks = pc.rank(row_digests.take(pa.array(at)), tiebreaker="dense").to_numpy()
    order = np.lexsort(
        (rows[at], parts[at], digest_ranks, ~kept_earlier[at], words[at, 1], words[at, 0])
    )
    at = at[order]
    same_as_before = np.all(words[at[1:]] == words[at[:-1]], axis=1)
    duplicates[at[1:][same_as_before]] = True
    return duplicates


def find_taken_down(sample_ids: pa.Array, media: pa.Array, suppressed: pa.Array) -> Mask:
    """Returns which rows are on the suppression list, by their own id or by that of a medium.

    Args:
        sample_ids: strings.
        media: the `media` column of `ingest` (a list of structs with `media_id`).
        suppressed: strings: sample ids and media ids.
    """
    mask: Mask = pc.is_in(sample_ids, value_set=suppressed).to_numpy(zero_copy_only=False)
    media_ids = pc.struct_field(pc.list_flatten(media), "media_id")
    hits = pc.filter(pc.list_parent_indices(media), pc.is_in(media_ids, value_set=suppressed))
    mask = mask.copy()
    mask[hits.to_numpy(zero_copy_only=False)] = True
    return mask
