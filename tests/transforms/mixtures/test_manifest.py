from __future__ import annotations

import hashlib

import pytest

from schemas.recipe import Mixture, Recipe
from schemas.shards import Shard, merkle_root
from transforms.mixtures.manifest import (
    build_interleaved_manifest,
    build_manifest,
    check_manifest,
)


def recipe(*mixtures):
    sources = [{"type": "folder", "name": name, "path": name} for name in ("web", "wit", "text")]
    return Recipe.model_validate({"name": "r", "seed": 9, "sources": sources})


def shard(source, number, samples):
    return Shard(
        path=f"shards/{source}/i0/x/{number:06d}.tar",
        index=f"shards/{source}/i0/x/{number:06d}.idx.parquet",
        samples=samples,
        bytes=10240,
        sha256=hashlib.sha256(f"{source}{number}".encode()).hexdigest(),
        index_sha256=hashlib.sha256(f"{source}{number}i".encode()).hexdigest(),
    )


SHARDS = {
    "wit": [shard("wit", 0, 5)],
    "web": [shard("web", 0, 10), shard("web", 1, 5)],
}


def test_by_default_every_source_in_proportion():
    manifest = build_manifest(recipe(), Mixture(), SHARDS)
    check_manifest(manifest)
    assert [(one.name, one.weight, one.samples) for one in manifest.sources] == [
        ("web", 0.75, 15),
        ("wit", 0.25, 5),
    ]
    assert (manifest.samples, manifest.seed, manifest.layout) == (20, 9, "by_source")
    assert manifest.recipe_digest == recipe().digest()
    assert manifest.sources[0].shards == tuple(SHARDS["web"])
    assert manifest.merkle_root == merkle_root(
        [
            leaf
            for one in (*SHARDS["web"], *SHARDS["wit"])
            for leaf in (one.sha256, one.index_sha256)
        ]
    )


def test_weights_are_normalised_and_sources_of_weight_0_left_out():
    weights = {"wit": 3, "web": 0, "text": 0}
    manifest = build_manifest(recipe(), Mixture(name="m", weights=weights), SHARDS, "f" * 64)
    check_manifest(manifest)
    assert [(one.name, one.weight) for one in manifest.sources] == [("wit", 1.0)]
    assert (manifest.mixture, manifest.samples, manifest.parent) == ("m", 5, "f" * 64)


def test_changing_a_weight_changes_no_shard():
    first = build_manifest(recipe(), Mixture(weights={"web": 1, "wit": 1}), SHARDS)
    second = build_manifest(recipe(), Mixture(weights={"web": 1, "wit": 9}), SHARDS)
    assert first.merkle_root == second.merkle_root
    assert [one.weight for one in second.sources] == [0.1, 0.9]


def test_a_weight_on_an_empty_source_says_what_to_do():
    with pytest.raises(ValueError, match="source 'text' has weight 1 but not one kept sample"):
        build_manifest(recipe(), Mixture(weights={"web": 1, "text": 1}), SHARDS)
    empty = {"web": [shard("web", 0, 0)]}
    with pytest.raises(ValueError, match="no source has a kept sample"):
        build_manifest(recipe(), Mixture(), empty)


def test_shards_without_samples_are_left_out():
    shards = {"web": [shard("web", 0, 0), shard("web", 1, 4)]}
    (source,) = build_manifest(recipe(), Mixture(), shards).sources
    assert source.shards == (shards["web"][1],)


def test_an_interleaved_mixture_has_one_source_of_its_name():
    shards = [shard("m", 0, 10), shard("m", 1, 2)]
    manifest = build_interleaved_manifest(recipe(), Mixture(name="m"), shards)
    check_manifest(manifest)
    assert manifest.layout == "interleaved"
    (source,) = manifest.sources
    assert (source.name, source.weight, source.samples) == ("m", 1.0, 12)


def replaced(manifest, **changes):
    source = manifest.sources[0].model_copy(update=changes)
    return manifest.model_copy(update={"sources": (source, *manifest.sources[1:])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.model_copy(update={"samples": 21}), "samples: the manifest says 21"),
        (lambda one: replaced(one, samples=14), "source 'web': the manifest says 14"),
        (lambda one: replaced(one, weight=0.5), "weights are not above 0"),
        (lambda one: one.model_copy(update={"merkle_root": "0" * 64}), "merkle root"),
        (lambda one: replaced(one, shards=one.sources[0].shards[::-1]), "merkle root"),
        (lambda one: replaced(one, shards=(SHARDS["web"][0],) * 2, samples=20), "samples"),
    ],
)
def test_a_manifest_that_disagrees_with_itself_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        check_manifest(change(build_manifest(recipe(), Mixture(), SHARDS)))


@pytest.mark.parametrize("path", ["../x.tar", "/etc/x.tar", "a/../../x.tar"])
def test_a_path_out_of_the_work_directory_is_refused(path):
    shards = {"web": [shard("web", 0, 1).model_copy(update={"path": path})]}
    with pytest.raises(ValueError, match="file name"):
        check_manifest(build_manifest(recipe(), Mixture(), shards))


def test_a_shard_named_twice_is_refused():
    shards = {"web": [shard("web", 0, 1), shard("web", 0, 1)]}
    with pytest.raises(ValueError, match="is named twice"):
        check_manifest(build_manifest(recipe(), Mixture(), shards))
