"""Ranks a million ids through Beam on the local runner; against one global sort in numpy.

python -m benchmarks.rank
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import apache_beam as beam
import numpy as np
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from benchmarks.figures import Figure, median_ratio, report, take_turns
from transforms.shards.rank import RankSamples, hash_ids, unpack_ranks

IDS = 1_000_000
PARTS = 100
ROUNDS = 5
SEED = 0


def read_part(number: int, folder: str) -> tuple[str, bytes]:
    """Reads the ids of a part from disk, as a stage does: they are no part of the pipeline."""
    return f"{number:05d}", Path(folder, f"{number:05d}").read_bytes()


def write_ranks(element: tuple[str, bytes], folder: str) -> None:
    part, ranks = element
    Path(folder, f"{part}.ranks").write_bytes(ranks)


def rank_through_beam(folder: str) -> None:
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        (
            pipeline
            | "Parts" >> beam.Create(range(PARTS))
            | "Read" >> beam.Map(read_part, folder)
            | "Rank" >> RankSamples(SEED, "shard")
            | "Write" >> beam.Map(write_ranks, folder)
        )


def rank_by_one_sort(folder: str) -> np.ndarray:
    ids = b"".join(read_part(number, folder)[1] for number in range(PARTS))
    halves = np.frombuffer(ids, ">u8").astype("u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0], hash_ids(ids, SEED, "shard")))
    ranks = np.empty(IDS, np.int64)
    ranks[order] = np.arange(IDS)
    return ranks


def ranks_of_parts(folder: str) -> Iterator[np.ndarray]:
    for number in range(PARTS):
        yield unpack_ranks(Path(folder, f"{number:05d}.ranks").read_bytes())


def main() -> None:
    ids = np.random.default_rng(0).bytes(16 * IDS)
    part_bytes = len(ids) // PARTS
    with tempfile.TemporaryDirectory() as folder:
        for number in range(PARTS):
            part = ids[number * part_bytes : (number + 1) * part_bytes]
            Path(folder, f"{number:05d}").write_bytes(part)
        seconds = take_turns(
            ROUNDS,
            beam=lambda: rank_through_beam(folder),
            one_sort=lambda: rank_by_one_sort(folder),
        )
        if not np.array_equal(np.concatenate([*ranks_of_parts(folder)]), rank_by_one_sort(folder)):
            raise ValueError("ranks through Beam differ from those of one global sort")
    report(
        "rank",
        [
            Figure("rank_1m_ids_through_beam", median(seconds["beam"]), "s", "<=", 20),
            Figure(
                "rank_time_vs_one_numpy_sort",
                median_ratio(seconds["beam"], seconds["one_sort"]),
                "ratio",
                "<=",
                10,
            ),
        ],
    )


if __name__ == "__main__":
    main()
