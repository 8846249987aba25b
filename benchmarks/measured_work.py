"""A work directory of any size whose rows have been measured, counted and deduplicated.

Nothing is decoded: signals are drawn from distributions like those of web pairs, so that about two
in five rows are kept. The same rows come out every time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.recipes import lock_bytes
from schemas import layout
from schemas.layout import Part
from schemas.recipe import Recipe
from schemas.signals import family_signals
from schemas.tables import CLUSTERS, INGEST, MEDIA, TEXT, family_schema
from storage.folders import open_folder
from transforms.parts.tables import PartFile, commit_table
from transforms.work import Intake, Work

PART_ROWS = 10_000
SOURCES = ("web", "art")

RULES = (
    ("image.mime", "in [image/jpeg, image/png, image/webp]", "image_format"),
    ("image.short_side_px", "> 200", "image_too_small"),
    ("image.aspect_ratio", "< 3", "image_aspect"),
    ("image.bytes", "> 2_000", "image_low_information"),
    ("image.entropy", ">= 2", "image_low_information"),
    ("image.sharpness", ">= 10", "image_blurred"),
    ("image.alt_texts", "<= 1000", "image_alt_texts"),
    ("text.images", "<= 10", "text_shared"),
    ("text.ngrams_outside_vocabulary", "== 0", "text_rare_ngram"),
    ("text.unigrams", "between 3 and 20", "text_too_short"),
    ("text.characters", "<= 500", "text_too_long"),
    ("text.language", "in [en, de, fr, es]", "text_language"),
    ("text.boilerplate", "is empty", "text_boilerplate"),
    ("text.mojibake", "is false", "text_mojibake"),
    ("text.emails", "== 0", "text_personal_data"),
    ("text.repetition", "<= 0.5", "text_repetition"),
    ("text.capital_share", "<= 0.9", "text_capitals"),
)
"""With the four more that `dedupe.prefer` reads, 21 signals."""

MIMES = (0.8, 0.15, 0.05)


def make_recipe() -> Recipe:
    """Returns the recipe of the rules above."""
    return Recipe.model_validate(
        {
            "name": "measured",
            "sources": [{"type": "folder", "name": name, "path": name} for name in SOURCES],
            "select": {
                "rules": [{"signal": one, "keep": keep, "reason": why} for one, keep, why in RULES]
            },
        }
    )


def write_measured_work(uri: str, rows: int, recipe: Recipe) -> Work:
    """Writes a work directory with `rows` rows in parts of `PART_ROWS`, ready for `select`."""
    work = Work(open_folder(uri), recipe)
    work.folder.replace(layout.LOCK, lock_bytes(recipe))
    numbers = range(-(-rows // PART_ROWS))
    files = [PartFile(Part("i0", SOURCES[n % 2], f"part-{n:016x}"), 1) for n in numbers]
    counts = {source: sum(file.part.source == source for file in files) for source in SOURCES}
    seal = Intake(0, "i0", {one.name: work.source_settings(one) for one in recipe.sources}, counts)
    work.folder.replace(layout.intake_record(0), seal.to_bytes())
    folders = work.families(files).families
    for number, file in zip(numbers, files, strict=True):
        size = min(PART_ROWS, rows - number * PART_ROWS)
        random = np.random.default_rng(number)
        ids = _hex(size, 16, random)
        commit_table(work.ingest, file, _ingest(file.part, ids, random), {"rows": size, "ok": size})
        for family, folder in folders.items():
            table = _clusters(ids, random) if family == "dedupe/exact" else None
            table = table if table is not None else _signals(family, ids, random)
            commit_table(folder, file, table, {"rows": size, "ok": size})
    return work


def _hex(rows: int, size: int, random: np.random.Generator) -> list[str]:
    digits = random.bytes(rows * size).hex()
    return [digits[at : at + 2 * size] for at in range(0, len(digits), 2 * size)]


def _ingest(part: Part, ids: list[str], random: np.random.Generator) -> pa.Table:
    rows = len(ids)
    texts = [f"{one[:8]} a photograph of something that people look at {one[8:16]}" for one in ids]
    drawn: dict[str, Any] = {
        "media_id": _hex(rows, 32, random),
        "part_tar": [f"{part.name}.tar"] * rows,
        "offset": np.arange(rows) * 60_512 + 512,
        "length": np.full(rows, 60_000),
        "text": texts,
        "sample_id": ids,
        "source": [part.source] * rows,
        "kind": ["pair"] * rows,
        "locator": [f"{one}.jpg" for one in ids],
        "meta": ["{}"] * rows,
        "row_digest": _hex(rows, 16, random),
        "status": ["ok"] * rows,
        "licence": [""] * rows,
        "attribution": [""] * rows,
        "error": [""] * rows,
    }
    one_each = np.arange(rows + 1, dtype=np.int32)
    for name, role, value_type in (("media", "image", MEDIA), ("texts", "alt", TEXT)):
        fields = [
            pa.array([role] * rows) if field.name == "role" else _drawn(drawn, field, rows)
            for field in value_type
        ]
        struct = pa.StructArray.from_arrays(fields, fields=list(value_type))
        drawn[name] = pa.ListArray.from_arrays(one_each, struct, type=INGEST.field(name).type)
    return pa.Table.from_arrays([_drawn(drawn, field, rows) for field in INGEST], schema=INGEST)


def _drawn(drawn: dict[str, Any], field: pa.Field, rows: int) -> pa.Array:
    found = drawn.get(field.name)
    return pa.nulls(rows, field.type) if found is None else pa.array(found, field.type)


def _clusters(ids: list[str], random: np.random.Generator) -> pa.Table:
    """Returns clusters: one row in ten belongs to one of a thousand that reach over all parts."""
    clustered = random.random(len(ids)) < 0.1
    names = [f"{number:032x}" for number in random.integers(0, 1000, len(ids))]
    columns = [
        pa.array(ids),
        pa.array(names, mask=~clustered),
        pa.array(np.full(len(ids), 100), mask=~clustered),
        pa.array(["bytes"] * len(ids), mask=~clustered),
    ]
    return pa.Table.from_arrays(columns, schema=CLUSTERS)


def _signals(family: str, ids: list[str], random: np.random.Generator) -> pa.Table:
    rows = len(ids)
    drawn: dict[str, Any] = {
        "image.mime": random.choice(["image/jpeg", "image/png", "image/gif"], rows, p=MIMES),
        "image.short_side_px": random.lognormal(6.2, 0.6, rows).astype(np.int32),
        "image.aspect_ratio": 1 + random.exponential(0.5, rows),
        "image.bytes": random.lognormal(10.5, 1, rows),
        "image.entropy": random.normal(6.5, 1, rows).clip(0, 8),
        "image.sharpness": random.lognormal(6, 2, rows),
        "text.language": random.choice(["en", "de", "fr", "es", "ja"], rows),
        "text.language_confidence": random.random(rows),
        "text.script": np.full(rows, "Latn"),
        "text.boilerplate": random.choice(["", "file_name"], rows, p=[0.95, 0.05]),
        "text.mojibake": random.random(rows) < 0.01,
        "image.animated": random.random(rows) < 0.01,
        "image.pixel_digest": np.full(rows, "0" * 32),
        "text.unigrams": random.poisson(9, rows),
        "text.repetition": random.random(rows) ** 4,
        "text.capital_share": random.random(rows) ** 4,
        "text.emails": random.random(rows) < 0.01,
        "text.urls": random.random(rows) < 0.05,
        "text.ngrams_outside_vocabulary": random.random(rows) < 0.1,
    }  # fmt: skip
    columns = []
    for signal in family_signals(family):
        values = drawn.get(signal.name)
        if values is None:
            values = (
                random.lognormal(5, 1, rows) if signal.dtype != "bool" else drawn["text.mojibake"]
            )
        if signal.dtype not in ("string", "bool"):
            values = values.astype(signal.dtype)
            values = values.round(4) if values.dtype.kind == "f" else values
        columns.append(pa.array(values, pa.type_for_alias(signal.dtype)))
    schema = family_schema(family)
    if family == "measure/image":
        columns += [pa.array(["ok"] * rows), pa.array([""] * rows)]
    return pa.Table.from_arrays([pa.array(ids), *columns], schema=schema)
