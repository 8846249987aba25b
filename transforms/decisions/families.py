"""Where the columns of a part lie that deciding reads, and how they are joined: by position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.layout import SUPPRESSIONS
from schemas.recipe import Recipe
from storage.folders import Folder
from transforms.decisions.columns import (
    CLUSTER_COLUMN,
    INGEST_COLUMNS,
    STATUS_COLUMNS,
    required_columns,
)
from transforms.decisions.ledger import KEPT
from transforms.parts.tables import PartFile, read_table

IMAGE_FAMILY = "measure/image"
CLUSTER_FAMILY = "dedupe/exact"


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

    def read(self, file: PartFile, recipe: Recipe) -> pa.Table:
        """Returns the columns of a part that `transforms.decisions.rules` needs.

        Raises:
            MisalignedPartError: a family has other rows than `ingest`.
        """
        names = [
            name if name != "media" else "media.list.element.media_id" for name in INGEST_COLUMNS
        ]
        table = read_table(self.ingest, file.name, names)
        wanted = {family: list(columns) for family, columns in required_columns(recipe).items()}
        wanted.setdefault(IMAGE_FAMILY, []).extend(STATUS_COLUMNS.values())
        if recipe.dedupe.edges:
            wanted[CLUSTER_FAMILY] = [CLUSTER_COLUMN]
        renamed = {column: name for name, column in STATUS_COLUMNS.items()}
        for family, columns in wanted.items():
            joined = read_table(self.families[family], file.name, ["sample_id", *columns])
            if not joined["sample_id"].equals(table["sample_id"]):
                raise MisalignedPartError(
                    f"{self.families[family].locate(file.name)} has other rows than "
                    f"{self.ingest.locate(file.name)}: remove it and run the stage again"
                )
            for column in columns:
                name = renamed[column] if family == IMAGE_FAMILY and column in renamed else column
                table = table.append_column(name, joined[column])
        if CLUSTER_COLUMN not in table.column_names:
            table = table.append_column(CLUSTER_COLUMN, pa.nulls(len(table), pa.string()))
        return table


def kept_rows(ledger: Folder, file: PartFile) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Returns the positions of the rows of a part that its ledger keeps."""
    decisions = read_table(ledger, file.name, ["decision"])["decision"]
    return np.flatnonzero(np.asarray(pc.equal(decisions.cast(pa.string()), KEPT)))


def read_suppressions(work: Folder) -> pa.Array:
    """Returns the ids (samples and media) that have been taken down, one per line of the list."""
    if not work.exists(SUPPRESSIONS):
        return pa.array([], pa.string())
    lines = work.read(SUPPRESSIONS).decode("utf-8").splitlines()
    return pa.array(sorted({line.partition("#")[0].strip() for line in lines} - {""}), pa.string())
