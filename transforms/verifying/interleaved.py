"""Pre-mixed series: the first samples of every source, byte for byte, each once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial

import numpy as np
import numpy.typing as npt

from schemas import layout
from schemas.recipe import Mixture
from schemas.shards import Manifest
from storage.folders import Folder
from transforms.mixtures.manifest import build_interleaved_manifest
from transforms.mixtures.weights import largest_counts, normalise_weights
from transforms.shards.commit import shard_name
from transforms.verifying.ahead import map_ahead
from transforms.verifying.findings import RUN_AGAIN, Check, Problem, Tally
from transforms.verifying.manifests import compare_manifests, read_manifest
from transforms.verifying.tars import HELD, scan_shard
from transforms.work import Work

_COMPARED = ["id", "content", "media"]


def check_interleaved(
    work: Work,
    mixture: Mixture,
    samples: Mapping[str, npt.NDArray[np.void]],
    pool: Executor,
    tally: Tally,
) -> None:
    """Reads the pre-mixed series of a mixture and compares it with the shards of its sources.

    Args:
        work: the work directory.
        mixture: one with `interleave`.
        samples: of every source of the recipe, in the order of rank: arrays of `HELD`.
        pool: threads that read a shard each.
        tally: counts of `Check.MANIFESTS`, `SHARDS`, `MEMBERS`, and `PAIRS`, one for each sample.
    """
    name = layout.interleaved_manifest(mixture.name)
    stated = read_manifest(work, name, tally)
    if stated is None:
        return
    counts = {source: len(ones) for source, ones in samples.items()}
    try:
        taken = largest_counts(normalise_weights(mixture, counts), counts)
    except ValueError as error:
        at = work.folder.locate(name)
        tally.bad(Check.MANIFESTS, Problem(at, "is there", f"none: {error}", RUN_AGAIN))
        return
    path = _series_path(stated)
    folder = work.folder.child(path) if path else work.folder
    total = -(-sum(taken.values()) // work.recipe.shard.samples_per_shard)
    scan = partial(
        scan_shard,
        folder,
        path,
        sources=tuple(samples),
        original=work.recipe.shard.train_view is None,
    )
    scanned = list(map_ahead(pool, scan, map(shard_name, range(total if path else 0))))
    for one in scanned:
        tally.add(one.tally)
    built = build_interleaved_manifest(
        work.recipe, mixture, [one.shard for one in scanned if one.shard], stated.parent
    )
    compare_manifests(work, name, built, stated, tally)
    wanted = [samples[source][:count] for source, count in taken.items()]
    found = np.concatenate([np.empty(0, HELD), *(one.samples for one in scanned)])
    _compare_samples(folder, np.concatenate([np.empty(0, HELD), *wanted]), found, tally)


def _series_path(manifest: Manifest) -> str:
    """Returns the folder that a manifest's shards lie in; empty where it has none."""
    paths = [shard.path for source in manifest.sources for shard in source.shards]
    return paths[0].rpartition("/")[0] if paths else ""


def _compare_samples(
    folder: Folder,
    wanted: npt.NDArray[np.void],
    found: npt.NDArray[np.void],
    tally: Tally,
) -> None:
    """Compares two sets of samples by what they say and by their media."""
    one, other = (np.sort(_comparable(samples)) for samples in (wanted, found))
    both = np.intersect1d(one, other)
    tally.good(Check.PAIRS, len(both))
    for samples, message in (
        (np.setdiff1d(one, both), "samples of the sources are not here as they are there"),
        (np.setdiff1d(other, both), "samples are here that are not those of the sources"),
        (other[1:][other[1:] == other[:-1]], "samples are here twice"),
    ):
        if len(samples):
            example = bytes(samples[0])[:16].ljust(16, b"\0").hex()
            text = f"{len(samples)} {message} ({example})"
            problem = Problem(folder.uri, text, "the first of every source, once", RUN_AGAIN)
            tally.bad(Check.PAIRS, problem)


def _comparable(samples: npt.NDArray[np.void]) -> npt.NDArray[np.bytes_]:
    """Returns id, content and media of each sample as one `S64`."""
    columns = [np.frombuffer(samples[name].tobytes(), np.uint8) for name in _COMPARED]
    rows = [one.reshape(len(samples), -1) for one in columns]
    return np.ascontiguousarray(np.hstack(rows)).view("S64").reshape(-1)
