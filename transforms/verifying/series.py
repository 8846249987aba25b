"""Series: the shards of a source's intake hold the kept samples of its ledgers, and no others."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas import layout
from schemas.recipe import SplitName
from schemas.tables import INGEST
from storage.folders import Folder
from transforms.decisions.families import kept_rows
from transforms.parts.tables import PartFile, read_table
from transforms.shards.commit import shard_name
from transforms.shards.gather import ByteRange
from transforms.verifying.ahead import map_ahead
from transforms.verifying.findings import RUN_AGAIN, Check, Problem, Tally
from transforms.verifying.pairs import row_content
from transforms.verifying.tars import HELD, ScannedShard, scan_shard
from transforms.verifying.views import check_views
from transforms.work import Series, Work

_COLUMNS = [name for name in INGEST.names if name not in ("row_digest", "status", "error")]
_EXAMPLES = 3


@dataclass
class ScannedSeries:
    """What lies in the folder of a series.

    Attributes:
        series: the series.
        shards: its shards, in order.
        samples: samples of all shards, in order: an array of `HELD`.
    """

    series: Series
    shards: list[ScannedShard]
    samples: npt.NDArray[np.void]


class KeptPart(NamedTuple):
    """Kept rows of a part.

    Attributes:
        ids, contents: id and content digest of each, arrays of `S16`.
        media: where the image of each lies, and its index in `ids`.
    """

    ids: npt.NDArray[np.bytes_]
    contents: npt.NDArray[np.bytes_]
    media: list[tuple[int, ByteRange]]
    tally: Tally


def scan_series(work: Work, series: Series, pool: Executor, tally: Tally) -> ScannedSeries:
    """Reads all shards that a series should have, each on a thread."""
    scan = partial(
        scan_shard,
        series.folder,
        series.path,
        sources=(series.source,),
        original=work.recipe.shard.train_view is None,
    )
    names = [shard_name(number) for number in range(series.shards(work.recipe.shard))]
    shards = list(map_ahead(pool, scan, names))
    for shard in shards:
        tally.add(shard.tally)
    present = {entry.name.partition(".")[0] for entry in series.folder.list()}
    for name in sorted(present - set(names) - {layout.EVENTS.partition(".")[0]}):
        at = series.folder.locate(f"{name}.tar")
        remedy = "move it away: no manifest should name it"
        tally.bad(Check.SHARDS, Problem(at, "is there", f"{len(names)} shards", remedy))
    samples = np.concatenate([np.empty(0, HELD), *(shard.samples for shard in shards)])
    return ScannedSeries(series, shards, samples)


def check_series(
    scanned: ScannedSeries, work: Work, ledger: Folder, pool: Executor, tally: Tally
) -> None:
    """Checks that the samples of a series are those that its ledgers keep, as `ingest` has them.

    Args:
        scanned: from `scan_series`.
        work: the work directory.
        ledger: folder of the ledgers of the intake.
        pool: threads that read.
        tally: counts of `Check.PAIRS` and `Check.KEPT`, one for each sample.
    """
    series = scanned.series
    view = work.recipe.shard.train_view
    held = scanned.samples[np.argsort(scanned.samples["id"], kind="stable")]
    kept: list[npt.NDArray[np.bytes_]] = [np.empty(0, "S16")]
    read = partial(_read_kept, work.ingest, ledger, series.split)
    for part in map_ahead(pool, read, series.parts):
        tally.add(part.tally)
        kept.append(part.ids)
        found = _find(held, part.ids)
        _compare_contents(series, held, found, part, tally)
        if view is not None:
            media = work.ingest.child(f"{series.source}/{series.intake}")
            shown = [(held[found[at]], place) for at, place in part.media if found[at] >= 0]
            check_views(media, series.folder, shown, view, pool, tally)
    _check_kept(scanned, held, np.concatenate(kept), tally)


def _read_kept(ingest: Folder, ledger: Folder, split: SplitName, file: PartFile) -> KeptPart:
    """Reads the kept rows of a part; what cannot be read was said when the part was checked."""
    tally = Tally()
    ids: list[str] = []
    contents: list[bytes] = []
    media: list[tuple[int, ByteRange]] = []
    with tally.reading(Check.KEPT, ingest.locate(file.name)):
        rows = kept_rows(ledger, file, split)
        clusters = read_table(ledger, file.name, ["cluster_id"])["cluster_id"]
        table = read_table(ingest, file.name, _COLUMNS).append_column("cluster_id", clusters)
        for row in table.take(rows).to_pylist():
            for one in row["media"]:
                place = ByteRange(one["part_tar"], one["offset"], one["length"])
                media.append((len(ids), place))
            ids.append(row["sample_id"])
            contents.append(row_content(row))
    packed = np.frombuffer(bytes.fromhex("".join(ids)), "S16")
    return KeptPart(packed, np.frombuffer(b"".join(contents), "S16"), media, tally)


def _find(held: npt.NDArray[np.void], ids: npt.NDArray[np.bytes_]) -> npt.NDArray[np.int64]:
    """Returns where each id is in samples sorted by id; -1 where it is not."""
    if not len(held):
        return np.full(len(ids), -1)
    at = np.minimum(np.searchsorted(held["id"], ids), len(held) - 1)
    return np.where(held["id"][at] == ids, at, -1)


def _compare_contents(
    series: Series,
    held: npt.NDArray[np.void],
    found: npt.NDArray[np.int64],
    part: KeptPart,
    tally: Tally,
) -> None:
    """Compares what shards and `ingest` say of the same samples."""
    present = np.flatnonzero(found >= 0)
    content = held["content"][found[present]]
    wrong = (content != part.contents[present]) & (content != b"")
    tally.good(Check.PAIRS, int((content == part.contents[present]).sum()))
    for at in present[wrong]:
        tar = series.folder.locate(f"{shard_name(int(held['shard'][found[at]]))}.tar")
        message = f"sample {_hex(part.ids[at])} has other texts, media or facts than its row"
        wanted = "what ingest paired"
        tally.bad(Check.PAIRS, Problem(tar, message, wanted, RUN_AGAIN))


def _check_kept(
    scanned: ScannedSeries,
    held: npt.NDArray[np.void],
    kept: npt.NDArray[np.bytes_],
    tally: Tally,
) -> None:
    """Checks that kept = in shards + events, id by id, each once."""
    series = scanned.series
    events_at = series.folder.locate(layout.EVENTS)
    events = np.empty(0, "S16")
    with tally.reading(Check.KEPT, events_at):
        ids = read_table(series.folder, layout.EVENTS, ["sample_id"])["sample_id"].to_pylist()
        events = np.frombuffer(bytes.fromhex("".join(ids)), "S16")
    refused = sorted(one.sample_id for shard in scanned.shards for one in shard.refusals)
    if sorted(map(_hex, events)) != refused:
        found = f"has {len(events)} samples"
        wanted = f"the {len(refused)} that indexes say could not be written"
        tally.bad(Check.KEPT, Problem(events_at, found, wanted, RUN_AGAIN))
    placed = held["id"]
    repeated = np.unique(placed[1:][placed[1:] == placed[:-1]])
    accounted = np.union1d(placed, events)
    tally.good(Check.KEPT, len(np.intersect1d(kept, accounted)))
    for ids, found, wanted in (
        (
            np.setdiff1d(kept, accounted),
            "kept samples are neither in a shard nor in the events",
            "all",
        ),
        (
            np.setdiff1d(placed, kept),
            "samples are in a shard that no ledger keeps",
            "kept ones only",
        ),
        (np.intersect1d(placed, events), "samples are in a shard and in the events", "one place"),
        (repeated, "samples are in two shards", "one place"),
    ):
        if len(ids):
            examples = ", ".join(map(_hex, ids[:_EXAMPLES]))
            problem = Problem(
                series.folder.uri, f"{len(ids)} {found} ({examples})", wanted, RUN_AGAIN
            )
            tally.bad(Check.KEPT, problem)


def _hex(one: Any) -> str:
    return bytes(one).ljust(16, b"\0").hex()
