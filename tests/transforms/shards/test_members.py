from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.digests import canonical_json, hex_digest
from schemas.recipe import TrainView
from schemas.shards import EXTENSIONS, ShardSample, split_member
from transforms.shards.members import MediaRange, ShardRecord, build_record, text_members

ID = "0123456789abcdef" * 2
MEDIA_ID = "cd" * 32
IMAGE = {"role": "image", "media_id": MEDIA_ID, "part_tar": "p.tar", "offset": 512, "length": 9}


def text(role, words, **more):
    return {
        "role": role,
        "text": words,
        "lang": None,
        "model": None,
        "prompt_id": None,
        "media_id": None,
    } | more


def pair(**more):
    return {
        "sample_id": ID,
        "source": "web",
        "kind": "pair",
        "locator": "a/b.parquet#1",
        "media": [IMAGE],
        "texts": [text("title", "a title"), text("alt", "a cat — 猫", lang="en")],
        "text": "a cat — 猫",
        "licence": "CC0-1.0",
        "attribution": "someone",
        "meta": '{"n":1,"none":null}',
        "row_digest": "0" * 32,
        "cluster_id": None,
        "mime": "image/png",
        "width": 640,
        "height": 480,
        "caption_tokens": 2,
    } | more


def text_pair(**more):
    texts = [text("passage", "an answer"), text("query", "a question?"), text("negative", "no")]
    return (
        pair(kind="text_pair", media=[], texts=texts, text="a question?", mime=None)
        | {"width": None, "height": None}
        | more
    )


def test_a_pair():
    record = build_record(pair(), 5, None)
    assert (record.rank, record.key, record.media_extension) == (5, ID, "png")
    assert record.media == MediaRange(MEDIA_ID, "p.tar", 512, 9)
    sample = ShardSample.model_validate(record.sample)
    assert [one.role for one in sample.texts] == ["alt", "title"]
    assert sample.media == {"png": MEDIA_ID}
    assert (sample.width, sample.height, sample.cluster_id) == (640, 480, None)
    assert (sample.query_id, sample.positive_id) == (hex_digest("a cat — 猫"), MEDIA_ID)
    assert sample.meta == {"n": 1, "none": None}
    members = {one.extension: one for one in text_members(record)}
    assert sorted(members) == ["json", "txt"]
    assert members["txt"].data.decode() == "a cat — 猫"
    assert members["txt"].caption_tokens == 2
    assert members["json"].data.decode() == canonical_json(record.sample)


def test_a_text_pair():
    record = build_record(text_pair(), 0, None)
    assert record.media is None
    sample = ShardSample.model_validate(record.sample)
    assert sample.media == {}
    assert (sample.query_id, sample.positive_id) == (
        hex_digest("a question?"),
        hex_digest("an answer"),
    )
    members = {one.extension: one.data.decode() for one in text_members(record)}
    assert (members["txt"], members["passage.txt"]) == ("a question?", "an answer")
    assert [one["role"] for one in json.loads(members["json"])["texts"]] == [
        "query",
        "passage",
        "negative",
    ]
    assert split_member(f"{ID}.passage.txt") == (ID, "passage.txt")


def test_equal_content_has_equal_ids_whatever_the_sample():
    first = build_record(pair(sample_id="a" * 32), 0, None).sample
    second = build_record(pair(sample_id="b" * 32, source="other"), 1, None).sample
    assert first["query_id"] == second["query_id"]
    assert first["positive_id"] == second["positive_id"]


@pytest.mark.parametrize(("mime", "extension"), EXTENSIONS.items())
def test_the_extension_is_that_of_the_bytes_unless_they_are_re_encoded(mime, extension):
    assert build_record(pair(mime=mime), 0, None).media_extension == extension
    view = TrainView(short_side=224, format="webp")
    assert build_record(pair(mime=mime), 0, view).sample["media"] == {"webp": MEDIA_ID}
    assert build_record(pair(mime=mime), 0, TrainView(short_side=224)).media_extension == "jpg"


@pytest.mark.parametrize("absent", ["lang", "model", "prompt_id", "media_id"])
def test_json_holds_no_nulls_of_ours(absent):
    record = build_record(pair(texts=[text("alt", "a cat — 猫")]), 0, None)
    assert absent not in record.sample["texts"][0]
    assert "cluster_id" not in record.sample


@given(
    st.integers(0, 2**62),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers()),
)
def test_a_record_travels_as_one_line(rank, words, meta):
    row = pair(texts=[text("alt", words)], text=words, meta=canonical_json(meta))
    record = build_record(row, rank, None)
    line = record.to_line()
    assert b"\n" not in line
    assert ShardRecord.from_line(line) == record
    bare = build_record(text_pair(caption_tokens=None), rank, None)
    assert ShardRecord.from_line(bare.to_line()) == bare


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (pair(text=None), "primary text is not among"),
        (pair(media=[]), "has one image, this one has 0"),
        (pair(media=[IMAGE, IMAGE]), "has one image, this one has 2"),
        (pair(mime=None), "run `measure`"),
        (pair(mime="image/x-icon"), "'image/x-icon' of a kept image is none of image/jpeg"),
        (text_pair(texts=[text("query", "a question?")]), "without a passage"),
        (pair(sample_id="img.v1"), "holds no dot"),
    ],
)
def test_rows_that_can_be_no_sample_are_bugs(row, message):
    with pytest.raises(ValueError, match=message):
        build_record(row, 0, None)
