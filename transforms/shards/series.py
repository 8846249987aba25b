"""The shards of a source's intake, as a pipeline: ranks in, committed shards out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.pvalue import PCollection

from schemas.recipe import ShardSettings, TrainView
from storage.folders import Folder
from transforms.measure.threads import decoding_pool
from transforms.parts.heartbeat import beat
from transforms.shards.build import adopt_shard, build_shard
from transforms.shards.commit import (
    BuiltShard,
    ShardSummary,
    commit_shard,
    committed_names,
    is_committed,
    read_summary,
)
from transforms.shards.members import COLUMNS, ShardRecord, build_record
from transforms.shards.rank import unpack_ranks
from transforms.shards.routing import collect, route, split_committed

ReadRows = Callable[[str], pa.Table]
"""Reads the kept rows of a part (`members.COLUMNS`), in the order in which its ids were ranked."""

_CHUNK_ROWS = 256


def build_records(
    rows: pa.Table,
    ranks: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
    view: TrainView | None,
) -> Iterator[ShardRecord]:
    """Yields the records of some rows of a part.

    Args:
        rows: kept rows of the part, with `members.COLUMNS`.
        ranks: of all of them, shape (rows,).
        positions: of the rows that are wanted.
        view: how images are re-encoded; None for original bytes.
    """
    table = rows.select(COLUMNS)
    for start in range(0, len(positions), _CHUNK_ROWS):
        chunk = positions[start : start + _CHUNK_ROWS]
        for position, row in zip(chunk, table.take(chunk).to_pylist(), strict=True):
            yield build_record(row, int(ranks[position]), view)


class WriteShards(beam.PTransform[PCollection[tuple[str, bytes]], PCollection[ShardSummary]]):
    """(part, packed ranks) of a whole series, from `RankSamples` -> a summary of every shard.

    Shards that are committed already are not written again. Only references cross the shuffle: a
    worker holds the references of one shard, and a bounded window of its media.
    """

    def __init__(
        self,
        read_rows: ReadRows,
        media: Folder,
        shards: Folder,
        settings: ShardSettings,
        threads: int = 0,
    ) -> None:
        """Sets up the series.

        Args:
            read_rows: reads the kept rows of a part; travels in the pipeline.
            media: folder that `part_tar` is relative to.
            shards: folder of the series.
            settings: how shards are cut.
            threads: that read, verify and re-encode media; 0 takes one for each core.
        """
        super().__init__()
        self._route = _RouteRows(read_rows, shards, settings)
        self._write = _WriteShard(media, shards, settings, threads)

    def expand(self, ranks: PCollection[tuple[str, bytes]]) -> PCollection[ShardSummary]:
        """Sends references to their shards and writes each."""
        summaries: PCollection[ShardSummary] = (
            ranks
            | "Route rows" >> beam.ParDo(self._route)
            | "Collect shards" >> beam.GroupByKey()
            | "Write shard" >> beam.ParDo(self._write)
        )
        return summaries


class _RouteRows(beam.DoFn):
    def __init__(self, read_rows: ReadRows, shards: Folder, settings: ShardSettings) -> None:
        self._read_rows = read_rows
        self._shards = shards
        self._settings = settings

    def setup(self) -> None:
        self._committed = committed_names(self._shards)

    def process(self, element: tuple[str, bytes]) -> Iterator[tuple[str, bytes]]:
        part, packed = element
        ranks = unpack_ranks(packed)
        per_shard = self._settings.samples_per_shard
        done, wanted = split_committed(ranks, per_shard, self._committed)
        # A committed shard is only named, so that its summary comes out again.
        yield from ((name, b"") for name in done)
        if wanted.size:
            rows = self._read_rows(part)
            if len(rows) != len(ranks):
                raise ValueError(f"part {part}: {len(rows)} rows, but {len(ranks)} were ranked")
            records = build_records(rows, ranks, wanted, self._settings.train_view)
            yield from route(records, per_shard)


class _WriteShard(beam.DoFn):
    def __init__(
        self, media: Folder, shards: Folder, settings: ShardSettings, threads: int
    ) -> None:
        self._media = media
        self._shards = shards
        self._settings = settings
        self._threads = threads

    def setup(self) -> None:
        self._pool = decoding_pool(self._threads)

    def teardown(self) -> None:
        self._pool.shutdown()

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[ShardSummary]:
        name, values = element
        if is_committed(self._shards, name):
            yield read_summary(self._shards, name)
            return
        per_shard, view = self._settings.samples_per_shard, self._settings.train_view
        records = collect(name, values, ShardRecord.from_line, per_shard)

        def adopt(committed: BinaryIO) -> BuiltShard | None:
            with self._shards.temporary_file() as scratch:
                return adopt_shard(committed, records, view, scratch)

        with self._shards.temporary_file() as tar:
            built = build_shard(records, self._media, view, tar, self._pool)
            summary = commit_shard(self._shards, name, tar, built, adopt)
        beat("shard", len(records))
        yield summary
