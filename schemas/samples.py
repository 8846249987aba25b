"""What a reader of any source yields: a raw sample, before it has a part, a row or stored media."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from schemas.reasons import Reason


class Kind(StrEnum):
    """What a sample is."""

    PAIR = "pair"
    TEXT_PAIR = "text_pair"


class MediaRole(StrEnum):
    """What a media reference is to its sample."""

    IMAGE = "image"


class TextRole(StrEnum):
    """What a text is to its sample."""

    ALT = "alt"
    TITLE = "title"
    CONTEXT = "context"
    KEYWORD = "keyword"
    QUERY = "query"
    PASSAGE = "passage"
    NEGATIVE = "negative"


@dataclass(frozen=True, slots=True)
class RawText:
    """One text as received.

    Attributes:
        role: what it is to the sample.
        text: the text; bytes where the source holds bytes (decoded, or refused, by ingest).
        lang: language that the source states, as BCP 47; None where it states none.
    """

    role: TextRole
    text: str | bytes
    lang: str | None = None


@dataclass(frozen=True, slots=True)
class RawMedia:
    """One media file as received, bytes in hand.

    Attributes:
        role: what it is to the sample.
        data: the encoded bytes, unchanged.
    """

    role: MediaRole
    data: bytes


@dataclass(frozen=True, slots=True)
class RawSample:
    """One input of a source. Every input yields exactly one, usable or not.

    Attributes:
        locator: where it is, relative to the root of its source; never depends on the order of
            files or rows.
        kind: what it is.
        texts: its texts; the primary one is the first whose role comes first in the source's
            order of roles.
        media: its media; empty for a `text_pair` and for an input that could not be read.
        reason: why it cannot be used; None where it can.
        error: what went wrong, for people; deterministic. Empty where nothing did.
        licence, attribution: as the source states them; empty where it does not.
        meta: further fields of the source, plain JSON values.
    """

    locator: str
    kind: Kind = Kind.PAIR
    texts: tuple[RawText, ...] = ()
    media: tuple[RawMedia, ...] = ()
    reason: Reason | None = None
    error: str = ""
    licence: str = ""
    attribution: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
