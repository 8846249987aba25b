"""Reads what lies beside an image: plain texts and one JSON object, in a tar or in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.reasons import Reason
from schemas.recipe import Ingest
from schemas.samples import Kind, MediaRole, RawMedia, RawSample, RawText, TextRole
from schemas.shards import ShardSample
from transforms.ingest.fields import MAX_META_BYTES, read_record, recognise
from transforms.ingest.json_values import parse_json
from transforms.ingest.media import Refused

PLAIN_EXTENSIONS = ("txt", "caption", "text")
"""Last extensions of plain texts, the most usual first."""

MAX_JSON_BYTES = 4 << 20
"""Longer JSON is not parsed."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What is known of a sample besides its media.

    Attributes:
        kind: what the sample is; a pair unless our own JSON says otherwise.
        fault: why the JSON could not be read; empty where it could, or there is none.
    """

    texts: tuple[RawText, ...] = ()
    kind: Kind = Kind.PAIR
    licence: str = ""
    attribution: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    fault: str = ""


def is_sidecar(name: str) -> bool:
    """Returns whether a file of a folder is a sidecar, by its name."""
    return name.lower().endswith((".txt", ".json"))


def is_plain(extension: str) -> bool:
    """Returns whether a lower-case extension is one of plain texts: `txt`, `en.txt`, `caption`."""
    return extension.rpartition(".")[2] in PLAIN_EXTENSIONS


def bytes_to_read(extension: str, size: int, limits: Ingest) -> int:
    """Returns how many bytes of a file beside the media are needed, by its lower-case extension."""
    if is_plain(extension):
        # One more than is allowed shows that a text is too large.
        return min(size, limits.max_text_bytes + 1)
    most = MAX_JSON_BYTES if extension == "json" else MAX_META_BYTES
    return size if size <= most else 0


def read_sidecar(plain: Sequence[bytes], json: bytes | None, json_size: int = 0) -> Sidecar:
    """Returns what plain texts and a JSON object say.

    Plain texts are alt-texts and come first. JSON that our own `shard` stage wrote gives its texts,
    roles and languages back, and plain texts are not looked at; where the sample came from first is
    kept in `meta` as `origin`.

    Args:
        plain: plain texts, the most important first.
        json: the JSON; None where there is none.
        json_size: bytes that it has: more than `json` where it was too long to be read.
    """
    texts = tuple(RawText(TextRole.ALT, data) for data in plain)
    if json is None:
        return Sidecar(texts)
    if json_size > len(json):
        return Sidecar(texts, fault=f"json has {json_size} bytes, more than {MAX_JSON_BYTES}")
    try:
        value = parse_json(json)
    except ValueError as error:
        return Sidecar(texts, fault=f"json cannot be parsed: {error}")
    if not isinstance(value, dict):
        return Sidecar(texts, fault=f"json holds a {type(value).__name__}, not an object")
    ours = _read_shard_sample(value)
    if ours is not None:
        return ours
    record = read_record(value, recognise(value))
    return Sidecar(
        texts=texts + record.texts,
        licence=record.licence,
        attribution=record.attribution,
        meta=record.meta,
    )


def _read_shard_sample(value: dict[str, Any]) -> Sidecar | None:
    """Returns what the `json` member of our own shards says; None where it is not one."""
    if not {"sample_id", "texts", "query_id"} <= value.keys():
        return None
    try:
        sample = ShardSample.model_validate(value)
        texts = tuple(RawText(TextRole(one.role), one.text, one.lang) for one in sample.texts)
        kind = Kind(sample.kind)
    except ValueError:
        # pydantic's ValidationError is one too, as is a role or a kind of a later version.
        return None
    origin = {
        "sample_id": sample.sample_id,
        "source": sample.source,
        "locator": sample.locator,
    }
    return Sidecar(
        texts=texts,
        kind=kind,
        licence=sample.licence,
        attribution=sample.attribution,
        meta={"origin": origin, **sample.meta},
    )


def sample_of(
    sidecar: Sidecar, locator: str, media: bytes | Refused | None, meta: Mapping[str, Any]
) -> RawSample:
    """Returns the raw sample of a sidecar and its image.

    Args:
        sidecar: texts and the rest.
        locator: where the sample is.
        media: the image, or why it was not read; None where there is none.
        meta: further values for `meta`; those of the sidecar take precedence.
    """
    sample = RawSample(
        locator=locator,
        kind=sidecar.kind,
        texts=sidecar.texts,
        error=sidecar.fault,
        licence=sidecar.licence,
        attribution=sidecar.attribution,
        meta={**meta, **sidecar.meta},
    )
    if sidecar.fault and not sidecar.texts:
        return replace(sample, reason=Reason.ROW_MALFORMED)
    if media is None or sidecar.kind is Kind.TEXT_PAIR:
        return sample
    if isinstance(media, Refused):
        return replace(sample, reason=media.reason, error=media.error)
    return replace(sample, media=(RawMedia(MediaRole.IMAGE, media),))
