"""shard: kept samples in keyed-hash order, as equal WebDataset tars by source, intake and split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import apache_beam as beam
import pyarrow as pa

from pipelines.jobs import Job, Settings
from schemas import layout
from schemas.tables import EVENTS
from storage.folders import Folder
from transforms.parts.tables import encode_table
from transforms.shards.commit import ShardSummary, committed_names, read_summaries
from transforms.shards.kept import KeptRows, ReadKeptIds
from transforms.shards.rank import RankSamples
from transforms.shards.series import WriteShards
from transforms.work import Series, Work


def families(work: Work) -> dict[str, Folder]:
    """Returns nothing: shards are no column family."""
    return {}


def jobs(work: Work, settings: Settings) -> Iterator[Job]:
    """Yields one job for every series that lacks shards; ends with the events of each."""
    for series in work.series():
        if len(committed_names(series.folder)) < series.shards(work.recipe.shard):
            build = partial(_build, work=work, settings=settings, series=series)
            yield Job(f"{series.source} {series.intake} {series.split}", build, series.samples)
        _commit_events(series.folder)


def _build(pipeline: beam.Pipeline, work: Work, settings: Settings, series: Series) -> None:
    rows = KeptRows(
        ingest=work.ingest,
        images=work.local_family("measure/image"),
        texts=work.local_family("measure/text"),
        ledger=work.ledgers()[series.intake],
        split=series.split,
        versions={file.part.stem: file.version for file in series.parts},
    )
    media = work.ingest.child(f"{series.source}/{series.intake}")
    (
        pipeline
        | "Parts" >> beam.Create(sorted(rows.versions))
        | "Spread" >> beam.Reshuffle()
        | "KeptIds" >> ReadKeptIds(rows)
        | "Rank" >> RankSamples(work.recipe.seed, "shard")
        | "Write" >> WriteShards(rows, media, series.folder, work.recipe.shard, settings.threads)
    )


def _commit_events(folder: Folder) -> None:
    refusals = [one for summary in read_summaries(folder) for one in summary.refusals]
    columns: defaultdict[str, list[str]] = defaultdict(list)
    for one in refusals:
        for name in EVENTS.names:
            columns[name].append(getattr(one, name))
    table = pa.table({name: columns[name] for name in EVENTS.names}, schema=EVENTS)
    folder.create(layout.EVENTS, encode_table(table, {"rows": len(table)}))


def summaries(work: Work) -> list[tuple[Series, list[ShardSummary]]]:
    """Returns the committed shards of every series: by source, then by intake, then by split."""
    return [(series, list(read_summaries(series.folder))) for series in work.series()]
