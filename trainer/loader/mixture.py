"""A mixture that can be read: its manifest, and the folders of its tars and of their indexes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from pydantic import ValidationError

from schemas import layout
from schemas.shards import Manifest, merkle_root, shard_leaves
from storage.folders import Folder, open_folder


@dataclass(frozen=True)
class Mixture:
    """What the loader reads.

    Attributes:
        manifest: sources and shards.
        shards: folder of the tars that the manifest names.
        indexes: folder of the indexes that it names.
        plain: the tars are any WebDataset, whose `json` members are not ours to understand.
    """

    manifest: Manifest
    shards: Folder
    indexes: Folder
    plain: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError where the manifest contradicts itself or holds nothing."""
        manifest = self.manifest
        for source in manifest.sources:
            counted = sum(shard.samples for shard in source.shards)
            if counted != source.samples:
                raise ValueError(
                    f"mixture {manifest.mixture!r}: source {source.name!r} has {source.samples} "
                    f"samples, its shards {counted}; run `mixwright run` again"
                )
        if merkle_root(shard_leaves(manifest.sources)) != manifest.merkle_root:
            raise ValueError(
                f"mixture {manifest.mixture!r}: the shards are not those of its Merkle root "
                f"{manifest.merkle_root}; the manifest was edited: run `mixwright run` again"
            )
        if not any(source.samples for source in manifest.sources):
            raise ValueError(
                f"mixture {manifest.mixture!r} is empty; `mixwright slice` shows what was dropped"
            )

    @cached_property
    def digest(self) -> str:
        """sha256 of the manifest as stored, 64 hex digits: the identity of the mixture."""
        return hashlib.sha256(self.manifest.to_bytes()).hexdigest()


def open_mixture(uri: str, name: str) -> Mixture:
    """Opens a mixture of a work directory.

    Args:
        uri: the work directory, a path or `gs://…`.
        name: name of the mixture in the recipe.

    Raises:
        FileNotFoundError: there is no such mixture.
        ValueError: its manifest is malformed, of another version, contradictory or empty.
    """
    folder = open_folder(uri)
    path = layout.manifest(name)
    try:
        manifest = Manifest.model_validate_json(folder.read(path))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise ValueError(
            f"{folder.locate(path)} is no manifest of a mixture ({problems}); "
            "run `mixwright run` again, with the version that will train"
        ) from error
    return Mixture(manifest, folder, folder)
