"""Looks at a folder of data and says which sources it holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.samples import TextRole
from schemas.sources import TableSource
from storage.folders import Entry, Folder
from transforms.ingest.columns import Column, table_columns
from transforms.ingest.csv_rows import CsvRows
from transforms.ingest.fields import IMAGE_EXTENSIONS
from transforms.ingest.inputs import SourceError, stem
from transforms.ingest.json_values import parse_json
from transforms.ingest.jsonl_rows import JsonlRows
from transforms.ingest.parquet_rows import BrokenFileError, columns_of, open_parquet
from transforms.ingest.streams import TextStream
from transforms.ingest.tables import JSON_COLUMN, MALFORMED_COLUMN

HEAD_ROWS = 50
"""Rows of a table that are looked at."""

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
        settings: further fields of the source that its columns ask for.
    """

    type: str
    files: str
    count: int
    seen: str
    problem: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def survey(folder: Folder, only: str = "") -> list[Finding]:
    """Returns the sources in a folder, those with most files first.

    Tables come before the images that they may name: a folder of images is a source of its own only
    where there is no table of the kind.

    Args:
        folder: what to look at.
        only: looks at this one file alone.
    """
    listed = (one for one in folder.list(only) if not only or one.name == only)
    entries = list(islice(listed, MOST_FILES))
    visible = [one for one in entries if not one.name.rpartition("/")[2].startswith((".", "_"))]
    tars = [one for one in visible if _TAR.fullmatch(one.name)]
    tables = [one for one in visible if _TABLE.fullmatch(one.name) and not _is_index(one)]
    images = [one for one in visible if one.name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS]
    tar_stems = {stem(one.name) for one in tars}
    shards = [
        one for one in tables if stem(one.name) in tar_stems and _names(folder, one) >= _IMG2DATASET
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
    head = read_head(folder, first)
    if {column.name for column in head.columns} >= _TEXT_PAIR:
        return Finding("text_pairs", glob, len(files), "columns query and passage")
    source = TableSource(name="survey", type="table", path=folder.uri)
    problem = ""
    # By their names first; then by what the first rows hold.
    for settings in ({}, _guess(folder, first, head)):
        chosen = source.model_copy(update=settings)
        try:
            found = table_columns(chosen, first.name, head.columns)
        except SourceError as error:
            problem = str(error).partition(": ")[2]
            continue
        texts = ", ".join(f"{role} from {', '.join(one)}" for role, one in found.fields.texts)
        seen = f"media from {found.data or found.path}; {texts}"
        return Finding("table", glob, len(files), seen, settings=settings)
    return Finding("table", glob, len(files), "", problem)


def _guess(folder: Folder, file: Entry, head: Head) -> dict[str, Any]:
    """Returns settings for a table: the column whose values are files, and the longest text."""
    above = file.name.rpartition("/")[0]
    settings: dict[str, Any] = {}
    lengths: dict[str, float] = {}
    for column in head.columns:
        values = [text for row in head.rows if isinstance(text := row.get(column.name), str)]
        named = [text for text in values if text.strip()]
        files = sum(_is_file(folder, f"{above}/{text}".lstrip("/")) for text in named)
        if named and files * 2 > len(named):
            settings.setdefault("path_column", column.name)
        elif named:
            lengths[column.name] = sum(map(len, named)) / len(head.rows)
    try:
        table_columns(
            TableSource(name="survey", type="table", path=folder.uri).model_copy(update=settings),
            file.name,
            head.columns,
        )
    except SourceError:
        if lengths:
            settings["texts"] = {TextRole.ALT: max(lengths, key=lambda name: lengths[name])}
    return settings


def _is_file(folder: Folder, name: str) -> bool:
    try:
        return folder.stat(name) is not None
    except ValueError:
        return False


@dataclass(frozen=True)
class Head:
    """The beginning of a table: its columns, and a few rows."""

    columns: Sequence[Column] = ()
    rows: Sequence[Mapping[str, Any]] = ()


def read_head(folder: Folder, file: Entry) -> Head:
    """Reads the beginning of a table; nothing where it cannot be read."""
    lower = file.name.lower()
    with folder.open(file.name) as opened:
        try:
            if lower.endswith(".parquet"):
                parquet = open_parquet(opened)
                columns = columns_of(parquet)
                return Head(columns, _parquet_rows(parquet, columns))
            if ".csv" in lower or ".tsv" in lower:
                delimiter = "\t" if ".tsv" in lower else ","
                table = CsvRows(TextStream(opened), delimiter, file.name)
                return Head([Column(name) for name in table.columns], _csv_rows(table))
            lines = JsonlRows(TextStream(opened))
            rows = _json_rows(lines)
            return Head([Column(name) for name in lines.columns], rows)
        except (BrokenFileError, SourceError):
            return Head()


def _parquet_rows(parquet: pq.ParquetFile, columns: Sequence[Column]) -> list[dict[str, Any]]:
    names = [one.name for one in columns if one.type is not None and pa.types.is_string(one.type)]
    batches = parquet.iter_batches(HEAD_ROWS, columns=names, use_threads=False)
    first = next(batches, None)
    return first.to_pylist() if first is not None and names else []


def _csv_rows(table: CsvRows) -> list[dict[str, Any]]:
    first = next(iter(table), None)
    if first is None:
        return []
    rows = first.slice(0, HEAD_ROWS).drop_columns([MALFORMED_COLUMN]).to_pylist()
    return [
        {
            name: (row[str(at)] or b"").decode("utf-8", "replace")
            for at, name in enumerate(table.columns)
        }
        for row in rows
    ]


def _json_rows(table: JsonlRows) -> list[dict[str, Any]]:
    first = next(iter(table), None)
    lines = [] if first is None else first.column(JSON_COLUMN).slice(0, HEAD_ROWS).to_pylist()
    return [parse_json(line) for line in lines if line is not None]


def _is_index(file: Entry) -> bool:
    """Returns whether a file is the index of one of our own shards."""
    return file.name.endswith(".idx.parquet")


def _names(folder: Folder, file: Entry) -> set[str]:
    return {column.name for column in read_head(folder, file).columns}
