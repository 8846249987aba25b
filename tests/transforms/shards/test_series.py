from __future__ import annotations

import json
import tarfile
from pathlib import Path

import datasets
import pytest
import webdataset

from schemas.digests import keyed_hash
from schemas.recipe import ShardSettings, TrainView
from schemas.shards import ShardSample
from storage.folders import open_folder
from transforms.shards.commit import read_index, read_summaries
from transforms.shards.members import Member
from transforms.shards.write import write_shard

SETTINGS = ShardSettings(samples_per_shard=25)


@pytest.fixture
def shards(tmp_path):
    return open_folder(str(tmp_path / "shards"))


def files_of(folder):
    return {entry.name: folder.read(entry.name) for entry in folder.list()}


def tars_of(folder):
    return [folder.locate(entry.name) for entry in folder.list() if entry.name.endswith(".tar")]


def keys_of(folder):
    return [
        key
        for summary in read_summaries(folder)
        for key in dict.fromkeys(read_index(folder, summary.name)["key"].to_pylist())
    ]


def test_shards_are_equal_and_in_keyed_hash_order(make_corpus, shards):
    corpus = make_corpus(60, 3)
    summaries = corpus.write(shards, SETTINGS)
    assert [(one.name, one.samples) for one in summaries] == [
        ("000000", 25),
        ("000001", 25),
        ("000002", 10),
    ]
    ids = [one for table in corpus.tables.values() for one in table["sample_id"].to_pylist()]
    assert keys_of(shards) == sorted(ids, key=lambda one: (keyed_hash(7, "shard", one), one))


@pytest.mark.parametrize(
    "settings",
    [SETTINGS, SETTINGS.model_copy(update={"train_view": TrainView(short_side=16)})],
    ids=["original", "view"],
)
def test_bytes_do_not_depend_on_threads_parts_or_time(make_corpus, tmp_path, settings):
    first = open_folder(str(tmp_path / "first"))
    make_corpus(60, 3, text_pairs=True).write(first, settings, threads=1)
    second = open_folder(str(tmp_path / "second"))
    make_corpus(60, 4, text_pairs=True).write(second, settings, threads=4)
    assert files_of(first) == files_of(second)


def test_a_bucket_gets_the_same_files(make_corpus, shards, fake_gcs_bucket):
    make_corpus(40, 2).write(shards, SETTINGS)
    bucket = open_folder(f"{fake_gcs_bucket}/shards")
    make_corpus(40, 2, root=fake_gcs_bucket).write(bucket, SETTINGS)
    assert files_of(bucket) == files_of(shards)


def test_what_is_committed_is_not_written_again(make_corpus, shards, monkeypatch):
    corpus = make_corpus(60, 3)
    before = corpus.write(shards, SETTINGS)
    files = files_of(shards)
    Path(shards.locate("000001.tar")).unlink()
    Path(shards.locate("000001.idx.parquet")).unlink()
    kept = Path(shards.locate("000000.tar")).stat().st_mtime_ns
    assert corpus.write(shards, SETTINGS) == before
    assert files_of(shards) == files
    assert Path(shards.locate("000000.tar")).stat().st_mtime_ns == kept
    for part in list(corpus.tables):
        monkeypatch.setitem(corpus.tables, part, corpus.tables[part].select(["sample_id"]))
    # Rows are not even read now: they lack what a record needs.
    assert corpus.write(shards, SETTINGS) == before


def test_a_tampered_byte_becomes_an_event_and_a_smaller_shard(make_corpus, shards):
    corpus = make_corpus(60, 3)
    row = corpus.tables["web/i0/part-0000000000000001"].to_pylist()[3]
    media = row["media"][0]
    with Path(corpus.media.locate(media["part_tar"])).open("r+b") as file:
        file.seek(media["offset"] + media["length"] - 1)
        last = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([last ^ 255]))
    summaries = corpus.write(shards, SETTINGS)
    (refusal,) = [one for summary in summaries for one in summary.refusals]
    assert (refusal.sample_id, refusal.reason) == (row["sample_id"], "media_read_failed")
    assert sum(summary.samples for summary in summaries) == 59
    assert row["sample_id"] not in keys_of(shards)
    # The books balance again from what is on disk, without another run.
    assert corpus.write(shards, SETTINGS) == summaries


def test_a_tar_without_an_index_is_adopted_as_it_is(make_corpus, shards, tmp_path):
    corpus = make_corpus(20, 1)
    (table,) = corpus.tables.values()
    lost = table["sample_id"][4].as_py()
    whole = open_folder(str(tmp_path / "whole"))
    (complete,) = corpus.write(whole, SETTINGS)
    with tarfile.open(whole.locate("000000.tar")) as tar:
        samples: dict[str, list[Member]] = {}
        for info in tar:
            key, _, extension = info.name.partition(".")
            samples.setdefault(key, []).append(Member(extension, tar.extractfile(info).read()))
    del samples[lost]
    write_shard(samples.items(), tmp_path / "smaller.tar")
    shards.create("000000.tar", tmp_path / "smaller.tar")
    (adopted,) = corpus.write(shards, SETTINGS)
    assert adopted.samples == complete.samples - 1
    assert [one.sample_id for one in adopted.refusals] == [lost]
    widths = [row["width"] for row in read_index(shards, "000000").to_pylist()]
    assert len([width for width in widths if width]) == 19


def test_rows_that_were_not_ranked_stop_the_stage(make_corpus, shards):
    corpus = make_corpus(20, 2)
    part = next(iter(corpus.tables))
    whole = corpus.tables[part]

    class Shrinking(type(corpus)):
        def __call__(self, name):
            return whole.slice(1) if name == part else self.tables[name]

    with pytest.raises(Exception, match="9 rows, but 10 were ranked"):
        Shrinking(corpus.tables, corpus.media).write(shards, SETTINGS)


def test_webdataset_datasets_and_tarfile_read_the_same(make_corpus, shards, tmp_path):
    corpus = make_corpus(60, 3, formats=("JPEG",))
    summaries = corpus.write(shards, SETTINGS)
    tars = tars_of(shards)
    names = []
    for path in tars:
        with tarfile.open(path) as tar:
            names += tar.getnames()
    keys = list(dict.fromkeys(name.partition(".")[0] for name in names))
    assert names == [f"{key}.{extension}" for key in keys for extension in ("jpg", "json", "txt")]

    read = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert [one["__key__"] for one in read] == keys
    for one in read:
        sample = ShardSample.model_validate_json(one["json"])
        assert sample.sample_id == one["__key__"]
        assert one["txt"].decode() == sample.texts[0].text

    options = {"data_files": tars, "split": "train", "cache_dir": str(tmp_path / "cache")}
    for streaming in (True, False):
        rows = list(datasets.load_dataset("webdataset", streaming=streaming, **options))
        assert [row["__key__"] for row in rows] == keys
        assert [row["txt"] for row in rows] == [one["txt"].decode() for one in read]
        assert rows[0]["jpg"].size == (rows[0]["json"]["width"], rows[0]["json"]["height"])
    assert len(keys) == sum(summary.samples for summary in summaries) == 60


def test_text_pairs_are_read_too(make_corpus, shards, tmp_path):
    corpus = make_corpus(1, 1, text_pairs=True)
    corpus.write(shards, SETTINGS)
    (read,) = webdataset.WebDataset(tars_of(shards), shardshuffle=False)
    assert (read["txt"], read["passage.txt"]) == (b"query 0?", b"passage 0")
    assert json.loads(read["json"])["kind"] == "text_pair"
    (row,) = datasets.load_dataset(
        "webdataset", data_files=tars_of(shards), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert (row["txt"], row["passage.txt"]) == ("query 0?", "passage 0")


def test_datasets_reads_mixed_formats_when_told_the_columns(make_corpus, shards, tmp_path):
    corpus = make_corpus(20, 1)
    corpus.write(shards, SETTINGS)
    features = datasets.Features(
        {name: datasets.Image() for name in ("jpg", "png", "webp")}
        | {name: datasets.Value("string") for name in ("txt", "__key__", "__url__")}
    )
    rows = list(
        datasets.load_dataset(
            "webdataset",
            data_files=tars_of(shards),
            split="train",
            features=features,
            cache_dir=str(tmp_path / "cache"),
        )
    )
    assert len(rows) == 20
    assert all(sum(row[name] is not None for name in ("jpg", "png", "webp")) == 1 for row in rows)
