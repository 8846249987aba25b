"""mix: the manifest of every mixture, and pre-mixed tars where a recipe asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import apache_beam as beam

from pipelines.jobs import Job, Settings
from pipelines.shard import summaries
from schemas import layout
from schemas.recipe import Mixture
from schemas.shards import Manifest, Shard
from storage.folders import Folder
from transforms.mixtures.interleave import WriteInterleaved, interleave_digest, take_first
from transforms.mixtures.manifest import build_interleaved_manifest, build_manifest
from transforms.mixtures.weights import largest_counts, normalise_weights
from transforms.shards.commit import ShardSummary, committed_names, read_summaries
from transforms.work import Series, Work


def families(work: Work) -> dict[str, Folder]:
    """Returns nothing: manifests are no column family."""
    return {}


def jobs(work: Work, settings: Settings) -> Iterator[Job]:
    """Writes manifests; yields one job for every pre-mixed series that lacks shards."""
    found = summaries(work)
    intakes = [intake.name for intake in work.intakes()]
    for mixture in work.recipe.mixtures:
        shards = committed_shards(found, mixture, intakes)
        manifest = build_manifest(
            work.recipe, mixture, shards, _parent(work, mixture, found, intakes[:-1])
        )
        work.folder.replace(layout.manifest(mixture.name), manifest.to_bytes())
        if mixture.interleave:
            yield from _interleave(work, settings, mixture, shards)


def committed_shards(
    found: list[tuple[Series, list[ShardSummary]]], mixture: Mixture, intakes: list[str]
) -> dict[str, list[Shard]]:
    """Returns the shards that a mixture draws from, by source, in the order of the intakes.

    Args:
        found: the committed shards of every series.
        mixture: says which split.
        intakes: only those of these intakes.
    """
    by_source: dict[str, list[Shard]] = {}
    for series, several in found:
        shards = by_source.setdefault(series.source, [])
        if series.intake in intakes and series.split == mixture.split:
            shards += [summary.to_shard(series.path) for summary in several]
    return by_source


def _parent(
    work: Work,
    mixture: Mixture,
    found: list[tuple[Series, list[ShardSummary]]],
    before: list[str],
) -> str | None:
    """Returns the merkle root of the same mixture before the last intake came in."""
    if not before:
        return None
    earlier = committed_shards(found, mixture, before)
    empty = {source for source, shards in earlier.items() if not shards}
    weights = {name: one for name, one in mixture.weights.items() if name not in empty}
    if empty == set(earlier) or (mixture.weights and not any(weights.values())):
        return None
    known = mixture.model_copy(update={"weights": weights})
    return build_manifest(work.recipe, known, earlier).merkle_root


def _interleave(
    work: Work, settings: Settings, mixture: Mixture, shards: dict[str, list[Shard]]
) -> Iterator[Job]:
    recipe = work.recipe
    samples = {name: sum(one.samples for one in several) for name, several in shards.items()}
    counts = largest_counts(normalise_weights(mixture, samples), samples)
    size = recipe.shard.samples_per_shard
    digest = interleave_digest(mixture.name, recipe.seed, size, shards, counts)
    path = layout.interleaved_folder(mixture.name, digest)
    series = work.folder.child(path)
    total = sum(counts.values())
    if len(committed_names(series)) < -(-total // size):
        taken = take_first(shards, counts)
        write = partial(
            WriteInterleaved,
            work.folder,
            series,
            mixture.name,
            recipe.seed,
            size,
            settings.threads,
        )
        yield Job(f"interleave {mixture.name}", partial(_build, taken=taken, write=write), total)
    manifest = build_interleaved_manifest(
        recipe, mixture, [one.to_shard(path) for one in read_summaries(series)]
    )
    work.folder.replace(layout.interleaved_manifest(mixture.name), manifest.to_bytes())


def _build(
    pipeline: beam.Pipeline, taken: list[tuple[str, int]], write: partial[WriteInterleaved]
) -> None:
    pipeline | "Taken" >> beam.Create(taken) | "Interleave" >> write()


def read_manifests(work: Work) -> dict[str, Manifest]:
    """Returns the manifests that have been written, by their names in the work directory."""
    names = [layout.manifest(mixture.name) for mixture in work.recipe.mixtures]
    names += [layout.interleaved_manifest(one.name) for one in work.recipe.mixtures]
    return {
        name: Manifest.model_validate_json(work.folder.read(name))
        for name in names
        if work.folder.exists(name)
    }
