from __future__ import annotations

import hashlib
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from schemas.recipe import TrainView
from storage.folders import open_folder
from transforms.shards.build import adopt_shard, build_shard
from transforms.shards.members import build_record

VIEW = TrainView(short_side=16)


def records_of(corpus, view=None):
    rows = [row for table in corpus.tables.values() for row in table.to_pylist()]
    return [build_record(row, rank, view) for rank, row in enumerate(reversed(rows))]


def damage(corpus, part_tar, offset):
    """Changes one byte of a committed part tar, as a failing disk does."""
    with Path(corpus.media.locate(part_tar)).open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("view", [None, VIEW], ids=["original", "view"])
def test_threads_change_no_byte(make_corpus, tmp_path, view):
    corpus = make_corpus(40, 3, text_pairs=True)
    records = records_of(corpus, view)
    alone = build_shard(records, corpus.media, view, tmp_path / "alone.tar")
    for threads in (1, 4):
        with ThreadPoolExecutor(threads) as pool:
            built = build_shard(records, corpus.media, view, tmp_path / "shared.tar", pool)
        assert built.written.index.equals(alone.written.index)
        assert built.written.sha256 == alone.written.sha256
        assert (tmp_path / "shared.tar").read_bytes() == (tmp_path / "alone.tar").read_bytes()
    assert alone.refusals == ()
    assert list(dict.fromkeys(alone.written.index["key"].to_pylist())) == [
        record.key for record in records
    ]


def test_original_bytes_are_original(make_corpus, tmp_path):
    corpus = make_corpus(12, 2)
    records = records_of(corpus)
    build_shard(records, corpus.media, None, tmp_path / "shard.tar")
    with tarfile.open(tmp_path / "shard.tar") as tar:
        for record in records:
            data = tar.extractfile(f"{record.key}.{record.media_extension}").read()
            assert hashlib.sha256(data).hexdigest() == record.media.media_id


def test_views_are_described_by_their_own_size(make_corpus, tmp_path):
    corpus = make_corpus(9, 1)
    built = build_shard(records_of(corpus, VIEW), corpus.media, VIEW, tmp_path / "shard.tar")
    rows = [row for row in built.written.index.to_pylist() if row["member"].endswith(".jpg")]
    assert len(rows) == 9
    with tarfile.open(tmp_path / "shard.tar") as tar:
        for row in rows:
            size = Image.open(tar.extractfile(row["member"])).size
            assert (row["width"], row["height"]) == size
            assert min(size) == 16


def test_damaged_media_are_refused_one_by_one(make_corpus, tmp_path):
    corpus = make_corpus(30, 2)
    records = records_of(corpus)
    bad = records[4].media
    damage(corpus, bad.part_tar, bad.offset + 7)
    built = build_shard(records, corpus.media, None, tmp_path / "shard.tar")
    (refusal,) = built.refusals
    assert (refusal.sample_id, refusal.stage) == (records[4].key, "shard")
    assert refusal.reason == "media_read_failed"
    assert bad.media_id in refusal.detail
    assert built.written.samples == 29
    intact = build_shard(records[:4] + records[5:], corpus.media, None, tmp_path / "without.tar")
    assert built.written.sha256 == intact.written.sha256


def test_a_truncated_and_a_missing_tar_cost_only_their_samples(make_corpus, tmp_path):
    corpus = make_corpus(30, 3)
    records = records_of(corpus)
    tars = sorted({record.media.part_tar for record in records})
    Path(corpus.media.locate(tars[0])).unlink()
    inside = [record for record in records if record.media.part_tar == tars[1]]
    last = max(inside, key=lambda record: record.media.offset)
    with Path(corpus.media.locate(tars[1])).open("r+b") as file:
        file.truncate(last.media.offset + 1)
    built = build_shard(records, corpus.media, None, tmp_path / "shard.tar")
    refused = {one.sample_id: one.detail for one in built.refusals}
    expected = {record.key for record in records if record.media.part_tar == tars[0]}
    assert refused.keys() == expected | {last.key}
    assert refused[last.key].startswith(f"{tars[1]} ends before byte")
    assert built.written.samples == 30 - len(refused)


def test_media_that_cannot_be_re_encoded_are_refused(make_corpus, tmp_path):
    corpus = make_corpus(6, 1)
    folder = open_folder(str(tmp_path / "other"))
    records = records_of(corpus, VIEW)
    data = b"these bytes are no image"
    folder.create(records[2].media.part_tar, corpus.media.read(records[2].media.part_tar) + data)
    size = folder.stat(records[2].media.part_tar).size
    row = corpus.tables.popitem()[1].to_pylist()[0]
    row["media"][0] |= {
        "offset": size - len(data),
        "length": len(data),
        "media_id": hashlib.sha256(data).hexdigest(),
    }
    records[2] = build_record(row | {"sample_id": "f" * 32}, 2, VIEW)
    built = build_shard(records, folder, VIEW, tmp_path / "shard.tar")
    (refusal,) = built.refusals
    assert refusal.sample_id == "f" * 32
    assert "cannot be re-encoded" in refusal.detail
    assert "0x" not in refusal.detail


@pytest.mark.parametrize("view", [None, VIEW], ids=["original", "view"])
def test_a_committed_tar_is_described_as_when_it_was_written(make_corpus, tmp_path, view):
    corpus = make_corpus(20, 2, text_pairs=True)
    records = records_of(corpus, view)
    built = build_shard(records[:5] + records[6:], corpus.media, view, tmp_path / "shard.tar")
    with (tmp_path / "shard.tar").open("rb") as file:
        adopted = adopt_shard(file, records, view, tmp_path / "scratch")
    assert adopted.written.index.equals(built.written.index)
    assert adopted.written.sha256 == built.written.sha256
    assert [one.sample_id for one in adopted.refusals] == [records[5].key]


@pytest.mark.parametrize("change", ["other records", "trailing bytes", "no tar"])
def test_a_tar_of_something_else_is_not_adopted(make_corpus, tmp_path, change):
    corpus = make_corpus(10, 1)
    records = records_of(corpus)
    build_shard(records, corpus.media, None, tmp_path / "shard.tar")
    if change == "other records":
        records = records[:-1]
    elif change == "trailing bytes":
        (tmp_path / "shard.tar").write_bytes((tmp_path / "shard.tar").read_bytes() + bytes(512))
    else:
        (tmp_path / "shard.tar").write_bytes(b"no tar at all" * 100)
    with (tmp_path / "shard.tar").open("rb") as file:
        assert adopt_shard(file, records, None, tmp_path / "scratch") is None
