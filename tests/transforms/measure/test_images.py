from __future__ import annotations

from itertools import pairwise

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import given
from hypothesis import strategies as st

from schemas.layout import Part
from schemas.reasons import Reason
from schemas.recipe import BlockList
from schemas.samples import RawSample
from schemas.tables import family_schema
from storage.folders import open_folder
from transforms.ingest.blocklist import load_block_list
from transforms.ingest.commit import commit_part
from transforms.measure.images import (
    CHUNK_IMAGES,
    Chunk,
    MeasureImages,
    cut_chunks,
    measure_chunks,
    measure_part,
)
from transforms.measure.threads import decoding_pool
from transforms.parts.heartbeat import rows_done
from transforms.parts.media import MediaTar
from transforms.parts.tables import PartFile, read_counts, read_table
from transforms.signals.image import measure_images

MOST_PIXELS = 10_000


@pytest.fixture
def folder(tmp_path):
    return open_folder(str(tmp_path))


@pytest.fixture
def mixed(png, pair, question):
    """Rows with an image that repeats, without an image, and with images that cannot be used."""
    return [
        pair("a", png(1), "one"),
        question("b", "who", "me"),
        pair("c", png(2), "two"),
        pair("d", png(1), "three"),
        RawSample("e", reason=Reason.ROW_MALFORMED, error="no row"),
        pair("f", b"no image at all", "four"),
        pair("g", png(3, (200, 100)), "five"),
        pair("h", b"", "six"),
    ]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60)), max_size=30),
    st.integers(1, 5),
    st.integers(1, 100),
)
def test_chunks_cover_all_images_in_order_within_their_limits(sizes, most, most_bytes):
    sizes = sorted(sizes, key=lambda one: one[0])
    images = [(tar, at * 100, size) for at, (tar, size) in enumerate(sizes)]
    chunks = list(cut_chunks(images, most, most_bytes))
    assert [(one.tar, *place) for one in chunks for place in one.ranges] == images
    for chunk in chunks:
        held = sum(length for _, length in chunk.ranges)
        assert 1 <= len(chunk.ranges) <= most
        assert held <= most_bytes or len(chunk.ranges) == 1
    for one, two in pairwise(chunks):
        first = two.ranges[0][1]
        full = len(one.ranges) == most or sum(n for _, n in one.ranges) + first > most_bytes
        assert full or one.tar != two.tar, "a chunk ends only where it must"


def test_chunks_are_measured_in_order_whatever_finishes_first(folder, png):
    blobs = [png(number, (20 + number, 20)) for number in range(12)]
    part = Part("i0", "web", "part-00000000000000aa")
    with folder.temporary_file() as path:
        with MediaTar(path, part) as tar:
            places = [(*tar.add(str(at), blob),) for at, blob in enumerate(blobs)]
        folder.create("media.tar", path)
    chunks = list(cut_chunks([("media.tar", *place) for place in places], most=5))
    assert [len(chunk.ranges) for chunk in chunks] == [5, 5, 2]
    before = rows_done("measure")
    with decoding_pool(4) as pool:
        batches = list(measure_chunks(folder, chunks, MOST_PIXELS, pool))
        assert list(measure_chunks(folder, [], MOST_PIXELS, pool)) == []
    assert rows_done("measure") - before == 12
    widths = [width for batch in batches for width in batch["image.width"].to_pylist()]
    assert widths == [20 + number for number in range(12)]


@pytest.mark.parametrize("threads", [1, 4])
def test_every_row_has_the_signals_of_its_image(folder, take_in, mixed, threads):
    file = take_in(folder, 0, mixed)
    with decoding_pool(threads) as pool:
        table = measure_part(folder, file, MOST_PIXELS, pool)
    assert table.schema.remove_metadata() == family_schema("measure/image")
    assert table["sample_id"].equals(read_table(folder, file.name)["sample_id"])
    blobs = [sample.media[0].data if sample.media else None for sample in mixed]
    alone = pa.Table.from_batches([measure_images(blobs, MOST_PIXELS)])
    assert table.drop_columns(["sample_id"]).to_pylist() == alone.to_pylist()
    unreadable = "media_unreadable"
    assert table["status"].to_pylist() == [
        *("ok", None, "ok", "ok", None, unreadable, "media_too_many_pixels", unreadable)
    ]


def test_an_image_that_repeats_is_decoded_once(folder, take_in, pair, png):
    file = take_in(folder, 0, [pair(f"{at}", png(1), f"text {at}") for at in range(50)])
    before = rows_done("measure")
    with decoding_pool(1) as pool:
        table = measure_part(folder, file, MOST_PIXELS, pool)
    assert rows_done("measure") - before == 1
    assert table["status"].to_pylist() == ["ok"] * 50


def test_a_later_version_has_media_in_two_tars(folder, take_in, pair, png):
    first = take_in(folder, 0, [pair("a", png(1, (31, 9)), "one"), pair("b", None, "two")])
    rows = read_table(folder, first.name).to_pylist()
    second = PartFile(first.part, 2)
    found = pair("b", png(2, (32, 9)), "two")
    commit_part(folder, second, [[rows[0], found]], load_block_list(BlockList(), MOST_PIXELS))
    media = read_table(folder, second.name)["media"].to_pylist()
    assert media[0][0]["part_tar"] != media[1][0]["part_tar"]
    with decoding_pool(2) as pool:
        table = measure_part(folder, second, MOST_PIXELS, pool)
    assert table["image.width"].to_pylist() == [31, 32]


def test_a_part_without_images_has_empty_signals(folder, take_in, question):
    for number, samples in enumerate(([], [question("a", "who", "me")])):
        file = take_in(folder, number, samples)
        with decoding_pool(1) as pool:
            table = measure_part(folder, file, MOST_PIXELS, pool)
        assert len(table) == len(samples)
        assert table["status"].null_count == len(samples)


def test_parts_are_measured_through_beam_and_committed_once(folder, take_in, mixed):
    ingest, family = folder.child("ingest"), folder.child("images")
    files = [take_in(ingest, number, mixed[: number * 4]) for number in range(3)]
    for _ in range(2):
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            measure = MeasureImages(ingest, family, MOST_PIXELS, 2)
            pipeline | beam.Create(files) | measure
    assert [entry.name for entry in family.list()] == [file.name for file in files]
    assert read_counts(family, files[2].name) == {
        "rows": 8,
        "ok": 3,
        "media_unreadable": 2,
        "media_too_many_pixels": 1,
    }


def test_a_chunk_is_one_read_of_one_tar():
    assert Chunk("a.tar", [(512, 3)]) == ("a.tar", [(512, 3)])
    images = [("a.tar", at * 512, 10) for at in range(CHUNK_IMAGES + 1)]
    assert [len(chunk.ranges) for chunk in cut_chunks(images)] == [CHUNK_IMAGES, 1]
