"""The members of a sample: what an ingest row becomes in a shard.

A pair has its image, `txt` (the primary caption) and `json` (`schemas.shards.ShardSample`). A text
pair has `txt` (the query), `passage.txt` and `json`: keys hold no dot, but extensions may.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.digests import canonical_json, hex_digest
from schemas.recipe import TrainView
from schemas.samples import Kind, TextRole
from schemas.shards import EXTENSIONS, ShardSample, ShardText, check_key

COLUMNS = (
    "sample_id",
    "source",
    "kind",
    "locator",
    "media",
    "texts",
    "text",
    "licence",
    "attribution",
    "meta",
    "row_digest",
    "cluster_id",
    "mime",
    "width",
    "height",
    "caption_tokens",
)
"""Columns that a kept row has: those of `ingest`, then what other families say of it.

`cluster_id` is from `dedupe`; `mime`, `width` and `height` are from `measure/image`, of the stored
bytes; `caption_tokens` is `text.unigrams` of `measure/text`. Each of these five may be null.
"""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a sample, bytes in hand.

    Attributes:
        extension: what follows the key and a dot in the member's name.
        data: its bytes.
        sha256: of `data`, as hex; None where nobody has computed it yet.
        width, height: in pixels, for media.
        caption_tokens: words of the caption, for `txt`.
    """

    extension: str
    data: bytes
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    caption_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class MediaRange:
    """Where the media of a sample lie.

    Attributes:
        media_id: sha256 of the bytes.
        part_tar: name of the tar, relative to the folder of the source's intake.
        offset, length: of the bytes in the tar.
    """

    media_id: str
    part_tar: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A sample on its way to a shard: small, because its media travel by reference.

    Attributes:
        rank: its place in the series, from 0.
        sample: `schemas.shards.ShardSample` as JSON values, without those that are None.
        media: its image; None for a text pair.
        caption_tokens: words of the caption; None where they were not counted.
    """

    rank: int
    sample: dict[str, Any]
    media: MediaRange | None
    caption_tokens: int | None

    @property
    def key(self) -> str:
        """Key of the sample in its shard."""
        key: str = self.sample["sample_id"]
        return key

    @property
    def media_extension(self) -> str:
        """Extension of the image."""
        (extension,) = self.sample["media"]
        return str(extension)

    def to_line(self) -> bytes:
        """Returns the record as one line of canonical JSON."""
        media = self.media
        place = media and [media.media_id, media.part_tar, media.offset, media.length]
        return canonical_json([self.rank, self.sample, place, self.caption_tokens]).encode()

    @classmethod
    def from_line(cls, line: bytes) -> ShardRecord:
        """Returns the record that `to_line` wrote."""
        rank, sample, place, caption_tokens = json.loads(line)
        return cls(rank, sample, place and MediaRange(*place), caption_tokens)


def build_record(row: Mapping[str, Any], rank: int, view: TrainView | None) -> ShardRecord:
    """Returns the record of a kept row.

    Args:
        row: values of `COLUMNS`.
        rank: place of the sample in its series.
        view: how images are re-encoded; None where the original bytes are kept.

    Raises:
        ValueError: the row cannot be a sample: it has no text, a text pair has no passage, or a
            pair has not exactly one image of known media type.
    """
    check_key(row["sample_id"])
    texts = _primary_first(row)
    query = texts[0]["text"]
    media = None
    if row["kind"] == Kind.TEXT_PAIR:
        positive_id = _text_id(_passage(row["sample_id"], texts))
    else:
        media = _only_media(row)
        positive_id = media.media_id
    sample = ShardSample(
        sample_id=row["sample_id"],
        source=row["source"],
        locator=row["locator"],
        kind=row["kind"],
        texts=tuple(ShardText(**text) for text in texts),
        media={} if media is None else {_extension(row["mime"], view): media.media_id},
        width=row["width"],
        height=row["height"],
        query_id=_text_id(query),
        positive_id=positive_id,
        cluster_id=row["cluster_id"],
        licence=row["licence"],
        attribution=row["attribution"],
        meta=json.loads(row["meta"] or "{}"),
    )
    # Without nulls: readers that infer types from a shard's first samples would take a field that
    # is null there for one that never holds anything.
    values = sample.model_dump(mode="json", exclude_none=True)
    return ShardRecord(rank, values, media, row["caption_tokens"])


def text_members(record: ShardRecord) -> list[Member]:
    """Returns the members of a record that are not media."""
    texts = record.sample["texts"]
    members = [
        Member("json", canonical_json(record.sample).encode()),
        Member("txt", texts[0]["text"].encode(), caption_tokens=record.caption_tokens),
    ]
    if record.sample["kind"] == Kind.TEXT_PAIR:
        members.append(Member("passage.txt", _passage(record.key, texts).encode()))
    return members


def _primary_first(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    texts: list[dict[str, Any]] = list(row["texts"])
    for index, text in enumerate(texts):
        if text["text"] == row["text"]:
            return [text, *texts[:index], *texts[index + 1 :]]
    raise ValueError(
        f"sample {row['sample_id']}: its primary text is not among its texts; a row without text "
        "is never kept: run `select` again"
    )


def _passage(sample_id: str, texts: list[dict[str, Any]]) -> str:
    for text in texts:
        if text["role"] == TextRole.PASSAGE:
            passage: str = text["text"]
            return passage
    raise ValueError(f"sample {sample_id}: a text pair without a passage is never kept")


def _only_media(row: Mapping[str, Any]) -> MediaRange:
    if len(row["media"]) != 1:
        raise ValueError(
            f"sample {row['sample_id']}: a pair has one image, this one has {len(row['media'])}"
        )
    media = row["media"][0]
    return MediaRange(media["media_id"], media["part_tar"], media["offset"], media["length"])


def _extension(mime: str | None, view: TrainView | None) -> str:
    if view is not None:
        return EXTENSIONS[f"image/{view.format}"]
    if mime not in EXTENSIONS:
        raise ValueError(
            f"media type {mime!r} of a kept image is none of {', '.join(EXTENSIONS)}: run `measure`"
        )
    return EXTENSIONS[mime]


def _text_id(text: str) -> str:
    return hex_digest(text)
