"""A small corpus for shards: rows of a few parts, and their media in part tars on disk."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from PIL import Image

from schemas.digests import hex_digest, media_id, sample_id
from schemas.layout import Part
from schemas.recipe import ShardSettings
from schemas.tables import MEDIA, TEXT
from storage.folders import Folder, open_folder
from transforms.parts.media import MediaTar
from transforms.shards.commit import ShardSummary, read_summaries
from transforms.shards.members import COLUMNS
from transforms.shards.rank import RankSamples, pack_ids
from transforms.shards.series import WriteShards

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


def picture(number: int, name: str = "JPEG") -> tuple[bytes, int, int]:
    """Returns an encoded image of its own, with its width and height."""
    width, height = 24 + number % 7, 20 + number % 5
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, name)
    return sink.getvalue(), width, height


@dataclass(frozen=True)
class Corpus:
    """Rows by part, as `WriteShards` reads them, and where their media lie."""

    tables: dict[str, pa.Table]
    media: Folder

    def __call__(self, part: str) -> pa.Table:
        return self.tables[part]

    def write(
        self, shards: Folder, settings: ShardSettings, threads: int = 2
    ) -> list[ShardSummary]:
        """Runs the pipeline; returns what is committed afterwards."""
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            (
                pipeline
                | beam.Create(
                    [
                        (part, pack_ids(table["sample_id"].to_pylist()))
                        for part, table in self.tables.items()
                    ]
                )
                | RankSamples(7, "shard")
                | WriteShards(self, self.media, shards, settings, threads)
            )
        return list(read_summaries(shards))


def pair_row(number: int, tar: MediaTar, name: str) -> dict[str, Any]:
    data, width, height = picture(number, name)
    identity = media_id(data)
    offset, length = tar.add(identity, data)
    caption = f"caption {number}: a picture — 図"
    return {
        "kind": "pair",
        "media": [{"role": "image", "media_id": identity, "offset": offset, "length": length}],
        "texts": [{"role": "title", "text": f"title {number}"}, {"role": "alt", "text": caption}],
        "text": caption,
        "mime": FORMATS[name],
        "width": width,
        "height": height,
    }


def text_pair_row(number: int) -> dict[str, Any]:
    query = f"query {number}?"
    texts = [
        {"role": "query", "text": query},
        {"role": "passage", "text": f"passage {number}"},
        {"role": "negative", "text": f"negative {number}"},
    ]
    return {"kind": "text_pair", "media": [], "texts": texts, "text": query}


def finish_row(number: int, row: dict[str, Any], tar_name: str) -> dict[str, Any]:
    for media in row["media"]:
        media["part_tar"] = tar_name
    locator = f"row/{number}"
    return {
        "sample_id": sample_id("web", locator, row["text"]),
        "source": "web",
        "locator": locator,
        "licence": "CC0-1.0",
        "attribution": "",
        "meta": f'{{"number":{number}}}',
        "row_digest": hex_digest(str(number)),
        "cluster_id": f"{number:032x}" if number % 3 == 0 else None,
        "caption_tokens": number,
        "mime": None,
        "width": None,
        "height": None,
        **row,
    }


SCHEMA = pa.schema(
    [
        pa.field(
            name,
            {
                "media": pa.list_(MEDIA),
                "texts": pa.list_(TEXT),
                "width": pa.int32(),
                "height": pa.int32(),
                "caption_tokens": pa.int32(),
            }.get(name, pa.string()),
        )
        for name in COLUMNS
    ]
)


@pytest.fixture
def make_corpus(tmp_path: Path) -> Callable[..., Corpus]:
    """Makes a corpus of `samples` pairs (every tenth a text pair, if asked) in equal parts."""

    def make(
        samples: int = 60,
        parts: int = 3,
        formats: tuple[str, ...] = tuple(FORMATS),
        text_pairs: bool = False,
        root: str = str(tmp_path),
    ) -> Corpus:
        media = open_folder(f"{root}/media-{samples}-{parts}")
        tables = {}
        for index, numbers in enumerate(np.array_split(np.arange(samples), parts)):
            part = Part("i0", "web", f"part-{index:016x}")
            rows = []
            with media.temporary_file() as path:
                with MediaTar(path, part) as tar:
                    for number in numbers.tolist():
                        if text_pairs and number % 10 == 0:
                            rows.append(text_pair_row(number))
                        else:
                            rows.append(pair_row(number, tar, formats[number % len(formats)]))
                media.create(tar.name, path)
            finished = [
                finish_row(number, row, tar.name)
                for number, row in zip(numbers.tolist(), rows, strict=True)
            ]
            tables[part.stem] = pa.Table.from_pylist(finished, SCHEMA)
        return Corpus(tables, media)

    return make
