from __future__ import annotations

import gzip
import io
import json
import tarfile

import numpy as np
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from schemas.recipe import Ingest
from schemas.samples import Kind, TextRole
from schemas.shards import ShardSample, ShardText
from schemas.sources import WebDatasetSource
from storage.folders import open_folder
from transforms.ingest.webdataset import read_tar


@pytest.fixture
def read(tmp_path, read_source):
    def read_bytes(data, name="x/00000.tar", limits=None, **settings):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        settings = {"files": "**", **settings}
        source = WebDatasetSource(name="w", type="webdataset", path=str(tmp_path), **settings)
        return read_source(source, limits)

    return read_bytes


def told(sample):
    return [(text.role, text.text) for text in sample.texts]


def test_what_the_webdataset_library_writes(read, image):
    sink = io.BytesIO()
    with webdataset.TarWriter(sink) as writer:
        for number in range(3):
            writer.write(
                {
                    "__key__": f"train/{number:06}",
                    "png": image(number),
                    "txt": f"caption {number}",
                    "cls": number,
                    "json": {"title": "Title", "width": 8, "license": "CC0", "author": "Ann"},
                    "npy": np.zeros(3),
                }
            )
    samples = read(sink.getvalue())
    assert [sample.locator for sample in samples] == [
        f"x/00000.tar/train/{number:06}" for number in range(3)
    ]
    for number, sample in enumerate(samples):
        assert sample.reason is None
        assert sample.media[0].data == image(number)
        assert told(sample) == [(TextRole.ALT, f"caption {number}"), (TextRole.TITLE, "Title")]
        assert sample.meta == {"cls": str(number), "width": 8}
        assert (sample.licence, sample.attribution) == ("CC0", "Ann")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz"])
def test_packed_or_not(read, make_tar, name):
    data = make_tar(("k.jpg", b"1"), ("k.txt", b"t"))
    (sample,) = read(gzip.compress(data) if name != "a.tar" else data, name)
    assert sample.locator == f"{name}/k"
    assert sample.reason is None


@pytest.mark.parametrize(
    "extension", ["jpg", "JPEG", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "img", "x.jpg"]
)
def test_every_media_extension(read, make_tar, extension):
    (sample,) = read(make_tar((f"k.{extension}", b"1"), ("k.txt", b"t")))
    assert sample.media[0].data == b"1"


def test_one_image_of_several_is_taken(read, make_tar):
    members = [("k.thumb.jpg", b"0"), ("k.png", b"2"), ("k.jpg", b"1"), ("k.txt", b"t")]
    (sample,) = read(make_tar(*members))
    assert sample.media[0].data == b"1"
    assert sample.meta["other_images"] == ["png", "thumb.jpg"]


def test_texts_from_every_plain_member_and_json(read, make_tar):
    described = json.dumps({"caption": "plain", "alt": "other", "title": "T", "tags": ["x", "y"]})
    (sample,) = read(
        make_tar(
            ("k.en.txt", b"english"),
            ("k.json", described.encode()),
            ("k.caption", b"caption"),
            ("k.txt", b" plain\n"),
            ("k.jpg", b"1"),
        )
    )
    assert told(sample) == [
        (TextRole.ALT, "plain"),
        (TextRole.ALT, "caption"),
        (TextRole.ALT, "english"),
        (TextRole.TITLE, "T"),
        (TextRole.KEYWORD, "x"),
        (TextRole.KEYWORD, "y"),
    ]


def test_the_recipe_names_text_members(read, make_tar):
    data = make_tar(("k.jpg", b"1"), ("k.txt", b"t"), ("k.Title.TXT", b"T"), ("k.json", b"{}"))
    (sample,) = read(data, texts={"title": ".title.txt", "alt": "caption"})
    assert told(sample) == [(TextRole.TITLE, "T")]
    assert sample.meta == {"txt": "t"}


def test_samples_without_text_or_media_are_refused(read, make_tar):
    data = make_tar(("a.jpg", b"1"), ("b.txt", b"t"), ("c.jpg", b"1"), ("c.txt", b" "))
    assert {sample.locator[-1]: sample.reason for sample in read(data)} == {
        "a": Reason.TEXT_MISSING,
        "b": Reason.MEDIA_MISSING,
        "c": Reason.TEXT_MISSING,
    }


def test_large_media_are_skipped_and_large_texts_cut(read, make_tar):
    limits = Ingest(max_media_bytes=1000, max_text_bytes=50)
    data = make_tar(
        *(("a.jpg", b"1" * 1001), ("a.txt", b"t")),
        *(("b.jpg", b"1" * 1000), ("b.txt", b"t" * 51)),
        *(("c.jpg", b"1"), ("c.txt", b"t" * 50)),
    )
    a, b, c = read(data, limits=limits)
    assert (a.reason, a.media) == (Reason.MEDIA_TOO_LARGE, ())
    assert a.error == "'a.jpg' has 1001 bytes, more than 1000"
    assert b.reason is Reason.TEXT_TOO_LARGE
    assert c.reason is None


def test_texts_that_are_not_utf8(read, make_tar):
    (sample,) = read(make_tar(("a.jpg", b"1"), ("a.txt", b"caf\xe9")))
    assert sample.reason is Reason.TEXT_UNDECODABLE


@pytest.mark.parametrize("data", [b"{", b"[1]", b"nonsense", b"{" * (5 << 20)])
def test_json_that_cannot_be_read(read, make_tar, data):
    alone = make_tar(("a.jpg", b"1"), ("a.json", data))
    (sample,) = read(alone)
    assert sample.reason is Reason.ROW_MALFORMED
    assert sample.error.startswith("json ")
    (sample,) = read(make_tar(("a.jpg", b"1"), ("a.json", data), ("a.txt", b"t")))
    assert sample.reason is None
    assert sample.error.startswith("json ")


def test_a_truncated_tar_keeps_what_comes_before(read, make_tar):
    data = make_tar(*((f"{n}.{e}", b"x" * 600) for n in range(4) for e in ("jpg", "txt")))
    whole, half, broken = read(data[: 3 * 1536 + 100])
    assert (whole.locator, whole.reason) == ("x/00000.tar/0", None)
    assert (half.locator, half.reason) == ("x/00000.tar/1", Reason.CONTAINER_TRUNCATED)
    assert (broken.locator, broken.reason) == ("x/00000.tar", Reason.CONTAINER_TRUNCATED)
    assert broken.error.startswith("the tar breaks off: ")
    packed = gzip.compress(data)
    assert read(packed[:-9], "p.tgz")[-1].reason is Reason.CONTAINER_TRUNCATED


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "the file is empty: 0 bytes"),
        (bytes(10240), "the tar holds no sample"),
        (b"junk" * 500, "the tar breaks off: invalid header"),
    ],
)
def test_a_tar_without_samples_is_one_input(read, data, error):
    (sample,) = read(data)
    assert (sample.locator, sample.reason) == ("x/00000.tar", Reason.CONTAINER_TRUNCATED)
    assert sample.error == error


def shard_member(kind: str, texts: list[ShardText], **more) -> bytes:
    sample = ShardSample(
        sample_id="ab" * 16,
        source="web",
        locator="x/1",
        kind=kind,
        texts=tuple(texts),
        query_id="q",
        positive_id="p",
        **more,
    )
    return sample.model_dump_json().encode()


@given(
    st.lists(
        st.tuples(st.sampled_from(TextRole), st.text(min_size=1), st.none() | st.just("de")),
        min_size=1,
        max_size=5,
        unique_by=lambda one: one[:2],
    )
)
def test_our_own_shards_give_back_their_texts(tmp_path_factory, texts):
    told = [ShardText(role=role, text=text, lang=lang) for role, text, lang in texts]
    data = shard_member("pair", told, licence="CC0", attribution="Ann", meta={"a": {"b": [1]}})
    root = tmp_path_factory.mktemp("shards")
    with tarfile.open(root / "s.tar", "w") as tar:
        for extension, content in (("jpg", b"1"), ("json", data), ("txt", told[0].text.encode())):
            info = tarfile.TarInfo(f"{'ab' * 16}.{extension}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    folder = open_folder(str(root))
    ((key, sample),) = read_tar(folder, folder.stat("s.tar"), Ingest())
    assert key == "ab" * 16
    assert [(text.role, text.text, text.lang) for text in sample.texts] == texts
    assert (sample.licence, sample.attribution) == ("CC0", "Ann")
    origin = {"sample_id": "ab" * 16, "source": "web", "locator": "x/1"}
    assert sample.meta == {"origin": origin, "a": {"b": [1]}}


def test_our_own_text_pairs_come_back(read, make_tar):
    texts = [ShardText(role=r, text=r) for r in ("query", "passage", "negative", "negative")]
    texts[3] = ShardText(role="negative", text="other")
    data = shard_member("text_pair", texts)
    members = [("k.json", data), ("k.passage.txt", b"passage"), ("k.txt", b"query")]
    (sample,) = read(make_tar(*members))
    assert sample.kind is Kind.TEXT_PAIR
    assert sample.reason is None
    assert [text.text for text in sample.texts] == ["query", "passage", "negative", "other"]


def test_the_first_origin_is_kept(read, make_tar):
    origin = {"sample_id": "0", "source": "first", "locator": "l"}
    data = shard_member("pair", [ShardText(role="alt", text="a")], meta={"origin": origin})
    (sample,) = read(make_tar(("k.json", data), ("k.jpg", b"1")))
    assert sample.meta["origin"] == origin


def test_json_of_a_later_version_is_any_json(read, make_tar):
    value = json.loads(shard_member("pair", [ShardText(role="alt", text="a")]))
    for change in ({"kind": "video"}, {"texts": [{"role": "ocr", "text": "a"}]}, {"new": 1}):
        data = json.dumps(value | change).encode()
        (sample,) = read(make_tar(("k.json", data), ("k.jpg", b"1"), ("k.txt", b"t")))
        assert told(sample) == [(TextRole.ALT, "t")]
