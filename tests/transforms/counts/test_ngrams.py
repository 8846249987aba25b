from __future__ import annotations

from collections import Counter

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from schemas.digests import digest
from schemas.tables import family_schema
from storage.folders import open_folder
from transforms.counts.ngrams import CountNgrams, read_ngrams
from transforms.parts.tables import read_table
from transforms.signals.words import ngrams, unigrams

NAMES = ("text.rarest_ngram_count", "text.rarest_ngram_rank", "text.ngrams_outside_vocabulary")


@pytest.fixture
def folder(tmp_path):
    return open_folder(str(tmp_path))


def count(folder, parts, size, minimum=1, partitions=2):
    """Counts through Beam; returns (count, rank, outside) of each row of the wanted parts."""
    family = folder.child(f"ngrams-{size}-{minimum}-{partitions}")
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        counting = CountNgrams(folder.child("ingest"), family, partitions, size, minimum)
        pipeline | beam.Create(parts) | counting
    found = []
    for part in parts:
        if part.wanted:
            table = read_table(family, part.file.name)
            assert table.schema.remove_metadata() == family_schema("count/ngrams")
            found += zip(*(table[name].to_pylist() for name in NAMES), strict=True)
    return found


def expected(texts, size, minimum=1):
    """Returns (count, rank, outside) of each text, counted one by one."""
    counts = Counter(gram for text in texts for gram in ngrams(unigrams(text)))
    order = sorted(counts, key=lambda gram: (-counts[gram], _key(gram)))
    inside = {gram for gram in order[:size] if counts[gram] >= minimum}
    told = []
    for text in texts:
        grams = ngrams(unigrams(text))
        if not grams:
            told.append((None, None, None))
            continue
        rarest = min(counts[gram] for gram in grams)
        rank = 1 + sum(n > rarest for n in counts.values())
        told.append((rarest, rank, sum(gram not in inside for gram in grams)))
    return told


def _key(gram):
    """Orders n-grams as packed keys order: by their two words."""
    data = digest(gram)
    return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")


def random_texts(number):
    """Returns texts over few words, frequent and rare ones, with many ties."""
    random = np.random.default_rng(number)
    words = np.array([*"abcdefgh", "ü", "写真"])
    weights = 1 / np.arange(1, len(words) + 1)
    return [
        " ".join(random.choice(words, random.integers(0, 6), p=weights / weights.sum()))
        for _ in range(number)
    ]


@pytest.mark.parametrize(
    ("size", "minimum", "partitions"), [(10**8, 1, 1), (7, 1, 4), (20, 1, 2), (20, 3, 2), (1, 1, 2)]
)
def test_counts_ranks_and_vocabulary_are_those_of_the_whole_corpus(
    folder, question, take_in_all, size, minimum, partitions
):
    texts = random_texts(60)
    samples = [question(f"{at}", text, "a passage") for at, text in enumerate(texts)]
    parts = take_in_all(folder.child("ingest"), samples[:7], samples[7:30], [], samples[30:])
    assert count(folder, parts, size, minimum, partitions) == expected(texts, size, minimum)


def test_parts_of_earlier_intakes_count_but_are_not_answered(folder, question, take_in_all):
    texts = random_texts(40)
    samples = [question(f"{at}", text, "a passage") for at, text in enumerate(texts)]
    parts = take_in_all(folder.child("ingest"), samples[:25], samples[25:], earlier=1)
    assert count(folder, parts, 9) == expected(texts, 9)[25:]


def test_ngrams_of_a_part_are_flat_with_repetitions(folder, question, take_in):
    samples = [
        question("a", "red red boat", "p"),
        question("b", "!", "p"),
        question("c", "boat", "p"),
    ]
    found = read_ngrams(folder, take_in(folder, 0, samples))
    grams = ["red", "red", "boat", "red red", "red boat"]
    assert sorted(ngrams(unigrams("red red boat"))) == sorted(grams)
    assert found.rows.tolist() == [0] * 5 + [2]
    assert found.keys[-1].tobytes() == digest("boat")
    assert sum(key.tobytes() == digest("red") for key in found.keys) == 2
