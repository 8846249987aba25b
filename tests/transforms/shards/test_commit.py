from __future__ import annotations

import hashlib
import io

import pyarrow.parquet as pq
import pytest

from schemas.shards import INDEX
from storage.folders import open_folder
from transforms.shards.commit import (
    BuiltShard,
    Refusal,
    commit_shard,
    committed_names,
    encode_index,
    read_index,
    read_summaries,
    read_summary,
)
from transforms.shards.members import Member
from transforms.shards.write import write_shard

REFUSAL = Refusal("f" * 32, "shard", "media_read_failed", "gone — weg")


@pytest.fixture
def folder(tmp_path):
    return open_folder(str(tmp_path / "series"))


def build(path, *texts, refusals=()):
    samples = ((f"{n:032x}", [Member("txt", text.encode())]) for n, text in enumerate(texts))
    return BuiltShard(write_shard(samples, path), refusals)


def never(_):
    raise AssertionError("nothing is to be adopted")


def commit(folder, name, *texts, refusals=(), adopt=never):
    with folder.temporary_file() as tar:
        built = build(tar, *texts, refusals=refusals)
        return commit_shard(folder, name, tar, built, adopt)


def test_a_summary_comes_back_from_the_index_alone(folder):
    summary = commit(folder, "000003", "a", "b", refusals=(REFUSAL,))
    assert read_summary(folder, "000003") == summary
    assert summary.refusals == (REFUSAL,)
    assert summary.samples == 2
    tar = folder.read("000003.tar")
    assert (summary.bytes, summary.sha256) == (len(tar), hashlib.sha256(tar).hexdigest())
    index = folder.read("000003.idx.parquet")
    assert summary.index_sha256 == hashlib.sha256(index).hexdigest()
    assert pq.read_table(io.BytesIO(index)).schema.equals(INDEX)
    assert read_index(folder, "000003").num_rows == 2


def test_a_manifest_entry_names_files_from_the_work_directory(folder):
    shard = commit(folder, "000003", "a").to_shard("shards/web/i0/abc")
    assert (shard.path, shard.index) == (
        "shards/web/i0/abc/000003.tar",
        "shards/web/i0/abc/000003.idx.parquet",
    )


def test_the_index_file_is_the_same_every_time(tmp_path):
    built = build(tmp_path / "a.tar", "a", "b", refusals=(REFUSAL,))
    assert encode_index(built) == encode_index(
        build(tmp_path / "b.tar", "a", "b", refusals=(REFUSAL,))
    )
    assert encode_index(built) != encode_index(build(tmp_path / "c.tar", "a", "b"))


def test_whoever_is_second_adopts(folder):
    first = commit(folder, "000000", "a", "b")
    assert commit(folder, "000000", "something", "else") == first


def test_an_attempt_cut_off_between_its_commits_is_finished(folder, tmp_path):
    build(tmp_path / "a.tar", "a", "b")
    folder.create("000000.tar", tmp_path / "a.tar")
    assert committed_names(folder) == set()
    summary = commit(folder, "000000", "a", "b")
    assert summary.samples == 2
    assert committed_names(folder) == {"000000"}


def test_an_attempt_that_read_less_is_described_as_it_is(folder, tmp_path):
    other = build(tmp_path / "a.tar", "a", refusals=(REFUSAL,))
    folder.create("000000.tar", tmp_path / "a.tar")
    summary = commit(folder, "000000", "a", "b", adopt=lambda file: file.read(1) and other)
    assert (summary.samples, summary.refusals) == (1, (REFUSAL,))
    assert summary.sha256 == hashlib.sha256(folder.read("000000.tar")).hexdigest()


def test_a_foreign_tar_stops_the_stage(folder):
    folder.create("000000.tar", b"somebody else's")
    with pytest.raises(ValueError, match=r"000000\.tar has no index and is not of this series"):
        commit(folder, "000000", "a", adopt=lambda _: None)
    assert committed_names(folder) == set()


def test_a_foreign_index_is_named(folder):
    sink = io.BytesIO()
    pq.write_table(INDEX.empty_table(), sink)
    folder.create("000000.idx.parquet", sink.getvalue())
    with pytest.raises(ValueError, match="not an index of mixwright's"):
        read_summary(folder, "000000")


def test_summaries_come_in_numeric_order(folder):
    for name in ("1000000", "000002", "999999"):
        commit(folder, name, name)
    assert [one.name for one in read_summaries(folder)] == ["000002", "999999", "1000000"]
