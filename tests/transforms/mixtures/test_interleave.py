from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import apache_beam as beam
import pytest
import webdataset
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from schemas.digests import keyed_hash
from storage.folders import open_folder
from transforms.mixtures.interleave import WriteInterleaved, interleave_digest, take_first
from transforms.shards.commit import BuiltShard, commit_shard, read_index, read_summaries
from transforms.shards.members import Member
from transforms.shards.write import write_shard


def sample(source, number):
    key = hashlib.blake2b(f"{source}{number}".encode(), digest_size=16).hexdigest()
    data = f"{source} {number} ".encode() * (number + 1)
    return key, [
        Member("jpg", data, width=number, height=2),
        Member("json", b'{"n":%d}' % number),
        Member("txt", data[:20], caption_tokens=number),
    ]


def write_series(work, source, samples, per_shard=10):
    """Commits a source's shards; returns their entries in a manifest."""
    path = f"shards/{source}/i0/x"
    shards = []
    for first in range(0, samples, per_shard):
        members = [sample(source, n) for n in range(first, min(samples, first + per_shard))]
        folder = work.child(path)
        with folder.temporary_file() as tar:
            built = BuiltShard(write_shard(members, tar))
            name = f"{first // per_shard:06d}"
            summary = commit_shard(folder, name, tar, built, adopt=lambda _: None)
        shards.append(summary.to_shard(path))
    return shards


@pytest.fixture
def work(tmp_path):
    return open_folder(str(tmp_path / "work"))


def interleave(work, shards, counts, seed=3, threads=2, name="mix/m/x"):
    series = work.child(name)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        (
            pipeline
            | beam.Create(take_first(shards, counts))
            | WriteInterleaved(work, series, "m", seed, 8, threads)
        )
    return series


def files_of(folder):
    return {entry.name: folder.read(entry.name) for entry in folder.list()}


def keys(source, count):
    return [sample(source, n)[0] for n in range(count)]


def test_the_first_samples_of_each_source_are_taken(work):
    shards = {"a": write_series(work, "a", 25), "b": write_series(work, "b", 12)}
    assert take_first(shards, {"a": 21, "b": 10}) == [
        ("shards/a/i0/x/000000.tar", 10),
        ("shards/a/i0/x/000001.tar", 10),
        ("shards/a/i0/x/000002.tar", 1),
        ("shards/b/i0/x/000000.tar", 10),
    ]
    assert take_first(shards, {"a": 0, "b": 0}) == []


def test_a_mixed_series(work):
    shards = {"a": write_series(work, "a", 25), "b": write_series(work, "b", 12)}
    series = interleave(work, shards, {"a": 23, "b": 11})
    summaries = list(read_summaries(series))
    assert [one.samples for one in summaries] == [8, 8, 8, 8, 2]
    found = [row for summary in summaries for row in read_index(series, summary.name).to_pylist()]
    order = list(dict.fromkeys(row["key"] for row in found))
    wanted = keys("a", 23) + keys("b", 11)
    assert order == sorted(wanted, key=lambda one: (keyed_hash(3, "interleave/m", one), one))
    # Every member is there, byte for byte, and described as before.
    originals = {
        key: members
        for source, n in (("a", 25), ("b", 12))
        for key, members in (sample(source, number) for number in range(n))
    }
    tars = [series.locate(f"{one.name}.tar") for one in summaries]
    for read in webdataset.WebDataset(tars, shardshuffle=False):
        for member in originals[read["__key__"]]:
            assert read[member.extension] == member.data
    for row in found:
        (member,) = (
            one for one in originals[row["key"]] if row["member"] == f"{row['key']}.{one.extension}"
        )
        assert (row["width"], row["height"], row["caption_tokens"]) == (
            member.width,
            member.height,
            member.caption_tokens,
        )
    with tarfile.open(tars[0]) as tar:
        assert [(one.name, one.offset_data) for one in tar] == [
            (row["member"], row["offset"]) for row in found[: 8 * 3]
        ]


def test_bytes_do_not_depend_on_threads_and_nothing_is_done_twice(work):
    shards = {"a": write_series(work, "a", 25), "b": write_series(work, "b", 12)}
    counts = {"a": 10, "b": 10}
    first = interleave(work, shards, counts, threads=1, name="mix/m/1")
    second = interleave(work, shards, counts, threads=4, name="mix/m/2")
    assert files_of(first) == files_of(second)
    before = files_of(first)
    Path(first.locate("000001.idx.parquet")).unlink()
    interleave(work, shards, counts, name="mix/m/1")
    assert files_of(first) == before
    assert files_of(interleave(work, shards, counts, seed=4, name="mix/m/3")) != before


def test_a_damaged_source_shard_stops_the_stage(work):
    shards = {"a": write_series(work, "a", 10)}
    row = read_index(work, "shards/a/i0/x/000000").to_pylist()[6]
    with Path(work.locate(shards["a"][0].path)).open("r+b") as file:
        file.seek(row["offset"])
        file.write(b"\0")
    with pytest.raises(Exception, match=f"sample {row['key']}.*differs from its index"):
        interleave(work, shards, {"a": 10})


def test_the_folder_depends_on_everything_that_the_bytes_do(work):
    shards = {"a": write_series(work, "a", 25), "b": write_series(work, "b", 12)}
    other = {"a": shards["a"], "b": shards["b"][:1]}
    counts = {"a": 20, "b": 10}
    names = {
        interleave_digest("m", 3, 8, shards, counts),
        interleave_digest("n", 3, 8, shards, counts),
        interleave_digest("m", 4, 8, shards, counts),
        interleave_digest("m", 3, 9, shards, counts),
        interleave_digest("m", 3, 8, shards, {"a": 20, "b": 11}),
    }
    assert len(names) == 5
    # A shard of which nothing is taken decides nothing.
    assert interleave_digest("m", 3, 8, other, counts) in names
