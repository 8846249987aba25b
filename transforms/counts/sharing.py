"""Sharing: how many texts an image goes with, and how many images a text goes with.

Rules 3 of ALIGN's image stage and 1 of its text stage (arXiv 2102.05918, section 3) count over the
raw corpus: distinct texts per image, distinct images per text. An image is its bytes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection, TaggedOutput

from schemas.tables import family_schema
from storage.folders import Folder
from transforms.counts.keys import (
    KEY,
    TOTAL,
    Records,
    asks,
    distinct,
    keys_of,
    keys_of_hex,
    look_up,
    unpack,
)
from transforms.counts.totals import SumByKey
from transforms.parts.rows import first_media
from transforms.parts.tables import PartFile, commit_table, read_table
from transforms.parts.work import NumberedPart, is_wanted, number_key

FAMILY = "count/sharing"

_PAIR = np.dtype([("hi", "<u8"), ("lo", "<u8"), ("text_hi", "<u8"), ("text_lo", "<u8")])


@dataclass(frozen=True)
class SharedRows:
    """Keys of a part's rows.

    Attributes:
        sample_ids: ids of all rows.
        image_rows, text_rows: rows that have an image, and a text; both for a pair.
        images, texts: keys of those rows (`KEY`), in row order.
    """

    sample_ids: pa.Array
    image_rows: np.ndarray[tuple[int], np.dtype[np.intp]]
    text_rows: np.ndarray[tuple[int], np.dtype[np.intp]]
    images: Records
    texts: Records


def read_shared_rows(ingest: Folder, file: PartFile) -> SharedRows:
    """Reads the image and text keys of a part's rows."""
    table = read_table(ingest, file.name, ["sample_id", "media", "text"]).combine_chunks()
    media_ids = pc.struct_field(first_media(table["media"]), "media_id")
    image_rows = np.flatnonzero(np.asarray(media_ids.is_valid()))
    texts = table["text"]
    text_rows = np.flatnonzero(np.asarray(texts.is_valid()))
    return SharedRows(
        sample_ids=table["sample_id"],
        image_rows=image_rows,
        text_rows=text_rows,
        images=keys_of_hex(media_ids.drop_null().to_pylist()),
        texts=keys_of(texts.take(text_rows).to_pylist()),
    )


def distinct_pairs(rows: SharedRows) -> Records:
    """Returns the distinct (image, text) pairs of a part."""
    both, at_image, at_text = np.intersect1d(
        rows.image_rows, rows.text_rows, assume_unique=True, return_indices=True
    )
    pairs = np.zeros(len(both), dtype=_PAIR)
    pairs["hi"], pairs["lo"] = rows.images["hi"][at_image], rows.images["lo"][at_image]
    pairs["text_hi"], pairs["text_lo"] = rows.texts["hi"][at_text], rows.texts["lo"][at_text]
    return distinct(pairs)


def split_pairs(pairs: Records, partitions: int) -> Iterator[tuple[str, bytes]]:
    """Yields (partition, packed pairs), by both members: no image and no text is a hot key."""
    mixed = (pairs["lo"] ^ pairs["text_lo"]) & np.uint64(partitions - 1)
    for number in np.unique(mixed):
        yield str(number), pairs[mixed == number].tobytes()


def count_pairs(packed: Iterable[bytes]) -> tuple[Records, Records]:
    """Returns contributions (`ASK`, asking for nothing) of distinct pairs.

    Returns:
        Distinct texts by image, and distinct images by text, over the pairs of one partition.
    """
    pairs = distinct(unpack(packed, _PAIR))
    images, texts = np.zeros(len(pairs), dtype=KEY), np.zeros(len(pairs), dtype=KEY)
    images["hi"], images["lo"] = pairs["hi"], pairs["lo"]
    texts["hi"], texts["lo"] = pairs["text_hi"], pairs["text_lo"]
    return asks(images, part=-1), asks(texts, part=-1)


class CountSharing(beam.PTransform[PCollection[NumberedPart], PCollection[str]]):
    """Parts → the names of the committed files of `count/sharing`."""

    def __init__(self, ingest: Folder, family: Folder, partitions: int) -> None:
        """Reads parts below `ingest`, commits below `family`."""
        super().__init__()
        self._ingest = ingest
        self._family = family
        self._partitions = partitions

    def expand(self, parts: PCollection[NumberedPart]) -> PCollection[str]:
        """Counts distinct pairs both ways and the copies of images, and joins them to the parts."""
        asked = parts | "Ask" >> beam.ParDo(_Ask(self._ingest, self._partitions)).with_outputs(
            "pairs", "images", "copies", "texts"
        )
        counted = (
            asked.pairs
            | "GroupPairs" >> beam.GroupByKey()
            | "CountPairs" >> beam.FlatMap(_count_pairs).with_outputs("images", "texts")
        )
        totals = {
            "alt_texts": (asked.images, counted.images)
            | "FlattenImages" >> beam.Flatten()
            | "AltTexts" >> SumByKey(self._partitions),
            "copies": asked.copies | "Copies" >> SumByKey(self._partitions),
            "images": (asked.texts, counted.texts)
            | "FlattenTexts" >> beam.Flatten()
            | "Images" >> SumByKey(self._partitions),
            "part": parts
            | "Wanted" >> beam.Filter(is_wanted)
            | "ByNumber" >> beam.WithKeys(number_key),
        }
        return (
            totals
            | "Join" >> beam.CoGroupByKey()
            | "Commit" >> beam.MapTuple(partial(_commit, ingest=self._ingest, family=self._family))
        )


class _Ask(beam.DoFn):
    def __init__(self, ingest: Folder, partitions: int) -> None:
        self._ingest = ingest
        self._partitions = partitions

    def process(self, part: NumberedPart) -> Iterator[Any]:
        rows = read_shared_rows(self._ingest, part.file)
        for key, packed in split_pairs(distinct_pairs(rows), self._partitions):
            yield TaggedOutput("pairs", (key, packed))
        asking = part.number if part.wanted else -1
        images = asks(rows.images, asking)
        yield TaggedOutput("copies", images.tobytes())
        if part.wanted:
            texts = asks(rows.texts, asking)
            images["n"], texts["n"] = 0, 0
            yield TaggedOutput("images", images.tobytes())
            yield TaggedOutput("texts", texts.tobytes())


def _count_pairs(group: tuple[str, Iterable[bytes]]) -> Iterator[Any]:
    images, texts = count_pairs(group[1])
    yield TaggedOutput("images", images.tobytes())
    yield TaggedOutput("texts", texts.tobytes())


def _commit(_number: str, joined: dict[str, Iterable[Any]], ingest: Folder, family: Folder) -> str:
    (part,) = joined["part"]
    rows = read_shared_rows(ingest, part.file)
    totals = {
        name: distinct(unpack(joined[name], TOTAL)) for name in ("alt_texts", "copies", "images")
    }
    columns = {
        "image.alt_texts": _column(rows.image_rows, rows.images, totals["alt_texts"], rows),
        "image.copies": _column(rows.image_rows, rows.images, totals["copies"], rows),
        "text.images": _column(rows.text_rows, rows.texts, totals["images"], rows),
    }
    table = pa.table({"sample_id": rows.sample_ids, **columns}, schema=family_schema(FAMILY))
    commit_table(family, part.file, table, {"rows": len(table)})
    return str(part.file.name)


def _column(
    at: np.ndarray[tuple[int], np.dtype[np.intp]], keys: Records, totals: Records, rows: SharedRows
) -> pa.Array:
    values = np.zeros(len(rows.sample_ids), dtype=np.int64)
    values[at] = totals["n"][look_up(totals, keys)]
    absent = np.ones(len(values), dtype=bool)
    absent[at] = False
    # A row with an image and no text goes with no text: the count does not apply.
    return pa.array(values, mask=absent | (values == 0))
