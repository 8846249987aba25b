from __future__ import annotations

import io
from collections import Counter

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from PIL import Image

from schemas.recipe import Dedupe
from schemas.samples import RawText, TextRole
from schemas.tables import CLUSTERS
from storage.folders import open_folder
from transforms.duplicates.exact import (
    Content,
    FindExactDuplicates,
    cluster_columns,
    read_content,
)
from transforms.measure.images import measure_part
from transforms.measure.threads import decoding_pool
from transforms.parts.tables import commit_table, read_table

BOTH = ("bytes", "pixels")


@pytest.fixture
def folder(tmp_path):
    return open_folder(str(tmp_path))


@pytest.fixture
def write(folder, take_in_all):
    """Takes samples in and measures their images; returns the numbered parts."""

    def commit(*parts, earlier=0):
        numbered = take_in_all(folder.child("ingest"), *parts, earlier=earlier)
        with decoding_pool(2) as pool:
            for part in numbered:
                table = measure_part(folder.child("ingest"), part.file, 10**6, pool)
                commit_table(folder.child("images"), part.file, table, {})
        return numbered

    return commit


@pytest.fixture
def find(folder):
    """Finds duplicates through Beam; returns the rows of `dedupe/exact` of the wanted parts."""

    def run(parts, **settings):
        family = folder.child("exact")
        ingest, images = folder.child("ingest"), folder.child("images")
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            exact = FindExactDuplicates(ingest, images, family, 2, Dedupe(**settings))
            pipeline | beam.Create(parts) | exact
        wanted = [part for part in parts if part.wanted]
        assert len(list(family.list())) == len(wanted)
        rows = []
        for part in wanted:
            table = read_table(family, part.file.name)
            assert table.schema.remove_metadata() == CLUSTERS
            assert table["sample_id"].equals(
                read_table(ingest, part.file.name, ["sample_id"])["sample_id"]
            )
            rows += table.to_pylist()
        return rows

    return run


def rewrapped(data):
    """Returns the same pixels in other bytes."""
    sink = io.BytesIO()
    Image.open(io.BytesIO(data)).save(sink, "PNG", compress_level=1)
    assert sink.getvalue() != data
    return sink.getvalue()


@pytest.fixture
def samples(png, pair):
    """An image, its copy with another text, its pixels in other bytes, and two more images."""
    return [
        pair("one", png(1), "a boat on a lake"),
        pair("copy", png(1), "the same boat"),
        pair("pixels", rewrapped(png(1)), "a boat on a lake"),
        pair("other", png(2), "a boat on a lake"),
        pair("lonely", png(3), "a house"),
    ]


def members(rows):
    """Returns the positions of the rows of each cluster."""
    clusters = {}
    for at, row in enumerate(rows):
        if row["cluster_id"] is not None:
            clusters.setdefault(row["cluster_id"], []).append(at)
    return sorted(clusters.values())


@pytest.mark.parametrize(
    ("edges", "unit", "expected"),
    [
        (BOTH, "image", [[0, 1, 2]]),
        (("pixels",), "image", [[0, 1, 2]]),
        (("bytes",), "image", [[0, 1]]),
        (BOTH, "pair", [[0, 2]]),
        (("bytes",), "pair", []),
        ((), "image", []),
    ],
)
def test_what_makes_samples_duplicates(write, find, samples, edges, unit, expected):
    rows = find(write(samples[:2], samples[2:]), edges=edges, unit=unit)
    assert members(rows) == expected
    for row in rows:
        alone = row["cluster_id"] is None
        assert (row["cluster_size"] is None) == (row["edge"] is None) == alone
        if not alone:
            assert len(row["cluster_id"]) == 32


def test_a_cluster_says_its_size_and_which_members_share_their_bytes(write, find, samples):
    rows = find(write(samples))
    assert [(row["cluster_size"], row["edge"]) for row in rows[:3]] == [
        (3, "bytes"),
        (3, "bytes"),
        (3, "pixels"),
    ]


def test_the_name_of_a_cluster_stays_when_members_join(write, find, folder, png, pair, samples):
    before = find(write(samples))[0]["cluster_id"]
    for name in ("ingest", "images", "exact"):
        for entry in list(folder.child(name).list()):
            folder.child(name).delete(entry.name)
    after = find(write(samples, [pair("late", png(1), "once more")]))
    assert {row["cluster_id"] for row in after if row["cluster_id"]} == {before}
    assert after[0]["cluster_size"] == 4


def test_parts_that_are_only_read_have_members_too(write, find, samples):
    rows = find(write(samples[:1], samples[1:], earlier=1))
    assert len(rows) == 4
    assert members(rows) == [[0, 1]]
    assert rows[0]["cluster_size"] == 3


def test_text_pairs_are_duplicates_by_all_of_their_texts(write, find, question, pair, png):
    asked = question("a", "who sings", "a bird")
    more = (*asked.texts, RawText(TextRole.NEGATIVE, "a stone"))
    rows = find(
        write(
            [
                asked,
                question("b", "who sings", "a bird"),
                question("c", "who sings", "a whale"),
                # Role by role: a negative is no passage.
                type(asked)("d", asked.kind, more),
                pair("e", png(1), "who sings"),
            ]
        )
    )
    assert members(rows) == [[0, 1]]


def test_unreadable_images_are_duplicates_by_their_bytes(write, find, pair):
    rows = find(write([pair("a", b"no image", "x"), pair("b", b"no image", "y")]))
    assert members(rows) == [[0, 1]]


def test_random_corpora_have_the_clusters_of_a_naive_count(write, find, png, pair):
    random = np.random.default_rng(4)
    images = random.integers(0, 12, 40).tolist()
    drawn = [pair(f"{at}", png(image), f"text {at}") for at, image in enumerate(images)]
    rows = find(write(drawn[:13], drawn[13:14], drawn[14:]))
    sizes = Counter(images)
    assert [row["cluster_size"] for row in rows] == [
        sizes[image] if sizes[image] > 1 else None for image in images
    ]
    names = {}
    for image, row in zip(images, rows, strict=True):
        if row["cluster_id"]:
            assert names.setdefault(image, row["cluster_id"]) == row["cluster_id"]
    assert len(set(names.values())) == len(names)


def test_content_is_read_without_pixels_where_only_bytes_count(folder, take_in, pair, png):
    file = take_in(folder.child("ingest"), 0, [pair("a", png(1), "x")])
    content = read_content(
        folder.child("ingest"), folder.child("nowhere"), file, Dedupe(edges=("bytes",))
    )
    assert content.shared == content.stored != [None]


def test_rows_without_content_are_in_no_cluster():
    content = Content(pa.array(["a", "b"]), [None, "ab" * 32], [None, "cd" * 32])
    table = cluster_columns(content, np.array([0, 2]), np.array([0, 1]))
    assert table.to_pylist() == [
        {"sample_id": "a", "cluster_id": None, "cluster_size": None, "edge": None},
        {"sample_id": "b", "cluster_id": "ab" * 16, "cluster_size": 2, "edge": "pixels"},
    ]
