"""Where the columns of a part lie that deciding reads, and how they are joined: by position."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.layout import SUPPRESSIONS
from schemas.recipe import Recipe, SplitName
from storage.folders import Folder
from transforms.decisions.columns import (
    CLUSTER_COLUMN,
    INGEST_COLUMNS,
    STATUS_COLUMNS,
    required_columns,
)
from transforms.parts.tables import PartFile, read_table

IMAGE_FAMILY = "measure/image"
CLUSTER_FAMILY = "dedupe/exact"

_MEDIA_ID = "media.list.element.media_id"
_MEDIA_IDS = pa.list_(pa.struct([pa.field("media_id", pa.string())]))
_READS_AT_ONCE = 4
"""Reading decompresses outside the interpreter lock, so the families of a part share the cores."""


class MisalignedPartError(Exception):
    """A family's part does not hold the rows of its ingest part, in their order."""


@dataclass(frozen=True)
class Families:
    """The folders of everything that deciding reads.

    Attributes:
        ingest: the `ingest` folder.
        families: folder by column family.
    """

    ingest: Folder
    families: Mapping[str, Folder]

    def with_clusters_of(self, later: Families) -> Families:
        """Returns these columns with the clusters of a later intake, which have new members.

        Counts stay: a row that was kept is not judged again, but it competes with its copies.
        """
        clusters = {CLUSTER_FAMILY: later.families[CLUSTER_FAMILY]}
        return replace(self, families={**self.families, **clusters})

    def read(self, file: PartFile, recipe: Recipe, media: bool) -> pa.Table:
        """Returns the columns of a part that `transforms.decisions.rules` needs.

        Args:
            file: the part.
            recipe: resolved.
            media: whether media ids are wanted, which only a suppression list needs: they are
                half of what is read. Without them every row has a null in `media`.

        Raises:
            MisalignedPartError: a family has other rows than `ingest`.
        """
        wanted = {family: list(columns) for family, columns in required_columns(recipe).items()}
        wanted[IMAGE_FAMILY] = [*wanted.get(IMAGE_FAMILY, []), *STATUS_COLUMNS.values()]
        if recipe.dedupe.edges:
            wanted[CLUSTER_FAMILY] = [CLUSTER_COLUMN]
        names = [name for name in INGEST_COLUMNS if name != "media"]
        table = self._join(file, [*names, _MEDIA_ID] if media else names, wanted)
        if not media:
            table = table.append_column("media", pa.nulls(len(table), _MEDIA_IDS))
        if CLUSTER_COLUMN not in table.column_names:
            table = table.append_column(CLUSTER_COLUMN, pa.nulls(len(table), pa.string()))
        return table

    def read_identity(self, file: PartFile) -> pa.Table:
        """Returns the columns of a part that say which rows can be used, and which are the same.

        Raises:
            MisalignedPartError: a family has other rows than `ingest`.
        """
        return self._join(file, ["sample_id", "row_digest", "status"], {IMAGE_FAMILY: ["status"]})

    def _join(self, file: PartFile, names: list[str], wanted: Mapping[str, list[str]]) -> pa.Table:
        """Reads columns of `ingest` and of families, and joins them by position."""
        renamed = {column: name for name, column in STATUS_COLUMNS.items()}
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
            reads = {
                family: pool.submit(
                    read_table, self.families[family], file.name, ["sample_id", *columns]
                )
                for family, columns in wanted.items()
            }
            table = read_table(self.ingest, file.name, names)
        for family, columns in wanted.items():
            joined = reads[family].result()
            if not joined["sample_id"].equals(table["sample_id"]):
                raise MisalignedPartError(
                    f"{self.families[family].locate(file.name)} has other rows than "
                    f"{self.ingest.locate(file.name)}: remove it and run the stage again"
                )
            for column in columns:
                name = renamed[column] if family == IMAGE_FAMILY and column in renamed else column
                table = table.append_column(name, joined[column])
        return table


def kept_rows(
    ledger: Folder, file: PartFile, split: SplitName | None = None
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Returns the positions of the rows of a part that its ledger keeps.

    Args:
        ledger: folder of the ledgers of the part's intake.
        file: the part.
        split: only rows of this split; of all where absent.
    """
    splits = read_table(ledger, file.name, ["split"])["split"].cast(pa.string())
    kept = pc.is_valid(splits) if split is None else pc.fill_null(pc.equal(splits, split), False)
    return np.flatnonzero(np.asarray(kept))


def read_suppressions(work: Folder) -> pa.Array:
    """Returns the ids (samples and media) that have been taken down, one per line of the list."""
    if not work.exists(SUPPRESSIONS):
        return pa.array([], pa.string())
    lines = work.read(SUPPRESSIONS).decode("utf-8").splitlines()
    return pa.array(sorted({line.partition("#")[0].strip() for line in lines} - {""}), pa.string())
