"""Taking inputs in through Beam: describing files once, and committing parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import orjson
from apache_beam.pvalue import PCollection

from schemas.digests import hex_digest
from schemas.recipe import Ingest, Measure
from schemas.samples import RawSample
from schemas.sources import Source
from storage.folders import Entry, Folder, open_folder
from transforms.ingest.blocklist import load_block_list
from transforms.ingest.commit import commit_part
from transforms.ingest.read import read_slice
from transforms.ingest.slices import Slice
from transforms.ingest.transcode import (
    ListSource,
    needs_transcoding,
    transcode_table,
    transcoded_name,
)
from transforms.parts.heartbeat import beat
from transforms.parts.tables import PartFile


@dataclass(frozen=True, slots=True)
class PartTask:
    """A part to take in.

    Attributes:
        file: what to commit.
        slice: the piece of input that it covers, as `Slice.to_json` wrote it.
    """

    file: PartFile
    slice: str


def description_name(file: Entry) -> str:
    """Returns the name of what `DescribeInputs` finds out about a file."""
    return f"{hex_digest('input', file.name, str(file.size))}.json"


def needs_description(source: Source, file: Entry) -> bool:
    """Returns whether a file has to be read once before it can be sliced.

    Containers are named by their checksum, which `gs://` states and a local file system does not;
    text tables are transcoded. The images of a folder are known by name and size.
    """
    if source.type in ("folder", "html"):
        return False
    return file.checksum is None or needs_transcoding(file.name)


def read_description(inputs: Folder, file: Entry) -> Entry:
    """Returns a file with the checksum that `DescribeInputs` found."""
    found: str = orjson.loads(inputs.read(description_name(file)))["checksum"]
    return Entry(file.name, file.size, found)


class DescribeInputs(beam.PTransform[PCollection[Entry], PCollection[str]]):
    """Files of a source → the names of their committed descriptions; text tables are transcoded."""

    def __init__(self, source: Source, inputs: Folder, tables: Folder, part_rows: int) -> None:
        """Commits descriptions below `inputs`, transcoded tables below `tables`."""
        super().__init__()
        self._source = source
        self._inputs = inputs
        self._tables = tables
        self._part_rows = part_rows

    def expand(self, files: PCollection[Entry]) -> PCollection[str]:
        """Describes file by file, each on one worker."""
        return (
            files
            | "Spread" >> beam.Reshuffle()
            | "Describe"
            >> beam.Map(_describe, self._source, self._inputs, self._tables, self._part_rows)
        )


def _describe(file: Entry, source: Source, inputs: Folder, tables: Folder, part_rows: int) -> str:
    folder = open_folder(source.path)
    checksum = file.checksum or folder.checksum(file.name)
    if isinstance(source, ListSource) and needs_transcoding(file.name):
        name = transcoded_name(Entry(file.name, file.size, checksum))
        if not tables.exists(name):
            with tables.temporary_file() as path:
                transcode_table(folder, file.name, source, path, part_rows)
                tables.create(name, path)
    name = description_name(file)
    inputs.create(name, orjson.dumps({"file": file.name, "size": file.size, "checksum": checksum}))
    return name


class TakeIn(beam.PTransform[PCollection[PartTask], PCollection[str]]):
    """Part tasks of one source → the names of the committed ingest parts."""

    def __init__(
        self, source: Source, limits: Ingest, measure: Measure, ingest: Folder, tables: Folder
    ) -> None:
        """Reads `source`, commits below `ingest`; text tables have been transcoded to `tables`."""
        super().__init__()
        self._take_in = _TakeIn(source, limits, measure, ingest, tables)

    def expand(self, tasks: PCollection[PartTask]) -> PCollection[str]:
        """Takes in part by part, without a shuffle between reading and committing."""
        return tasks | "Spread" >> beam.Reshuffle() | "TakeIn" >> beam.ParDo(self._take_in)


class _TakeIn(beam.DoFn):
    def __init__(
        self, source: Source, limits: Ingest, measure: Measure, ingest: Folder, tables: Folder
    ) -> None:
        self._source = source
        self._limits = limits
        self._measure = measure
        self._ingest = ingest
        self._tables = tables

    def setup(self) -> None:
        self._block = load_block_list(self._limits.block, self._measure.max_pixels)

    def process(self, task: PartTask) -> Iterator[str]:
        chunks = read_slice(
            open_folder(self._source.path),
            self._source,
            Slice.from_json(task.slice),
            self._limits,
            self._tables,
        )
        commit_part(self._ingest, task.file, _counted(chunks), self._block)
        yield task.file.name


def _counted(chunks: Iterator[list[RawSample]]) -> Iterator[list[RawSample]]:
    for chunk in chunks:
        yield chunk
        beat("ingest", len(chunk))
