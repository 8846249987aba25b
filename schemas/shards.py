"""The contract between the pipelines and whatever trains on the shards: members, index, manifest.

Shards are WebDataset tars: the members of a sample are contiguous and named `<sample_id>.<ext>`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from schemas.digests import canonical_json

MANIFEST_VERSION: Literal[1] = 1

KEY_PATTERN = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
"""How WebDataset splits a member's name into (key, extension): at the first dot of its basename."""

EXTENSIONS: dict[str, str] = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "image/avif": "avif",
}
"""Extension of a media member by media type."""

INDEX = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("member", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("caption_tokens", pa.int32()),
    ]
)
"""One row per member, in the order of the tar. `offset` and `length` are of the member's data."""


def split_member(name: str) -> tuple[str, str] | None:
    """Splits a member's name into (key, extension); None where WebDataset would skip it."""
    match = KEY_PATTERN.match(name)
    return (match.group(1), match.group(2)) if match else None


def check_key(key: str) -> None:
    """Raises ValueError unless `key` can be the key of a sample: no dot, no slash, not empty."""
    if not key or "." in key or "/" in key or "\0" in key:
        raise ValueError(f"shard key {key!r}: a key is not empty and holds no dot and no slash")


class ShardText(BaseModel):
    """One text of a sample, with where it came from.

    Attributes:
        role: what it is to the sample.
        text: the text.
        lang: its language, as the source states it.
        model, prompt_id, media_id: of a synthetic text, what made it, from which prompt and image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    text: str
    lang: str | None = None
    model: str | None = None
    prompt_id: str | None = None
    media_id: str | None = None


class ShardSample(BaseModel):
    """The `json` member of a sample.

    Attributes:
        sample_id: key of the sample; also the name of its members.
        source, locator: where it came from.
        kind: `pair` or `text_pair`.
        texts: every text, the primary one first.
        media: media_id by member extension, of the original bytes.
        width, height: of the original image, in pixels; None where there is none.
        query_id, positive_id: content ids of the query and of the positive: equal ids are the same
            content, so that a trainer can mask false negatives.
        cluster_id: duplicate cluster; None where the sample has no duplicate.
        licence, attribution: as the source states them.
        meta: further fields of the source.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_id: str
    source: str
    locator: str
    kind: str
    texts: tuple[ShardText, ...]
    media: dict[str, str] = {}
    width: int | None = None
    height: int | None = None
    query_id: str
    positive_id: str
    cluster_id: str | None = None
    licence: str = ""
    attribution: str = ""
    meta: dict[str, Any] = {}


class Shard(BaseModel):
    """One tar of a mixture.

    Attributes:
        path, index: the tar and its index, relative to the work directory.
        samples: samples in the tar.
        bytes: size of the tar.
        sha256, index_sha256: digests of the two files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    index: str
    samples: int
    bytes: int
    sha256: str
    index_sha256: str


class MixtureSource(BaseModel):
    """One source of a mixture: its weight among the others, and its shards in order.

    Attributes:
        name: of the source.
        weight: share of the mixture's samples, normalised so that all weights sum to 1.
        samples: samples in its shards.
        shards: its tars, in the order of rank.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weight: float
    samples: int
    shards: tuple[Shard, ...]


class Manifest(BaseModel):
    """`mix/<mixture>/manifest.json`: everything that a trainer needs to know of a mixture.

    Attributes:
        schema_version: version of this contract.
        mixture: name of the mixture.
        recipe_digest: digest of the resolved recipe, without work path, part size, threads, runner.
        seed: seed of every keyed hash.
        layout: whether a reader mixes the sources by their weights, or finds them mixed.
        samples: samples of all sources.
        sources: in the order of the recipe. A mixture with `layout = "interleaved"` has one, named
            after the mixture, whose shards hold the samples of all sources already mixed.
        merkle_root: root over the sha256 of every shard and index, in order.
        parent: merkle root of the release that this one follows; None for the first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = MANIFEST_VERSION
    mixture: str
    recipe_digest: str
    seed: int
    layout: Literal["by_source", "interleaved"]
    samples: int
    sources: tuple[MixtureSource, ...]
    merkle_root: str
    parent: str | None = None

    def to_bytes(self) -> bytes:
        """Returns the manifest as stored: canonical JSON and a final newline."""
        return (canonical_json(self.model_dump(mode="json")) + "\n").encode()


def merkle_root(leaves: list[str]) -> str:
    r"""Returns the root of the binary Merkle tree over sha256 hex digests, as hex.

    Inner nodes hash `\x01 + left + right`, leaves `\x00 + leaf`; an odd node moves up unchanged
    (RFC 6962, section 2.1). The root of no leaves is sha256 of nothing.
    """
    if not leaves:
        return hashlib.sha256().hexdigest()
    level = [hashlib.sha256(b"\x00" + bytes.fromhex(leaf)).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [
            hashlib.sha256(b"\x01" + pair[0] + pair[1]).digest() if len(pair) == 2 else pair[0]
            for pair in pairs
        ]
    return level[0].hex()


def shard_leaves(sources: tuple[MixtureSource, ...]) -> list[str]:
    """Returns the leaves of a mixture's Merkle tree: sha256 of each tar and of its index."""
    return [
        leaf
        for source in sources
        for shard in source.shards
        for leaf in (shard.sha256, shard.index_sha256)
    ]
