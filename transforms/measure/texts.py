"""Measures the primary texts of a part."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection

from schemas.tables import family_schema
from storage.folders import Folder
from transforms.parts.tables import PartFile, commit_table, read_table
from transforms.signals.text import measure_texts

FAMILY = "measure/text"

CHUNK_TEXTS = 1024


def measure_part(ingest: Folder, file: PartFile) -> pa.Table:
    """Returns the `measure/text` columns of a part, one row for each of its rows."""
    rows = read_table(ingest, file.name, ["sample_id", "text"])
    schema = family_schema(FAMILY)
    batches = (measure_texts(batch["text"].to_pylist()) for batch in rows.to_batches(CHUNK_TEXTS))
    columns = pa.Table.from_batches(batches, schema.remove(0))
    return columns.add_column(0, schema.field(0), rows["sample_id"])


class MeasureTexts(beam.PTransform[PCollection[PartFile], PCollection[str]]):
    """Part files → the names of the committed files of `measure/text`."""

    def __init__(self, ingest: Folder, family: Folder) -> None:
        """Reads parts below `ingest`, commits below `family`."""
        super().__init__()
        self._measure = _MeasurePart(ingest, family)

    def expand(self, parts: PCollection[PartFile]) -> PCollection[str]:
        """Measures part by part, without a shuffle."""
        return parts | "Measure" >> beam.ParDo(self._measure)


class _MeasurePart(beam.DoFn):
    def __init__(self, ingest: Folder, family: Folder) -> None:
        self._ingest = ingest
        self._family = family

    def process(self, file: PartFile) -> Iterator[str]:
        table = measure_part(self._ingest, file)
        commit_table(self._family, file, table, {"rows": len(table)})
        yield file.name
