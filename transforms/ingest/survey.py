"""Looks at a folder of data and says which sources it holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from schemas.recipe import TableSource
from storage.folders import Entry, Folder
from transforms.ingest.columns import Column, table_columns
from transforms.ingest.csv_rows import CsvRows
from transforms.ingest.fields import IMAGE_EXTENSIONS
from transforms.ingest.inputs import SourceError, stem
from transforms.ingest.jsonl_rows import JsonlRows
from transforms.ingest.parquet_rows import BrokenFileError, columns_of, open_parquet
from transforms.ingest.streams import TextStream

MOST_FILES = 100_000
"""Files that are looked at; a larger folder is known by its first ones."""

_TABLE = re.compile(r".*\.(parquet|(csv|tsv|jsonl|ndjson)(\.gz|\.zst)?)", re.IGNORECASE)
_TAR = re.compile(r".*\.(tar|tar\.gz|tgz)", re.IGNORECASE)
_IMG2DATASET = {"status", "error_message", "key"}
_TEXT_PAIR = {"query", "passage"}


@dataclass(frozen=True)
class Finding:
    """A source that a folder seems to hold.

    Attributes:
        type: of the source.
        files: its glob.
        count: how many files match.
        seen: what was recognised, or why nothing was, for a comment in the recipe.
        problem: what has to be changed by hand before it runs; empty where nothing has.
    """

    type: str
    files: str
    count: int
    seen: str
    problem: str = ""


def survey(folder: Folder) -> list[Finding]:
    """Returns the sources in a folder, those with most files first.

    Tables come before the images that they may name: a folder of images is a source of its own only
    where there is no table of the kind.
    """
    entries = list(islice(folder.list(), MOST_FILES))
    visible = [one for one in entries if not one.name.rpartition("/")[2].startswith((".", "_"))]
    tars = [one for one in visible if _TAR.fullmatch(one.name)]
    tables = [one for one in visible if _TABLE.fullmatch(one.name)]
    images = [one for one in visible if one.name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS]
    tar_stems = {stem(one.name) for one in tars}
    shards = [
        one for one in tables if stem(one.name) in tar_stems and _IMG2DATASET <= _names(folder, one)
    ]
    found: list[Finding] = []
    if shards:
        found.append(Finding("img2dataset", "**/*.parquet", len(shards), "shards of img2dataset"))
    packed = {stem(one.name) for one in shards}
    loose = [one for one in tars if stem(one.name) not in packed]
    found += [
        Finding("webdataset", f"**/*{ending}", count, "WebDataset tars")
        for ending, count in _endings(loose, (".tar", ".tar.gz", ".tgz"))
    ]
    found += _survey_tables(folder, [one for one in tables if stem(one.name) not in packed])
    if images and not any(one.type == "table" and not one.problem for one in found):
        sidecars = {stem(one.name) for one in visible if one.name.endswith((".txt", ".json"))}
        texts = sum(stem(one.name) in sidecars for one in images)
        seen = f"{len(images):,} images, {texts:,} of them with a sidecar text"
        problem = "" if texts else "no image has a `.txt` or `.json` of the same name beside it"
        found.append(Finding("folder", "**", len(images), seen, problem))
    return sorted(found, key=lambda one: (bool(one.problem), -one.count))


def _endings(files: Sequence[Entry], endings: Iterable[str]) -> list[tuple[str, int]]:
    counted = Counter(
        ending for one in files for ending in endings if one.name.lower().endswith(ending)
    )
    return [(ending, counted[ending]) for ending in endings if counted[ending]]


def _survey_tables(folder: Folder, tables: Sequence[Entry]) -> list[Finding]:
    """Returns a finding for every ending among tables, by the columns of the first file."""
    by_ending: dict[str, list[Entry]] = {}
    for one in tables:
        match = _TABLE.fullmatch(one.name)
        by_ending.setdefault(match[1] if match else "", []).append(one)
    return [
        _survey_table(folder, ending, several)
        for ending, several in sorted(by_ending.items(), key=lambda item: -len(item[1]))
    ]


def _survey_table(folder: Folder, ending: str, files: Sequence[Entry]) -> Finding:
    first = files[0]
    glob = first.name if len(files) == 1 else f"**/*.{ending}"
    columns = head_columns(folder, first)
    names = {column.name for column in columns}
    if names >= _TEXT_PAIR:
        return Finding("text_pairs", glob, len(files), "columns query and passage")
    source = TableSource(name="survey", type="table", path=folder.uri)
    try:
        recognised = table_columns(source, first.name, columns)
    except SourceError as error:
        return Finding("table", glob, len(files), "", str(error).partition(": ")[2])
    media = recognised.data or recognised.path
    texts = ", ".join(f"{role} from {', '.join(one)}" for role, one in recognised.fields.texts)
    return Finding("table", glob, len(files), f"media from {media}; {texts}")


def head_columns(folder: Folder, file: Entry) -> list[Column]:
    """Returns the columns of a table from its beginning; none where it cannot be read."""
    lower = file.name.lower()
    with folder.open(file.name) as opened:
        try:
            if lower.endswith(".parquet"):
                return columns_of(open_parquet(opened))
            if ".csv" in lower or ".tsv" in lower:
                delimiter = "\t" if ".tsv" in lower else ","
                rows = CsvRows(TextStream(opened), delimiter, file.name)
                return [Column(name) for name in rows.columns]
            lines = JsonlRows(TextStream(opened))
            next(iter(lines), None)
            return [Column(name) for name in lines.columns]
        except (BrokenFileError, SourceError):
            return []


def _names(folder: Folder, file: Entry) -> set[str]:
    return {column.name for column in head_columns(folder, file)}
