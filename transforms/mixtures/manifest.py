"""Manifests: which shards make a mixture, in which proportions. They copy nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Literal

from schemas.recipe import Mixture, Recipe
from schemas.shards import Manifest, MixtureSource, Shard, merkle_root, shard_leaves
from storage.names import check_name
from transforms.mixtures.weights import normalise_weights

_WEIGHT_TOLERANCE = 1e-9


def build_manifest(
    recipe: Recipe,
    mixture: Mixture,
    shards: Mapping[str, Sequence[Shard]],
    parent: str | None = None,
) -> Manifest:
    """Returns the manifest of a mixture that is mixed while it is read.

    Args:
        recipe: the resolved recipe.
        mixture: one of its mixtures.
        shards: by source, those of all intakes, in the order in which intakes came in. Shards
            without samples are left out.
        parent: merkle root of the release that this one follows.

    Raises:
        ValueError: a source has a weight but no samples, or no source has any.
    """
    filled = {source.name: _filled(shards.get(source.name, ())) for source in recipe.sources}
    samples = {name: sum(shard.samples for shard in ones) for name, ones in filled.items()}
    sources = tuple(
        MixtureSource(name=name, weight=float(share), samples=samples[name], shards=filled[name])
        for name, share in normalise_weights(mixture, samples).items()
    )
    return _manifest(recipe, mixture, "by_source", sources, parent)


def build_interleaved_manifest(
    recipe: Recipe, mixture: Mixture, shards: Sequence[Shard], parent: str | None = None
) -> Manifest:
    """Returns the manifest of a mixture whose shards hold its sources already mixed.

    Args:
        recipe: the resolved recipe.
        mixture: one of its mixtures.
        shards: of the mixed series, in order.
        parent: merkle root of the release that this one follows.
    """
    filled = _filled(shards)
    samples = sum(shard.samples for shard in filled)
    source = MixtureSource(name=mixture.name, weight=1.0, samples=samples, shards=filled)
    return _manifest(recipe, mixture, "interleaved", (source,), parent)


def check_manifest(manifest: Manifest) -> None:
    """Checks that a manifest agrees with itself; it reads no shard.

    Raises:
        ValueError: counts, weights or the merkle root do not add up, a shard is named twice, or a
            path leads out of the work directory.
    """
    name = f"manifest of {manifest.mixture!r}"
    for source in manifest.sources:
        counted = sum(shard.samples for shard in source.shards)
        _demand_equal(f"{name}: samples of source {source.name!r}", source.samples, counted)
    counted = sum(source.samples for source in manifest.sources)
    _demand_equal(f"{name}: samples", manifest.samples, counted)
    total = fsum(source.weight for source in manifest.sources)
    if abs(total - 1) > _WEIGHT_TOLERANCE or any(one.weight <= 0 for one in manifest.sources):
        raise ValueError(f"{name}: weights are not above 0 with the sum 1 (it is {total!r})")
    paths = [
        path
        for source in manifest.sources
        for shard in source.shards
        for path in (shard.path, shard.index)
    ]
    for path in paths:
        check_name(path)
    repeated = sorted({path for path in paths if paths.count(path) > 1})
    if repeated:
        raise ValueError(f"{name}: {repeated[0]} is named twice")
    root = merkle_root(shard_leaves(manifest.sources))
    _demand_equal(f"{name}: merkle root", manifest.merkle_root, root)


def _filled(shards: Sequence[Shard]) -> tuple[Shard, ...]:
    return tuple(shard for shard in shards if shard.samples)


def _manifest(
    recipe: Recipe,
    mixture: Mixture,
    layout: Literal["by_source", "interleaved"],
    sources: tuple[MixtureSource, ...],
    parent: str | None,
) -> Manifest:
    return Manifest(
        mixture=mixture.name,
        recipe_digest=recipe.digest(),
        seed=recipe.seed,
        layout=layout,
        samples=sum(source.samples for source in sources),
        sources=sources,
        merkle_root=merkle_root(shard_leaves(sources)),
        parent=parent,
    )


def _demand_equal(what: str, stated: object, found: object) -> None:
    if stated != found:
        raise ValueError(
            f"{what}: the manifest says {stated}, its shards say {found}; it was changed by hand "
            "or is not whole: write it again with `mix`"
        )
