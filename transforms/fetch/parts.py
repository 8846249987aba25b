"""Takes parts in whose media have to be fetched, and fetches again what may succeed by now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PCollection

from schemas.fetch import Fetch
from schemas.recipe import Ingest, Measure
from schemas.samples import RawSample
from storage.folders import Folder, open_folder
from transforms.fetch.consent import OptOut
from transforms.fetch.evidence import Row, evidence_row, evidence_table
from transforms.fetch.fetcher import Fetcher
from transforms.fetch.img2dataset import Img2DatasetFetcher
from transforms.fetch.read import FetchedSource, read_url_rows
from transforms.fetch.resolver import Lookup, system_lookup
from transforms.fetch.rows import Fetches, fetch_rows
from transforms.fetch.url_rows import UrlRow
from transforms.ingest.blocklist import BlockList, load_block_list
from transforms.ingest.commit import commit_part
from transforms.ingest.inputs import SourceError
from transforms.ingest.intake import PartTask
from transforms.ingest.read import CHUNK_BYTES, CHUNK_SAMPLES, cut_chunks
from transforms.ingest.slices import Slice
from transforms.ingest.texts import clean_sample
from transforms.parts.heartbeat import beat
from transforms.parts.tables import PartFile, commit_table, read_table


@dataclass(frozen=True)
class FetchInto:
    """Where fetched parts come from and go to.

    Attributes:
        source: the source.
        limits, measure, fetch: sections of the recipe.
        ingest: the `ingest` folder.
        tables: where text tables have been transcoded to.
        evidence: folder of the evidence, which is in no digest.
    """

    source: FetchedSource
    limits: Ingest
    measure: Measure
    fetch: Fetch
    ingest: Folder
    tables: Folder
    evidence: Folder

    def rows(self, task: PartTask) -> Iterator[UrlRow]:
        """Reads the rows of a part; the same rows each time."""
        folder = open_folder(self.source.path)
        piece = Slice.from_json(task.slice)
        return read_url_rows(folder, self.source, piece, self.limits, self.fetch, self.tables)

    def clean(self, sample: RawSample) -> RawSample:
        """Returns a sample that can be stored."""
        roles = tuple(getattr(self.source, "texts", {}))
        return clean_sample(sample, roles, self.limits.max_text_bytes, self.source.licence)

    def commit_evidence(self, file: PartFile, rows: list[Row]) -> None:
        """Commits what the fetches of a part observed."""
        fetched = sum(bool(row["url"]) and row["reason"] is None for row in rows)
        counts = {"rows": len(rows), "fetched": fetched}
        commit_table(self.evidence, file, evidence_table(rows), counts)


def fetch_part(into: FetchInto, task: PartTask, fetcher: Fetches, block: BlockList) -> None:
    """Commits a part after fetching its media; what each fetch observed is committed first."""

    def samples() -> Iterator[RawSample]:
        observed = []
        for row in fetch_rows(into.rows(task), fetcher):
            observed.append(evidence_row(row.result))
            beat("ingest", 1)
            yield into.clean(row.sample)
        into.commit_evidence(task.file, observed)

    commit_part(into.ingest, task.file, cut_chunks(samples(), CHUNK_SAMPLES, CHUNK_BYTES), block)


def fetch_again(into: FetchInto, task: PartTask, fetcher: Fetches, block: BlockList) -> int:
    """Fetches the rows of a committed part again whose refusal may have passed.

    What they give now is committed as the next version of the part, with all other rows as they
    are and their media where they lie. Where nothing has come, nothing is committed.

    Args:
        into: where the part is.
        task: its latest version.
        fetcher: fetches.
        block: media that are never stored.

    Returns:
        How many rows have their media now.
    """
    before = read_table(into.ingest, task.file.name).to_pylist()
    observed = read_table(into.evidence, task.file.name).to_pylist()
    wanted = {number for number, row in enumerate(observed) if row["transient"]}
    rows = (row for number, row in enumerate(into.rows(task)) if number in wanted)
    found: dict[int, RawSample] = {}
    for number, row in zip(sorted(wanted), fetch_rows(rows, fetcher), strict=True):
        observed[number] = evidence_row(row.result)
        found[number] = into.clean(row.sample)
        beat("fetch", 1)
    come = sum(sample.reason is None for sample in found.values())
    if come:
        following = PartFile(task.file.part, task.file.version + 1)
        into.commit_evidence(following, observed)
        stored = ([found.get(number) or row] for number, row in enumerate(before))
        commit_part(into.ingest, following, stored, block)
    return come


def load_opt_out(paths: Sequence[str]) -> OptOut:
    """Reads the lists of those who opted out.

    Raises:
        SourceError: there is no such file, or a line is neither a domain nor a URL.
    """
    lines: list[str] = []
    for path in paths:
        parent, slash, name = path.rpartition("/")
        try:
            lines += open_folder(parent or slash or ".").read(name).decode("utf-8").splitlines()
        except FileNotFoundError as error:
            raise SourceError(f"opt-out list {path}: no such file; correct its path") from error
    try:
        return OptOut.parse(lines)
    except ValueError as error:
        raise SourceError(f"opt-out lists {', '.join(paths)}: {error}") from error


def look_up_as(fetch: Fetch) -> Lookup:
    """Returns how host names are resolved: `connect_to` first, then as the system does."""
    places = {
        host: place.rpartition(":")[0].strip("[]") for host, place in fetch.connect_to.items()
    }

    def look_up(host: str) -> Sequence[str]:
        return [places[host]] if host in places else system_lookup(host)

    return look_up


class FetchParts(beam.PTransform[PCollection[PartTask], PCollection[str]]):
    """Part tasks of one source → the names of the ingest parts; see `fetch_part`, `fetch_again`."""

    def __init__(self, into: FetchInto, again: bool = False) -> None:
        """Fetches everything, or, with `again`, what may succeed by now."""
        super().__init__()
        self._fetch = _FetchPart(into, again)

    def expand(self, tasks: PCollection[PartTask]) -> PCollection[str]:
        """Fetches part by part; each worker has many requests under way at once."""
        return tasks | "Spread" >> beam.Reshuffle() | "Fetch" >> beam.ParDo(self._fetch)


class _FetchPart(beam.DoFn):
    def __init__(self, into: FetchInto, again: bool) -> None:
        self._into = into
        self._again = again

    def setup(self) -> None:
        limits, fetch = self._into.limits, self._into.fetch
        self._block = load_block_list(limits.block, self._into.measure.max_pixels)
        opt_out = load_opt_out(fetch.consent.opt_out)
        kind = Img2DatasetFetcher if fetch.fetcher == "img2dataset" else Fetcher
        self._fetcher = kind(fetch, opt_out, look_up_as(fetch))

    def teardown(self) -> None:
        self._fetcher.close()

    def process(self, task: PartTask) -> Iterator[str]:
        if self._again:
            fetch_again(self._into, task, self._fetcher, self._block)
        else:
            fetch_part(self._into, task, self._fetcher, self._block)
        yield task.file.name
