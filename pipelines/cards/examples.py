"""Example samples for people: the same few for the same ledger, pictures as small thumbnails."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.reasons import Reason
from storage.errors import StorageError
from transforms.decisions.ledger import KEPT
from transforms.parts.rows import first_media
from transforms.parts.tables import PartFile, list_committed, read_table
from transforms.signals.image import UnreadableImage, decode_image
from transforms.work import Work

MOST_PARTS = 64
"""Ledgers that examples are drawn from: the report of a large release stays quick to make."""

THUMBNAIL_PX = 144
TEXT_CHARACTERS = 240

WITHHELD = frozenset({Reason.TEXT_PERSONAL_DATA, Reason.BLOCKED_HASH, Reason.TAKEN_DOWN})
"""Reasons whose samples are never shown."""


@dataclass(frozen=True)
class Example:
    """One sample to look at.

    Attributes:
        sample_id, source, locator: which.
        text: the primary text, cut to a readable length.
        evidence: what its rule compared, for people.
        thumbnail: a `data:` URI; empty where there is no picture to show.
    """

    sample_id: str
    source: str
    locator: str
    text: str
    evidence: str
    thumbnail: str


def draw_examples(work: Work, each: int) -> dict[str, list[Example]]:
    """Returns up to `each` examples by reason, and of kept samples under `kept`.

    The samples with the smallest ids are drawn, which is as good as at random, and the same on
    every run.
    """
    chosen: defaultdict[str, list[tuple[str, PartFile, str, int]]] = defaultdict(list)
    for intake, ledger in work.ledgers().items():
        files = sorted(list_committed(ledger).values(), key=lambda file: file.part)
        for file in _spread(files, MOST_PARTS):
            rows = read_table(ledger, file.name, ["sample_id", "reason", "row"])
            reason = pc.fill_null(rows["reason"].cast(pa.string()), KEPT)
            rows = rows.set_column(1, "reason", reason).sort_by("sample_id")
            for name in pc.unique(rows["reason"]).to_pylist():
                if name in WITHHELD:
                    continue
                first = rows.filter(pc.equal(rows["reason"], name)).slice(0, each).to_pylist()
                chosen[name] += [(row["sample_id"], file, intake, row["row"]) for row in first]
    return {
        name: [_example(work, *one[1:]) for one in sorted(several, key=lambda one: one[0])[:each]]
        for name, several in chosen.items()
    }


def _spread(files: list[PartFile], most: int) -> list[PartFile]:
    if len(files) <= most:
        return files
    return [files[at] for at in np.linspace(0, len(files) - 1, most).astype(int)]


def _example(work: Work, file: PartFile, intake: str, row: int) -> Example:
    columns = ["sample_id", "source", "locator", "text", "media"]
    ingest = read_table(work.ingest, file.name, columns).slice(row, 1)
    ledger = read_table(work.ledgers()[intake], file.name).slice(row, 1).to_pylist()[0]
    values = ingest.drop_columns(["media"]).to_pylist()[0]
    media = first_media(ingest["media"].combine_chunks())[0].as_py()
    return Example(
        sample_id=values["sample_id"],
        source=values["source"],
        locator=_shortened(values["locator"]),
        text=_shortened(values["text"] or ""),
        evidence=_evidence(ledger),
        thumbnail=_thumbnail(work, file, media) if media else "",
    )


def _shortened(text: str) -> str:
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown if len(shown) <= TEXT_CHARACTERS else f"{shown[: TEXT_CHARACTERS - 1]}…"


def _evidence(row: dict[str, object]) -> str:
    if row["signal"]:
        value = f"{row['value']:g}" if row["value"] is not None else repr(row["detail"])
        return f"{row['signal']} is {value}, must be {row['threshold']}"
    if row["keeper_id"] and row["decision"] != KEPT:
        return f"kept instead: {row['keeper_id']}"
    return _shortened(str(row["detail"] or ""))


def _thumbnail(work: Work, file: PartFile, media: dict[str, object]) -> str:
    """Returns a thumbnail as WebP; empty where the picture cannot be decoded."""
    name = f"{file.part.source}/{file.part.intake}/{media['part_tar']}"
    try:
        data = work.ingest.read_range(name, int(str(media["offset"])), int(str(media["length"])))
        image = decode_image(data, work.recipe.measure.max_pixels).rgb
    except (StorageError, UnreadableImage):
        return ""
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    sink = io.BytesIO()
    image.save(sink, "WEBP", quality=70)
    return f"data:image/webp;base64,{base64.b64encode(sink.getvalue()).decode()}"
