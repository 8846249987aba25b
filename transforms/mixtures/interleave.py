"""Pre-mixed series: one series of tars with the sources of a mixture already mixed.

For readers that take plain WebDataset and know nothing of manifests. Each source gives its first
samples by rank, as many as its share asks for; all of them are ordered anew by a keyed hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import apache_beam as beam
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection

from schemas.digests import fingerprint
from schemas.shards import Shard
from storage.folders import Folder
from transforms.measure.threads import decoding_pool
from transforms.mixtures.spans import SampleSpan, copy_samples, read_spans
from transforms.parts.heartbeat import beat
from transforms.shards.commit import (
    BuiltShard,
    ShardSummary,
    commit_shard,
    committed_names,
    is_committed,
    read_index,
    read_summary,
)
from transforms.shards.rank import RankSamples, pack_ids, unpack_ranks
from transforms.shards.routing import collect, route, split_committed

FORMAT_VERSION = 1
"""Version of the bytes of pre-mixed series; raised when equal inputs would give other bytes."""

_TAR = ".tar"


def take_first(
    shards: Mapping[str, Sequence[Shard]], counts: Mapping[str, int]
) -> list[tuple[str, int]]:
    """Returns (path of a tar, samples wanted from its start) for the first samples of each source.

    Args:
        shards: of each source, in the order of rank, relative to the work directory.
        counts: samples wanted of each source; no more than its shards have.
    """
    taken = []
    for source, count in counts.items():
        left = count
        for shard in shards[source]:
            if take := min(left, shard.samples):
                taken.append((shard.path, take))
                left -= take
    return taken


def interleave_digest(
    mixture: str,
    seed: int,
    samples_per_shard: int,
    shards: Mapping[str, Sequence[Shard]],
    counts: Mapping[str, int],
) -> str:
    """Returns the digest that names the folder of a pre-mixed series, 16 hex digits.

    Args:
        mixture: name of the mixture, which its order depends on.
        seed: seed of the recipe.
        samples_per_shard: of the series.
        shards: of each source.
        counts: samples taken of each source.
    """
    sha256 = {shard.path: shard.sha256 for ones in shards.values() for shard in ones}
    taken = [(sha256[path], take) for path, take in take_first(shards, counts)]
    settings = [mixture, seed, samples_per_shard, sorted(taken)]
    return fingerprint("mix/interleave", FORMAT_VERSION, settings)


class WriteInterleaved(beam.PTransform[PCollection[tuple[str, int]], PCollection[ShardSummary]]):
    """(path of a tar, samples wanted), from `take_first` -> a summary of every mixed shard.

    Bytes of members are copied, never encoded again. Shards that are committed already are not
    written again.
    """

    def __init__(
        self,
        work: Folder,
        series: Folder,
        mixture: str,
        seed: int,
        samples_per_shard: int,
        threads: int = 0,
    ) -> None:
        """Sets up the series.

        Args:
            work: the work directory, which paths of tars are relative to.
            series: folder of the mixed series, named after `interleave_digest`.
            mixture: name of the mixture.
            seed: seed of the recipe.
            samples_per_shard: every shard holds as many, the last excepted.
            threads: that read and verify; 0 takes one for each core.
        """
        super().__init__()
        self._rank = RankSamples(seed, f"interleave/{mixture}")
        self._read_ids = _ReadIds(work)
        self._route = _RouteSpans(work, series, samples_per_shard)
        self._copy = _CopySamples(work, series, samples_per_shard, threads)

    def expand(self, taken: PCollection[tuple[str, int]]) -> PCollection[ShardSummary]:
        """Ranks all samples that were taken, and copies each to its shard."""
        summaries: PCollection[ShardSummary] = (
            taken
            | "Read ids" >> beam.ParDo(self._read_ids)
            | "Rank samples" >> self._rank
            | "Route spans" >> beam.ParDo(self._route)
            | "Collect shards" >> beam.GroupByKey()
            | "Copy samples" >> beam.ParDo(self._copy)
        )
        return summaries


class _ReadIds(beam.DoFn):
    def __init__(self, work: Folder) -> None:
        self._work = work

    def process(self, element: tuple[str, int]) -> Iterator[tuple[str, bytes]]:
        tar, take = element
        keys = pc.unique(read_index(self._work, tar.removesuffix(_TAR))["key"])
        yield tar, pack_ids(keys[:take].to_pylist())


class _RouteSpans(beam.DoFn):
    def __init__(self, work: Folder, series: Folder, samples_per_shard: int) -> None:
        self._work = work
        self._series = series
        self._samples_per_shard = samples_per_shard

    def setup(self) -> None:
        self._committed = committed_names(self._series)

    def process(self, element: tuple[str, bytes]) -> Iterator[tuple[str, bytes]]:
        tar, packed = element
        ranks = unpack_ranks(packed)
        done, wanted = split_committed(ranks, self._samples_per_shard, self._committed)
        yield from ((name, b"") for name in done)
        if wanted.size:
            index = read_index(self._work, tar.removesuffix(_TAR))
            spans = list(read_spans(index, tar, ranks.tolist()))
            yield from route((spans[position] for position in wanted), self._samples_per_shard)


class _CopySamples(beam.DoFn):
    def __init__(self, work: Folder, series: Folder, samples_per_shard: int, threads: int) -> None:
        self._work = work
        self._series = series
        self._samples_per_shard = samples_per_shard
        self._threads = threads

    def setup(self) -> None:
        self._pool = decoding_pool(self._threads)

    def teardown(self) -> None:
        self._pool.shutdown()

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[ShardSummary]:
        name, values = element
        if is_committed(self._series, name):
            yield read_summary(self._series, name)
            return
        spans = collect(name, values, SampleSpan.from_line, self._samples_per_shard)
        with self._series.temporary_file() as tar:
            built = BuiltShard(copy_samples(spans, self._work, tar, self._pool))
            # Copies are the same on every attempt: another tar under this name is not ours.
            summary = commit_shard(self._series, name, tar, built, adopt=lambda _: None)
        beat("mix", len(spans))
        yield summary
