"""Samples: what a shard says of one, by itself and beside the row of `ingest` that it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from schemas.digests import canonical_json, digest, hex_digest
from schemas.samples import Kind, TextRole
from schemas.shards import ShardSample

CONTENT_BYTES = 16
TEXT_MEMBERS = ("json", "txt", "passage.txt")
"""Members that are read; others are hashed."""


class InconsistentSampleError(Exception):
    """The members of a sample do not go together. The message says which, and how."""


@dataclass(frozen=True, slots=True)
class HeldMember:
    """A member of a sample as it lies in a tar.

    Attributes:
        sha256: of its bytes, as hex.
        offset, length: of its bytes in the tar.
        data: its bytes, for `TEXT_MEMBERS`.
    """

    sha256: str
    offset: int
    length: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class HeldSample:
    """What is remembered of a sample in a shard.

    Attributes:
        key: its id.
        content: digest of everything that it says, to compare with `ingest`.
        media: its media member; None for a text pair.
    """

    key: str
    content: bytes
    media: HeldMember | None


def read_sample(
    key: str, members: Mapping[str, HeldMember], sources: Sequence[str], original: bool
) -> HeldSample:
    """Checks that the members of a sample go together, and returns what it says.

    Args:
        key: its id, from the names of its members.
        members: by extension.
        sources: names of the sources that it may come from.
        original: media are original bytes, so that their digest is their id.

    Raises:
        InconsistentSampleError: they do not.
    """
    if missing := [name for name in ("json", "txt") if name not in members]:
        raise InconsistentSampleError(f"has no {missing[0]} member")
    try:
        sample = ShardSample.model_validate_json(members["json"].data)
    except ValidationError as error:
        first = error.errors()[0]
        raise InconsistentSampleError(f"its json is no sample: {first['msg']}") from None
    _demand(key, sample.sample_id, "sample_id in its json")
    if sample.source not in sources:
        raise InconsistentSampleError(f"its json names the source {sample.source!r}")
    caption = sample.texts[0].text if sample.texts else ""
    _demand(caption, _text(members, "txt"), "caption (txt)")
    _demand(hex_digest(caption), sample.query_id, "query_id in its json")
    media = _check_positive(sample, members, original)
    held = {"json", "txt", *(["passage.txt"] if sample.kind == Kind.TEXT_PAIR else sample.media)}
    if extra := sorted(members.keys() - held):
        raise InconsistentSampleError(f"has a member {extra[0]!r} that its json does not name")
    return HeldSample(key, _content(sample.model_dump(exclude_none=True), caption), media)


def row_content(row: Mapping[str, Any]) -> bytes:
    """Returns the digest that `read_sample` gives a sample, from its row.

    Args:
        row: of `ingest`, with `cluster_id` of the ledger.
    """
    values = dict(row)
    values["media"] = {str(n): one["media_id"] for n, one in enumerate(row["media"])}
    values["meta"] = json.loads(row["meta"] or "{}")
    return _content(values, row["text"])


def _content(sample: Mapping[str, Any], caption: str | None) -> bytes:
    """Returns a digest of a sample that does not depend on the order of its other texts."""
    texts = [
        canonical_json({name: one for name, one in text.items() if one is not None})
        for text in sample["texts"]
    ]
    said = [
        sample["source"],
        sample["locator"],
        sample["kind"],
        caption,
        sorted(texts),
        sorted(sample["media"].values()),
        sample.get("cluster_id") or "",
        sample["licence"],
        sample["attribution"],
        sample["meta"],
    ]
    return digest(canonical_json(said), size=CONTENT_BYTES)


def _check_positive(
    sample: ShardSample, members: Mapping[str, HeldMember], original: bool
) -> HeldMember | None:
    """Checks what goes with the caption: one image, or a passage."""
    if sample.kind == Kind.TEXT_PAIR:
        passage = next((one.text for one in sample.texts if one.role == TextRole.PASSAGE), "")
        _demand(passage, _text(members, "passage.txt"), "passage (passage.txt)")
        _demand(hex_digest(passage), sample.positive_id, "positive_id in its json")
        return None
    if len(sample.media) != 1:
        raise InconsistentSampleError(f"its json names {len(sample.media)} media")
    ((extension, media_id),) = sample.media.items()
    _demand(media_id, sample.positive_id, "positive_id in its json")
    for text in sample.texts:
        if text.media_id not in (None, media_id):
            raise InconsistentSampleError(
                f"its {text.role} text was made from the media {text.media_id}, not {media_id}"
            )
    if extension not in members:
        raise InconsistentSampleError(f"has no {extension} member, which its json names")
    if original:
        _demand(media_id, members[extension].sha256, f"{extension} member's sha256")
    return members[extension]


def _text(members: Mapping[str, HeldMember], name: str) -> str:
    if name not in members:
        raise InconsistentSampleError(f"has no {name} member")
    return members[name].data.decode("utf-8", "backslashreplace")


def _demand(expected: str, found: str, what: str) -> None:
    if found != expected:
        raise InconsistentSampleError(
            f"its {what} is {found[:80]!r}, its json says {expected[:80]!r}"
        )
