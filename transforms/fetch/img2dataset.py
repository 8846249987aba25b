"""Hands the downloads to the img2dataset package, between checks of our own.

img2dataset knows no byte cap, no total deadline and no address guard, and catches every exception:
so it runs in a process that is killed when its time is up, gets only URLs that passed our checks,
and what it brings is checked again. See `docs/decisions/0010-fetching.md`.
"""

from __future__ import annotations

import importlib.util
import itertools
import multiprocessing
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.fetch import Fetch
from schemas.reasons import Reason
from transforms.fetch.consent import OptOut
from transforms.fetch.content import matches, refuse_head
from transforms.fetch.fetcher import Fetcher
from transforms.fetch.records import Evidence, FetchRequest, FetchResult, Refusal
from transforms.fetch.resolver import Lookup, system_lookup
from transforms.fetch.retries import TRANSIENT_STATUSES
from transforms.ingest.fetch_failures import fetch_failure

SHARD_ROWS = 1_000
"""Rows that are lost together when the time is up."""

BATCH_ROWS = 10_000
"""Rows for which one process is started; img2dataset takes seconds to import."""

START_S = 60.0
"""Seconds that the import may take, besides those for fetching."""

_MEDIA_COLUMN = "jpg"
_STATUS = re.compile(r"http error (\d{3})", re.IGNORECASE)
_TRANSIENT = frozenset({Reason.FETCH_FAILED_TIMEOUT, Reason.FETCH_FAILED_CONNECT})


@dataclass(frozen=True, slots=True)
class Job:
    """What one process of img2dataset does.

    Attributes:
        folder: where the shards are: `<number>.feather` of URLs, to become `<number>.parquet`.
        shards: how many.
        threads: downloads at once.
        timeout_s: seconds for a step of the connection, as urllib counts them.
        retries: further tries.
        product: name that `X-Robots-Tag: <name>: …` may speak to.
        directives: words of it that refuse.
    """

    folder: Path
    shards: int
    threads: int
    timeout_s: float
    retries: int
    product: str
    directives: tuple[str, ...]


RunJob = Callable[[Job, float], None]
"""Does a job; gives up, and ends all that it started, after so many seconds."""


class Img2DatasetFetcher:
    """Fetches as `Fetcher` does, by img2dataset."""

    def __init__(
        self,
        settings: Fetch,
        opt_out: OptOut | None = None,
        lookup: Lookup = system_lookup,
        run_job: RunJob | None = None,
    ) -> None:
        """Checks that the package is there.

        Args:
            settings: how to fetch; rates, connection caps of hosts and `max_bytes` cannot be kept.
            opt_out: who opted out.
            lookup: resolves host names for the checks before; img2dataset looks up by itself.
            run_job: does a job; in a process of its own where None.

        Raises:
            ModuleNotFoundError: img2dataset is not installed.
        """
        if run_job is None and importlib.util.find_spec("img2dataset") is None:
            raise ModuleNotFoundError(
                "fetch.fetcher = 'img2dataset' needs the img2dataset extra: "
                "pip install 'mixwright[img2dataset]'; or leave the setting out"
            )
        self._settings = settings
        self._run_job = run_job or run_in_process
        self._guard = Fetcher(settings, opt_out, lookup)

    def __enter__(self) -> Img2DatasetFetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends what the checks have open."""
        self._guard.close()

    def fetch(self, requests: Iterable[FetchRequest]) -> Iterator[FetchResult]:
        """Yields the result of each request, in their order; see `Fetcher.fetch`."""
        source = iter(requests)
        while batch := list(itertools.islice(source, BATCH_ROWS)):
            yield from self._fetch_batch(batch)

    def _fetch_batch(self, batch: Sequence[FetchRequest]) -> Iterator[FetchResult]:
        refusals = self._guard.vet([request.url for request in batch])
        asked = [request for request, refused in zip(batch, refusals, strict=True) if not refused]
        with tempfile.TemporaryDirectory(prefix="img2dataset-") as directory:
            brought = self._run(Path(directory), asked)
            for request, refused in zip(batch, refusals, strict=True):
                if refused is not None:
                    yield FetchResult(None, refused, None, Evidence(request.url))
                else:
                    yield next(brought)

    def _run(self, folder: Path, asked: Sequence[FetchRequest]) -> Iterator[FetchResult]:
        if not asked:
            return
        settings = self._settings
        shards = [asked[at : at + SHARD_ROWS] for at in range(0, len(asked), SHARD_ROWS)]
        for number, shard in enumerate(shards):
            write_shard(folder / f"{number}.feather", [request.url for request in shard])
        retries = settings.retries.attempts - 1
        job = Job(
            folder=folder,
            shards=len(shards),
            threads=settings.connections,
            timeout_s=settings.deadlines.stall_s,
            retries=retries,
            product=settings.product,
            directives=settings.consent.directives,
        )
        rounds = -(-len(asked) // settings.connections) + len(shards)
        self._run_job(job, START_S + rounds * (1 + retries) * settings.deadlines.total_s)
        for number, shard in enumerate(shards):
            yield from self._read_shard(folder / f"{number}.parquet", shard)

    def _read_shard(self, path: Path, shard: Sequence[FetchRequest]) -> Iterator[FetchResult]:
        """Yields what a shard brought, in the order of its requests."""
        try:
            table = pq.read_table(path, columns=["key", "status", "error_message", _MEDIA_COLUMN])
        except (FileNotFoundError, pa.ArrowInvalid):
            # A shard without its end is one during which the time was up.
            error = "img2dataset did not end its shard in time"
            refusal = Refusal(Reason.FETCH_FAILED_TIMEOUT, error, transient=True)
            for request in shard:
                yield FetchResult(None, refusal, None, Evidence(request.url, attempts=1))
            return
        # Rows come as their downloads end; keys end with the position in the shard.
        places = {int(key.as_py()) % SHARD_ROWS: at for at, key in enumerate(table["key"])}
        for number, request in enumerate(shard):
            row = table.slice(places[number], 1).to_pylist()[0]
            yield self._result(request, row["status"], row["error_message"], row[_MEDIA_COLUMN])

    def _result(
        self, request: FetchRequest, status: str, message: str | None, body: bytes | None
    ) -> FetchResult:
        evidence = Evidence(request.url, attempts=1, received=len(body or b""))
        if status != "success" or body is None:
            return FetchResult(None, explain(status, message or ""), None, evidence)
        refusal = self._refuse_body(body)
        agrees = None if request.expected is None else matches(body, request.expected)
        if refusal is None and agrees is False and self._settings.hash_mismatch == "refuse":
            error = "the bytes do not have the expected hash"
            refusal = Refusal(Reason.FETCH_FAILED_BAD_CONTENT, error)
        if refusal is not None:
            return FetchResult(None, refusal, None, evidence)
        return FetchResult(body, None, agrees, evidence)

    def _refuse_body(self, body: bytes) -> Refusal | None:
        most = self._settings.max_bytes
        if len(body) > most:
            error = f"the body has more than {most} bytes"
            return Refusal(Reason.FETCH_FAILED_TOO_LARGE, error)
        refused = refuse_head(body)
        return Refusal(Reason.FETCH_FAILED_BAD_CONTENT, refused) if refused else None


def explain(status: str, message: str) -> Refusal:
    """Returns the refusal that a failure of img2dataset amounts to; it has words, and no codes."""
    reason = fetch_failure(status, message)
    http = _STATUS.search(message)
    transient = int(http[1]) in TRANSIENT_STATUSES if http else reason in _TRANSIENT
    return Refusal(reason, f"img2dataset: {message[:300]}", transient)


def write_shard(path: Path, urls: Sequence[str]) -> None:
    """Writes the input of a shard, which img2dataset removes once it is done."""
    table = pa.table({"url": pa.array(urls, pa.string())})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def run_in_process(job: Job, seconds: float) -> None:
    """Does a job in a new process, which is killed where it has not ended in time."""
    process = multiprocessing.get_context("spawn").Process(target=download_shards, args=(job,))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()


def download_shards(job: Job) -> None:
    """Downloads the shards of a job with img2dataset, one after the other."""
    # albumentations, which img2dataset imports, asks the network for its latest version.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    # An extra, and slow to import: only in the process that is for it.
    from img2dataset.downloader import Downloader  # noqa: PLC0415
    from img2dataset.resizer import Resizer  # noqa: PLC0415
    from img2dataset.writer import ParquetSampleWriter  # noqa: PLC0415

    resizer = Resizer(
        image_size=256, resize_mode="no", resize_only_if_bigger=False, disable_all_reencoding=True
    )
    # The name of a shard is its number, so no digits are filled up.
    downloader = Downloader(
        sample_writer_class=ParquetSampleWriter,
        resizer=resizer,
        thread_count=job.threads,
        save_caption=False,
        extract_exif=False,
        output_folder=str(job.folder),
        column_list=["url"],
        timeout=job.timeout_s,
        number_sample_per_shard=SHARD_ROWS,
        oom_shard_count=1,
        compute_hash=None,
        verify_hash_type=None,
        encode_format=_MEDIA_COLUMN,
        retries=job.retries,
        user_agent_token=job.product,
        disallowed_header_directives=list(job.directives),
    )
    for number in range(job.shards):
        downloader((number, str(job.folder / f"{number}.feather")))
