"""Exact duplicates: samples whose bytes, or whose decoded pixels, are the same.

A cluster is named after what its members share, so that its name stays when members join.
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

from schemas.digests import hex_digest
from schemas.recipe import Dedupe
from schemas.samples import Kind
from schemas.tables import CLUSTERS
from storage.folders import Folder
from transforms.counts.keys import TOTAL, asks, distinct, keys_of_hex, look_up, unpack
from transforms.counts.totals import SumByKey
from transforms.parts.rows import first_media
from transforms.parts.tables import PartFile, commit_table, read_table
from transforms.parts.work import NumberedPart, is_wanted, number_key

FAMILY = "dedupe/exact"


@dataclass(frozen=True)
class Content:
    """What each row of a part is, as hex digests; None where it has no such content.

    Attributes:
        sample_ids: ids of all rows.
        shared: equal for rows that are duplicates.
        stored: equal for duplicates that have the same bytes as well.
    """

    sample_ids: pa.Array
    shared: list[str | None]
    stored: list[str | None]


def read_content(ingest: Folder, images: Folder, file: PartFile, dedupe: Dedupe) -> Content:
    """Reads what the rows of a part are.

    Args:
        ingest: the `ingest` folder.
        images: the folder of the `measure/image` family.
        file: the part.
        dedupe: which edges count, and between what.
    """
    rows = read_table(ingest, file.name, ["sample_id", "kind", "media", "texts", "text"])
    media_ids = pc.struct_field(first_media(rows["media"]), "media_id").to_pylist()
    pixels: list[str | None] = [None] * len(rows)
    if "pixels" in dedupe.edges:
        pixels = read_table(images, file.name, ["image.pixel_digest"])[0].to_pylist()
    shared: list[str | None] = []
    for kind, media_id, pixel, text, texts in zip(
        rows["kind"].to_pylist(),
        media_ids,
        pixels,
        rows["text"].to_pylist(),
        rows["texts"].to_pylist(),
        strict=True,
    ):
        content = pixel or (media_id if "bytes" in dedupe.edges else None)
        if kind == Kind.TEXT_PAIR and dedupe.edges:
            content = hex_digest("texts", *(f"{one['role']}:{one['text']}" for one in texts))
        elif content is not None and dedupe.unit == "pair":
            content = hex_digest("pair", content, text or "")
        shared.append(content)
    return Content(rows["sample_id"].combine_chunks(), shared, media_ids)


class FindExactDuplicates(beam.PTransform[PCollection[NumberedPart], PCollection[str]]):
    """Parts → the names of the committed files of `dedupe/exact`."""

    def __init__(
        self, ingest: Folder, images: Folder, family: Folder, partitions: int, dedupe: Dedupe
    ) -> None:
        """Reads parts below `ingest` and `images` (`measure/image`), commits below `family`."""
        super().__init__()
        self._read = partial(read_content, ingest, images, dedupe=dedupe)
        self._family = family
        self._partitions = partitions

    def expand(self, parts: PCollection[NumberedPart]) -> PCollection[str]:
        """Counts how many rows share each content and each bytes; more than one is a cluster."""
        asked = parts | "Ask" >> beam.ParDo(_Ask(self._read)).with_outputs("shared", "stored")
        joined = {
            "shared": asked.shared | "Shared" >> SumByKey(self._partitions),
            "stored": asked.stored | "Stored" >> SumByKey(self._partitions),
            "part": parts
            | "Wanted" >> beam.Filter(is_wanted)
            | "ByNumber" >> beam.WithKeys(number_key),
        }
        return (
            joined
            | "Join" >> beam.CoGroupByKey()
            | "Commit" >> beam.MapTuple(partial(_commit, read=self._read, family=self._family))
        )


class _Ask(beam.DoFn):
    def __init__(self, read: partial[Content]) -> None:
        self._read = read

    def process(self, part: NumberedPart) -> Iterator[Any]:
        content = self._read(part.file)
        number = part.number if part.wanted else -1
        for tag, values in (("shared", content.shared), ("stored", content.stored)):
            keys = keys_of_hex([value for value in values if value is not None])
            yield TaggedOutput(tag, asks(keys, number).tobytes())


def _commit(
    _number: str, joined: dict[str, Iterable[Any]], read: partial[Content], family: Folder
) -> str:
    (part,) = joined["part"]
    content = read(part.file)
    sizes = _totals(content.shared, joined["shared"])
    copies = _totals(content.stored, joined["stored"])
    table = cluster_columns(content, sizes, copies)
    commit_table(family, part.file, table, {"rows": len(table)})
    return str(part.file.name)


def _totals(values: list[str | None], packed: Iterable[bytes]) -> np.ndarray[Any, Any]:
    """Returns the total of each row's value; 0 where it has none."""
    totals = distinct(unpack(packed, TOTAL))
    result = np.zeros(len(values), dtype=np.int64)
    present = [row for row, value in enumerate(values) if value is not None]
    keys = keys_of_hex([value for value in values if value is not None])
    result[present] = totals["n"][look_up(totals, keys)]
    return result


def cluster_columns(
    content: Content, sizes: np.ndarray[Any, Any], copies: np.ndarray[Any, Any]
) -> pa.Table:
    """Returns the `CLUSTERS` table of a part.

    Args:
        content: what the rows are.
        sizes: rows of the corpus with the same shared content; 0 where a row has none.
        copies: rows of the corpus with the same bytes; 0 where a row has none.
    """
    alone = sizes < 2
    cluster = [
        None if single else (shared or "")[:32]
        for single, shared in zip(alone.tolist(), content.shared, strict=True)
    ]
    edge = np.where(copies > 1, "bytes", "pixels").astype(object)
    return pa.table(
        {
            "sample_id": content.sample_ids,
            "cluster_id": pa.array(cluster, pa.string()),
            "cluster_size": pa.array(sizes, mask=alone),
            "edge": pa.array(edge, pa.string(), mask=alone),
        },
        schema=CLUSTERS,
    )
