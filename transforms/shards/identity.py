"""What decides the bytes of a series of shards, as the name of its folder."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from schemas.digests import combine_set_digests, digest, fingerprint, set_digest
from schemas.recipe import ShardSettings, Split
from transforms.parts.tables import KeptSplit

FORMAT_VERSION = 1
"""Version of the bytes of shards; raised when equal samples would give other bytes."""


def rows_digest(rows: pa.Table) -> str:
    """Returns the set digest of kept rows, 64 hex digits; it does not depend on their order.

    Args:
        rows: of some part, with `sample_id`, `row_digest` and `cluster_id` (`members.COLUMNS`).
    """
    columns = (rows[name].to_pylist() for name in ("sample_id", "row_digest", "cluster_id"))
    return set_digest(
        digest(sample_id, row, cluster or "", size=32)
        for sample_id, row, cluster in zip(*columns, strict=True)
    )


def kept_splits(columns: pa.Table, ledger: pa.Table, split: Split) -> dict[str, KeptSplit]:
    """Returns what a part keeps by split.

    Args:
        columns: rows of the part with `sample_id`, `row_digest` and `cluster_id`.
        ledger: their ledger.
        split: which splits there are.
    """
    names = ledger["split"].cast(pa.string())
    found: dict[str, KeptSplit] = {}
    for name in split.names:
        rows = columns.filter(pc.fill_null(pc.equal(names, name), False))
        found[name] = KeptSplit(len(rows), rows_digest(rows))
    return found


def shard_set_digest(settings: ShardSettings, seed: int, rows: Iterable[str]) -> str:
    """Returns the digest that names the folder of a series of shards, 16 hex digits.

    It does not depend on how rows lie in parts.

    Args:
        settings: how shards are cut.
        seed: seed of the recipe.
        rows: `rows_digest` of every part of the series, in any order.
    """
    return fingerprint(
        "shards",
        FORMAT_VERSION,
        [settings.model_dump(mode="json"), seed, combine_set_digests(rows)],
    )
