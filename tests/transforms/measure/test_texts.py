from __future__ import annotations

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from schemas.reasons import Reason
from schemas.samples import RawSample
from schemas.tables import family_schema
from storage.folders import open_folder
from transforms.measure.texts import CHUNK_TEXTS, MeasureTexts, measure_part
from transforms.parts.tables import read_counts, read_table
from transforms.signals.text import measure_texts


@pytest.fixture
def folder(tmp_path):
    return open_folder(str(tmp_path))


def test_every_row_has_the_signals_of_its_primary_text(folder, take_in, pair, png, question):
    samples = [
        pair("a", png(1), "a red boat on a lake", "another text"),
        RawSample("b", reason=Reason.TEXT_MISSING, error="no text"),
        question("c", "who sings", "a passage that is longer than that"),
        pair("d", png(2), "IMG_1234.JPG"),
    ]
    file = take_in(folder, 0, samples)
    table = measure_part(folder, file)
    assert table.schema.remove_metadata() == family_schema("measure/text")
    assert table["sample_id"].equals(read_table(folder, file.name)["sample_id"])
    texts = ["a red boat on a lake", None, "who sings", "IMG_1234.JPG"]
    alone = pa.Table.from_batches([measure_texts(texts)])
    assert table.drop_columns(["sample_id"]).to_pylist() == alone.to_pylist()
    assert table["text.unigrams"].to_pylist() == [6, None, 2, 2]


def test_chunks_of_a_long_part_do_not_show(folder, take_in, question):
    rows = CHUNK_TEXTS + 10
    file = take_in(folder, 0, [question(f"{n}", "word " * (n % 7 + 1), "p") for n in range(rows)])
    assert measure_part(folder, file)["text.unigrams"].to_pylist() == [
        n % 7 + 1 for n in range(rows)
    ]


def test_parts_are_measured_through_beam_and_committed_once(folder, take_in, question):
    ingest, family = folder.child("ingest"), folder.child("texts")
    samples = [question(f"{n}", f"question {n}", "p") for n in range(5)]
    files = [take_in(ingest, number, samples[: number * 2]) for number in range(3)]
    for _ in range(2):
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            pipeline | beam.Create(files) | MeasureTexts(ingest, family)
    assert [entry.name for entry in family.list()] == [file.name for file in files]
    assert [read_counts(family, file.name) for file in files] == [
        {"rows": rows} for rows in (0, 2, 4)
    ]
