"""The field names that public data sets use, and how a record with such fields is read.

A record is one row of a table or one JSON object: a sidecar, or a `json` member of a tar.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.samples import RawText, TextRole

IMAGE_EXTENSIONS = frozenset(
    {
        *("avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpe", "jpeg", "jpg", "jxl"),
        *("pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"),
    }
)
"""Extensions of images, in lower case; what a file really is, its content says."""

TEXT_FIELDS: tuple[tuple[TextRole, tuple[str, ...]], ...] = (
    (TextRole.ALT, ("caption", "text", "alt", "alt_text", "alt-text", "txt", "captions")),
    (TextRole.TITLE, ("title", "page_title")),
    (TextRole.CONTEXT, ("description", "context")),
    (TextRole.KEYWORD, ("keywords", "tags")),
)
"""Fields that are texts, by role, in lower case; the first that says something is taken."""

LICENCE_FIELDS = ("licence", "license")
ATTRIBUTION_FIELDS = ("attribution", "author", "credit", "credit_line")
LANGUAGE_FIELDS = ("lang", "language")

MAX_META_BYTES = 2048
"""Longer values are left out of `meta`."""

_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class Fields:
    """Which field of a record is what; names as the record writes them.

    Attributes:
        texts: fields by role, in order; of a role, the first field that says something is taken.
        licence, attribution, language: fields, most telling first.
        meta: fields that are kept as they are, where they are small scalars.
    """

    texts: tuple[tuple[TextRole, tuple[str, ...]], ...]
    licence: tuple[str, ...]
    attribution: tuple[str, ...]
    language: tuple[str, ...]
    meta: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """What a record says, apart from its media."""

    texts: tuple[RawText, ...]
    licence: str
    attribution: str
    meta: dict[str, Any]


def recognise(
    names: Iterable[str],
    texts: tuple[tuple[TextRole, tuple[str, ...]], ...] = (),
    known: Collection[str] = (),
) -> Fields:
    """Returns what the fields of these names are.

    Args:
        names: names of a record's fields; case does not matter.
        texts: the text fields, where the recipe names them; recognised where empty.
        known: names that are taken already (media, id): never texts, licence or `meta`.
    """
    left = [name for name in names if name and name not in known]
    if not texts:
        found = ((role, pick(left, wanted)) for role, wanted in TEXT_FIELDS)
        texts = tuple((role, fields) for role, fields in found if fields)
    used = {name for _, fields in texts for name in fields}
    left = [name for name in left if name not in used]
    licence, attribution = pick(left, LICENCE_FIELDS), pick(left, ATTRIBUTION_FIELDS)
    return Fields(
        texts=texts,
        licence=licence,
        attribution=attribution,
        language=pick(left, LANGUAGE_FIELDS),
        meta=tuple(name for name in left if name not in (*licence, *attribution)),
    )


def pick(names: Iterable[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """Returns the names that are among `wanted`, whatever their case, in the order of `wanted`."""
    by_lower: dict[str, str] = {}
    for name in names:
        by_lower.setdefault(name.lower(), name)
    return tuple(by_lower[name] for name in wanted if name in by_lower)


def read_record(record: Mapping[str, Any], fields: Fields) -> Record:
    """Reads a record's texts, licence, attribution and the rest.

    Args:
        record: plain values: text or bytes, numbers, booleans, None, lists and dicts of these.
        fields: what its fields are.
    """
    language = _language(record, fields.language)
    texts: list[RawText] = []
    for role, names in fields.texts:
        said = next(filter(None, (list(as_texts(record.get(name))) for name in names)), [])
        texts += [RawText(role, text, language) for text in said]
    return Record(
        texts=tuple(texts),
        licence=_first_string(record, fields.licence),
        attribution=_first_string(record, fields.attribution),
        meta=plain_meta({name: record.get(name) for name in fields.meta}),
    )


def as_texts(value: Any) -> Iterable[str | bytes]:
    """Yields the texts that a value holds: itself, or the elements of a list; none where empty."""
    if isinstance(value, list):
        for element in value:
            yield from as_texts(element)
    elif isinstance(value, str | bytes):
        if value.strip():
            yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield repr(value)


def plain_meta(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the small scalars among `values` as JSON values.

    Nothing that is null, empty, nested, not finite, longer than `MAX_META_BYTES` or not UTF-8 is
    kept: `meta` is for people and for the dataset card, not a copy of the source.
    """
    kept = ((printable(name), _plain(value)) for name, value in values.items())
    return {name: value for name, value in kept if value is not None}


def printable(text: str) -> str:
    r"""Returns text that can be stored: lone surrogates are written out, as `\udcff`.

    Names from tars and file systems carry bytes that are not UTF-8 as lone surrogates (PEP 383).
    """
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> str | int | float | bool | None:
    """Returns a value as a small JSON scalar; None for what `plain_meta` leaves out."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return value if _is_small_text(value) else None
    if isinstance(value, bool | int):
        # What does not fit 64 bits is no number that other readers of JSON take.
        return value if -(1 << 63) <= value < 1 << 64 else None
    return value if isinstance(value, float) and math.isfinite(value) else None


def _is_small_text(text: str) -> bool:
    try:
        return 0 < len(text.encode()) <= MAX_META_BYTES and "\0" not in text
    except UnicodeEncodeError:
        return False


def _first_string(record: Mapping[str, Any], names: tuple[str, ...]) -> str:
    values = (_plain(record.get(name)) for name in names)
    return next((value.strip() for value in values if isinstance(value, str)), "")


def _language(record: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    values = (_plain(record.get(name)) for name in names)
    return next((v for v in values if isinstance(v, str) and _LANGUAGE_TAG.fullmatch(v)), None)
