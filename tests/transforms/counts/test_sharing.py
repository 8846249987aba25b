from __future__ import annotations

from collections import Counter, defaultdict

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from schemas.reasons import Reason
from schemas.samples import RawSample
from schemas.tables import family_schema
from storage.folders import open_folder
from transforms.counts.sharing import (
    CountSharing,
    distinct_pairs,
    read_shared_rows,
    split_pairs,
)
from transforms.parts.tables import read_counts, read_table


@pytest.fixture
def folder(tmp_path):
    return open_folder(str(tmp_path))


def count(folder, parts, partitions):
    """Counts through Beam; returns the rows of `count/sharing` of each wanted part."""
    family = folder.child(f"sharing-{partitions}")
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        sharing = CountSharing(folder.child("ingest"), family, partitions)
        pipeline | beam.Create(parts) | sharing
    wanted = [part for part in parts if part.wanted]
    assert len(list(family.list())) == len(wanted)
    return {part.number: read_table(family, part.file.name) for part in wanted}, family


def expected(corpus):
    """Returns (alt texts, copies, images) of every row, counted one by one."""
    texts, images, copies = defaultdict(set), defaultdict(set), Counter()
    for image, text in corpus:
        if image is not None:
            copies[image] += 1
        if image is not None and text is not None:
            texts[image].add(text)
            images[text].add(image)
    return [
        (
            len(texts[image]) or None if image is not None else None,
            copies[image] or None,
            len(images[text]) or None if text is not None else None,
        )
        for image, text in corpus
    ]


def random_corpus(rows):
    """Returns (image, text) of rows, some without an image; the last text has none at all."""
    random = np.random.default_rng(rows)
    corpus = [
        (int(image) if image else None, f"text {text}")
        for image, text in random.integers(0, (9, 7), (rows - 1, 2))
    ]
    return [*corpus, (None, "a text without any image")]


@pytest.mark.parametrize("partitions", [1, 4])
def test_counts_are_those_of_the_whole_corpus(folder, png, pair, question, take_in_all, partitions):
    corpus = random_corpus(70)
    samples = [
        question(f"{at}", text, "a passage") if image is None else pair(f"{at}", png(image), text)
        for at, (image, text) in enumerate(corpus)
    ]
    parts = take_in_all(folder.child("ingest"), samples[:9], [], samples[9:40], samples[40:])
    tables, family = count(folder, parts, partitions)
    rows = [row for number in sorted(tables) for row in tables[number].to_pylist()]
    found = [(row["image.alt_texts"], row["image.copies"], row["text.images"]) for row in rows]
    assert found == expected(corpus)
    assert found[-1] == (None, None, None)
    for part in parts:
        ingest = read_table(folder.child("ingest"), part.file.name)
        assert tables[part.number].schema.remove_metadata() == family_schema("count/sharing")
        assert tables[part.number]["sample_id"].equals(ingest["sample_id"])
        assert read_counts(family, part.file.name) == {"rows": part.rows}


def test_parts_of_earlier_intakes_count_but_are_not_answered(folder, png, pair, take_in_all):
    known = [(image or 0, text) for image, text in random_corpus(30)]
    samples = [pair(f"{at}", png(image), text) for at, (image, text) in enumerate(known)]
    parts = take_in_all(folder.child("ingest"), samples[:20], samples[20:], earlier=1)
    tables, _ = count(folder, parts, 2)
    assert tables.keys() == {1}
    found = [
        (row["image.alt_texts"], row["image.copies"], row["text.images"])
        for row in tables[1].to_pylist()
    ]
    assert found == expected(known)[20:]


def test_a_row_that_cannot_be_used_counts_for_nothing(folder, png, pair, take_in_all):
    refused = RawSample("bad", reason=Reason.ROW_MALFORMED, error="no row")
    samples = [pair("good", png(1), "a text"), refused, pair("again", png(1), "another text")]
    tables, _ = count(folder, take_in_all(folder.child("ingest"), samples), 1)
    values = tables[0].drop_columns(["sample_id"]).to_pylist()
    assert values[1] == dict.fromkeys(values[1])
    assert values[0] == {"image.alt_texts": 2, "image.copies": 2, "text.images": 1}


def test_a_hot_image_and_a_hot_text_are_spread_over_partitions(folder, png, pair, take_in):
    hot_image = [pair(f"i{n}", png(0), f"text {n}") for n in range(200)]
    hot_text = [pair(f"t{n}", png(n), "the same") for n in range(1, 100)]
    file = take_in(folder.child("ingest"), 0, hot_image + hot_text)
    pairs = distinct_pairs(read_shared_rows(folder.child("ingest"), file))
    assert len(pairs) == 299
    sizes = [len(packed) // pairs.dtype.itemsize for _, packed in split_pairs(pairs, 8)]
    assert sum(sizes) == 299
    assert len(sizes) == 8
    assert max(sizes) < 80
