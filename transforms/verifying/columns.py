"""Column families: every part has the rows of its ingest part, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.tables import CLUSTERS, family_schema
from storage.folders import Folder
from transforms.decisions.families import CLUSTER_FAMILY
from transforms.parts.tables import PartFile, read_table
from transforms.verifying.ahead import map_ahead
from transforms.verifying.findings import RUN_AGAIN, Check, Problem, Tally


def check_columns(
    ingest: Folder,
    families: Mapping[str, Folder],
    files: Iterable[PartFile],
    pool: Executor,
) -> Tally:
    """Checks the parts of families against the parts of `ingest`.

    Args:
        ingest: the `ingest` folder.
        families: folder by family; those that should have all of `files`.
        files: the ingest parts.
        pool: threads that read.

    Returns:
        The counts of `Check.COLUMNS`: one for each part of each family.
    """
    tally = Tally()
    check: Callable[[PartFile], Tally] = partial(_check_part, ingest, families)
    for one in map_ahead(pool, check, files):
        tally.add(one)
    return tally


def _check_part(ingest: Folder, families: Mapping[str, Folder], file: PartFile) -> Tally:
    tally = Tally()
    ids: pa.ChunkedArray | None = None
    with tally.reading(Check.COLUMNS, ingest.locate(file.name)):
        ids = read_table(ingest, file.name, ["sample_id"])["sample_id"]
    if ids is None:
        return tally
    for family, folder in families.items():
        at = folder.locate(file.name)
        with tally.reading(Check.COLUMNS, at):
            problem = _misaligned(family, folder, file, ids)
            if problem is None:
                tally.good(Check.COLUMNS)
            else:
                tally.bad(Check.COLUMNS, Problem(at, *problem, RUN_AGAIN))
    return tally


def _misaligned(
    family: str, folder: Folder, file: PartFile, ids: pa.ChunkedArray
) -> tuple[str, str] | None:
    """Returns (found, expected) where a part does not hold the rows of `ids`; reads all of it."""
    wanted = CLUSTERS if family == CLUSTER_FAMILY else family_schema(family)
    with folder.open(file.name) as handle:
        schema = pq.read_schema(handle)
    if not schema.equals(wanted):
        return f"has the columns {', '.join(schema.names)}", ", ".join(wanted.names)
    # All columns are read, so that a damaged one is found.
    found = read_table(folder, file.name)["sample_id"]
    if len(found) != len(ids):
        return f"has {len(found)} rows", f"{len(ids)}, as ingest"
    if not found.equals(ids):
        pairs = zip(found.to_pylist(), ids.to_pylist(), strict=True)
        row, (one, other) = next((n, pair) for n, pair in enumerate(pairs) if pair[0] != pair[1])
        return f"has the sample {one} in row {row}", f"{other}, as ingest"
    return None
