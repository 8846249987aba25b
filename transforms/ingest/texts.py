"""The one place where texts become clean, and where a sample without a usable text is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from schemas.reasons import Reason
from schemas.samples import Kind, RawSample, RawText, TextRole
from transforms.ingest.fields import printable

EXCERPT = 500
"""Characters of a refused text or row that an error shows."""

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class _Refused:
    """A text that cannot be stored.

    Attributes:
        data: the text as received.
    """

    reason: Reason
    detail: str
    data: bytes


def primary_text(texts: Sequence[RawText], roles: Sequence[TextRole] = ()) -> RawText | None:
    """Returns the primary text: the first, not blank, of the first role that has one.

    Args:
        texts: texts as received.
        roles: roles in the order of the source; texts of other roles come after them, in the order
            in which they are. Empty: the first text that is not blank.
    """
    told = [text for text in texts if not _is_blank(text.text)]
    return min(told, key=lambda text: _rank(text, roles), default=None)


def clean_sample(
    sample: RawSample, roles: Sequence[TextRole], max_text_bytes: int, licence: str = ""
) -> RawSample:
    """Returns a sample that can be stored: texts clean and the primary one first, or a reason.

    A clean text is a `str` of valid UTF-8 without NUL, received in at most `max_text_bytes` bytes:
    as received, but for white space and a byte order mark stripped off its ends. Blank texts, and a
    text that repeats an earlier one of its role, go. There is no other normalisation.

    Where several reasons apply, the first of these counts: what the reader found; `media_missing`;
    `text_too_large`; `text_undecodable`; `text_missing`. The last three are about the primary text
    (of a text pair: the query, then the passage). A primary text at fault stays first, as `bytes`:
    ids tell such samples apart, and nothing stores it. Other texts at fault are left out, and
    `error` says so. A refused sample has no media.

    Args:
        sample: as its reader yields it.
        roles: roles in the order of the source; see `primary_text`.
        max_text_bytes: the limit, in bytes of UTF-8.
        licence: licence of samples that do not state their own.
    """
    primary = primary_text(sample.texts, roles)
    ordered = [text for text in sample.texts if text is not primary]
    ordered = ([primary] if primary else []) + ordered
    needed = {TextRole.QUERY, TextRole.PASSAGE} if sample.kind is Kind.TEXT_PAIR else set()
    texts: dict[tuple[TextRole, str | bytes], RawText] = {}
    refusal: tuple[Reason, str] | None = None
    notes: list[str] = []
    for text in ordered:
        if _is_blank(text.text):
            continue
        cleaned = _clean(text.text, max_text_bytes)
        if isinstance(cleaned, str):
            texts.setdefault((text.role, cleaned), replace(text, text=cleaned))
            continue
        if text is primary:
            texts[text.role, cleaned.data] = replace(text, text=cleaned.data)
        if text is primary or text.role in needed:
            refusal = refusal or (cleaned.reason, f"{text.role}: {cleaned.detail}")
        else:
            notes.append(f"{text.role} left out: {cleaned.detail}")
    reason, error = sample.reason, sample.error
    if reason is None and sample.kind is Kind.PAIR and not sample.media:
        reason, error = Reason.MEDIA_MISSING, "the record has no media"
    if reason is None and refusal is not None:
        reason, error = refusal
    if reason is None:
        missing = _missing(sample.kind, list(texts.values()))
        if missing:
            reason, error = Reason.TEXT_MISSING, missing
    return replace(
        sample,
        locator=printable(sample.locator),
        texts=tuple(texts.values()),
        media=sample.media if reason is None else (),
        reason=reason,
        error=printable("; ".join(filter(None, [error, *notes]))),
        licence=printable(sample.licence or licence),
        attribution=printable(sample.attribution),
    )


def excerpt(data: str | bytes) -> str:
    r"""Returns the beginning of a text for an error, with `\x…` for what is not UTF-8."""
    if isinstance(data, str):
        return printable(data[:EXCERPT])
    return data[: 4 * EXCERPT].decode("utf-8", "backslashreplace")[:EXCERPT]


def _is_blank(text: str | bytes) -> bool:
    if isinstance(text, bytes):
        return not text.removeprefix(_BOM.encode()).strip()
    return not text.removeprefix(_BOM).strip()


def _clean(text: str | bytes, max_bytes: int) -> str | _Refused:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    # Size comes first: a reader stops within a huge text, maybe within a character.
    if len(data) > max_bytes:
        detail = f"more than {max_bytes} bytes: {excerpt(data)!r}"
        return _Refused(Reason.TEXT_TOO_LARGE, detail, data)
    try:
        decoded = data.decode()
    except UnicodeDecodeError as error:
        detail = f"not UTF-8 at byte {error.start}: {excerpt(data)!r}"
        return _Refused(Reason.TEXT_UNDECODABLE, detail, data)
    if "\0" in decoded:
        detail = f"holds a NUL byte: {excerpt(data)!r}"
        return _Refused(Reason.TEXT_UNDECODABLE, detail, data)
    return decoded.strip().removeprefix(_BOM).strip()


def _rank(text: RawText, roles: Sequence[TextRole]) -> int:
    return roles.index(text.role) if text.role in roles else len(roles)


def _missing(kind: Kind, texts: Sequence[RawText]) -> str:
    """Returns what a sample lacks, as an error; empty where it lacks nothing."""
    if not texts:
        return "no text"
    has = {text.role for text in texts}
    if kind is Kind.TEXT_PAIR and not {TextRole.QUERY, TextRole.PASSAGE} <= has:
        absent = TextRole.PASSAGE if TextRole.QUERY in has else TextRole.QUERY
        return f"no {absent}"
    return ""
