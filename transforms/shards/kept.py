"""The kept rows of a part, as shards need them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection

from schemas.recipe import SplitName
from schemas.tables import INGEST
from storage.folders import Folder
from transforms.decisions.families import kept_rows
from transforms.parts.tables import PartFile, part_of, read_table
from transforms.shards.rank import pack_ids

_JOINED = {
    "mime": ("measure/image", "image.mime"),
    "width": ("measure/image", "image.width"),
    "height": ("measure/image", "image.height"),
    "caption_tokens": ("measure/text", "text.unigrams"),
}


@dataclass(frozen=True)
class KeptRows:
    """Reads the kept rows of a part.

    Attributes:
        ingest: the `ingest` folder.
        images, texts: folders of `measure/image` and `measure/text`.
        ledger: folder of the ledgers of the intake.
        split: which of the kept rows.
        versions: ingest version by part stem.
    """

    ingest: Folder
    images: Folder
    texts: Folder
    ledger: Folder
    split: SplitName
    versions: dict[str, int]

    def file(self, stem: str) -> PartFile:
        """Returns the committed file of a part."""
        return PartFile(part_of(stem), self.versions[stem])

    def ids(self, stem: str) -> bytes:
        """Returns the packed ids of the kept rows of a part."""
        file = self.file(stem)
        ids = read_table(self.ledger, file.name, ["sample_id"])["sample_id"]
        return pack_ids(ids.take(kept_rows(self.ledger, file, self.split)).to_pylist())

    def __call__(self, stem: str) -> pa.Table:
        """Returns the kept rows of a part with the columns of `transforms.shards.members`."""
        file = self.file(stem)
        rows = kept_rows(self.ledger, file, self.split)
        names = [name for name in INGEST.names if name not in ("status", "error")]
        table = read_table(self.ingest, file.name, names).take(rows)
        ledger = read_table(self.ledger, file.name, ["cluster_id"])
        table = table.append_column("cluster_id", ledger["cluster_id"].take(rows))
        folders = {"measure/image": self.images, "measure/text": self.texts}
        for name, (family, signal) in _JOINED.items():
            column = read_table(folders[family], file.name, [signal])[signal]
            table = table.append_column(name, column.take(rows))
        return table


class ReadKeptIds(beam.PTransform[PCollection[str], PCollection[tuple[str, bytes]]]):
    """Part stems → (stem, packed ids of the kept rows), as `RankSamples` takes them."""

    def __init__(self, rows: KeptRows) -> None:
        """Reads through `rows`."""
        super().__init__()
        self._rows = rows

    def expand(self, stems: PCollection[str]) -> PCollection[tuple[str, bytes]]:
        """Reads part by part."""
        return stems | "Read" >> beam.FlatMap(_ids, self._rows)


def _ids(stem: str, rows: KeptRows) -> Iterator[tuple[str, bytes]]:
    packed = rows.ids(stem)
    if packed:
        yield stem, packed
