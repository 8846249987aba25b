"""Manifests: they name the committed shards, each once, and what they state of them is so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from schemas import layout
from schemas.recipe import SplitName
from schemas.shards import Manifest, MixtureSource, Shard
from transforms.mixtures.manifest import build_manifest
from transforms.verifying.findings import Check, Problem, Tally
from transforms.verifying.tars import ScannedShard, compare_shard
from transforms.work import Work

_REMEDY = "run `mixwright run` again: manifests are written anew"
_ROOT_FIELDS = ("mixture", "recipe_digest", "seed", "layout", "samples", "merkle_root")


def check_manifests(
    work: Work, shards: Mapping[SplitName, Mapping[str, Sequence[ScannedShard]]], tally: Tally
) -> None:
    """Checks the manifests of mixtures that are mixed while they are read, and finds all others.

    Args:
        work: the work directory.
        shards: by split, of every source of the recipe, in the order of the intakes.
        tally: counts of `Check.MANIFESTS`: one for each manifest, and for each shard that it names.
    """
    names = [layout.manifest(mixture.name) for mixture in work.recipe.mixtures]
    for name, mixture in zip(names, work.recipe.mixtures, strict=True):
        stated = read_manifest(work, name, tally)
        if stated is None:
            continue
        by_source = shards.get(mixture.split, {})
        found = {
            source: [one.shard for one in ones if one.shard] for source, ones in by_source.items()
        }
        try:
            built = build_manifest(work.recipe, mixture, found, stated.parent)
        except ValueError as error:
            problem = Problem(work.folder.locate(name), "is there", f"none: {error}", _REMEDY)
            tally.bad(Check.MANIFESTS, problem)
        else:
            compare_manifests(work, name, built, stated, tally)
    interleaved = {layout.interleaved_manifest(one.name) for one in work.recipe.mixtures}
    for entry in work.folder.list("mix/"):
        if entry.name.endswith("manifest.json") and entry.name not in {*names, *interleaved}:
            # Of a mixture that the recipe has no more: it should still be whole.
            read_manifest(work, entry.name, tally)


def read_manifest(work: Work, name: str, tally: Tally) -> Manifest | None:
    """Reads a manifest, and says which of its shards are missing, or named twice."""
    at = work.folder.locate(name)
    manifest: Manifest | None = None
    with tally.reading(Check.MANIFESTS, at, _REMEDY):
        try:
            manifest = Manifest.model_validate_json(work.folder.read(name))
        except ValidationError as error:
            found = f"is no manifest ({error.errors()[0]['msg']})"
            tally.bad(Check.MANIFESTS, Problem(at, found, "a manifest", _REMEDY))
    if manifest is None:
        return None
    paths = Counter(
        path
        for source in manifest.sources
        for shard in source.shards
        for path in (shard.path, shard.index)
    )
    present = {one.name for top in ("mix/", "shards/") for one in work.folder.list(top)}
    for path, times in paths.items():
        if path not in present:
            problem = Problem(at, f"names {path}, which is missing", "committed shards", _REMEDY)
            tally.bad(Check.MANIFESTS, problem)
        if times > 1:
            problem = Problem(at, f"names {path} {times} times", "every shard once", _REMEDY)
            tally.bad(Check.MANIFESTS, problem)
    return manifest


def compare_manifests(
    work: Work, name: str, built: Manifest, stated: Manifest, tally: Tally
) -> None:
    """Counts a manifest that says what is there, shard by shard, or says what differs.

    Args:
        work: the work directory.
        name: of the manifest.
        built: made from the shards as they were read, so that its Merkle root is theirs.
        stated: as it was read.
        tally: what is counted in.
    """
    at = work.folder.locate(name)

    def differ(what: str, found: object, expected: object) -> None:
        problem = Problem(at, f"states {what} {found}", f"{expected}, as files say", _REMEDY)
        tally.bad(Check.MANIFESTS, problem)

    wrong = [one for one in _ROOT_FIELDS if getattr(stated, one) != getattr(built, one)]
    for one in wrong:
        differ(one, getattr(stated, one), getattr(built, one))
    sources = {one.name: one for one in stated.sources}
    if list(sources) != [one.name for one in built.sources]:
        wrong.append("sources")
        differ("the sources", ", ".join(sources), ", ".join(one.name for one in built.sources))
    if not wrong:
        tally.good(Check.MANIFESTS)
    for source in built.sources:
        if source.name in sources:
            _compare_sources(work, name, source, sources[source.name], tally)


def _compare_sources(
    work: Work, name: str, built: MixtureSource, stated: MixtureSource, tally: Tally
) -> None:
    at = work.folder.locate(name)
    for what in ("weight", "samples"):
        found, expected = getattr(stated, what), getattr(built, what)
        if found != expected:
            message = f"states {what} {found} of source {built.name!r}"
            problem = Problem(at, message, f"{expected}, as recipe and files say", _REMEDY)
            tally.bad(Check.MANIFESTS, problem)
    named = {shard.path: shard for shard in stated.shards}
    there = {shard.path: shard for shard in built.shards}
    if list(named) != list(there):
        message = f"names {len(stated.shards)} shards of source {built.name!r}"
        expected = f"the {len(there)} that are committed, in their order"
        tally.bad(Check.MANIFESTS, Problem(at, message, expected, _REMEDY))
    for path in sorted(named.keys() & there.keys()):
        shard: Shard = there[path]
        place = work.folder.locate(path)
        compare_shard(shard, named[path], place, f"{at}", tally, Check.MANIFESTS)
