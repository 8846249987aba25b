"""Finds rows of a work directory by id, by the beginning of one, or by locator."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.digests import SAMPLE_ID_HEX
from storage.folders import Folder
from transforms.parts.tables import PartFile, read_table

MOST_MATCHES = 50
"""Rows that are returned; further ones are counted."""

READS_AT_ONCE = 8

_ID_START = re.compile(rf"[0-9a-f]{{6,{SAMPLE_ID_HEX}}}")

_Test = Callable[[pa.ChunkedArray], pa.ChunkedArray]


@dataclass(frozen=True, slots=True)
class RowPlace:
    """A row of `ingest`, and of every other table of its part."""

    file: PartFile
    row: int


@dataclass(frozen=True)
class Matches:
    """What a query matches.

    Attributes:
        places: the first `MOST_MATCHES` rows, by part and row.
        rows: how many rows there are.
    """

    places: tuple[RowPlace, ...]
    rows: int


def find_rows(ingest: Folder, files: Sequence[PartFile], query: str) -> Matches:
    """Returns the rows that a query means.

    Tried in this order until something matches: a sample id or its beginning (six hex digits or
    more); a locator; the end of a locator.

    Args:
        ingest: the `ingest` folder.
        files: the parts to look in.
        query: what a person knows of a sample.
    """
    tests: list[tuple[str, _Test]] = [
        ("locator", lambda values: pc.equal(values, query)),
        ("locator", lambda values: pc.ends_with(values, query)),
    ]
    if _ID_START.fullmatch(query):
        tests.insert(0, ("sample_id", lambda values: pc.starts_with(values, query)))
    for column, test in tests:
        if (found := _search(ingest, files, column, test)).rows:
            return found
    return Matches((), 0)


def find_equal(
    folder: Folder, files: Sequence[PartFile], column: str, value: str | None
) -> Matches:
    """Returns the rows of part files that have a value; a null matches none."""
    return _search(folder, files, column, lambda values: pc.equal(values, value))


def _search(folder: Folder, files: Sequence[PartFile], column: str, test: _Test) -> Matches:
    def hits(file: PartFile) -> npt.NDArray[np.intp]:
        values = read_table(folder, file.name, [column])[column]
        return np.flatnonzero(np.asarray(pc.fill_null(test(values), False)))

    places: list[RowPlace] = []
    rows = 0
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        for file, found in zip(files, pool.map(hits, files), strict=True):
            rows += len(found)
            room = MOST_MATCHES - len(places)
            places += [RowPlace(file, int(row)) for row in found[:room]]
    return Matches(tuple(places), rows)
