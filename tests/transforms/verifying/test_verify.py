"""Damages a finished release, one thing at a time: every damage is found and named."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.shards import Manifest, merkle_root, shard_leaves
from transforms.verifying.findings import Check, Finding

Verify = Callable[[Path], dict[Check, Finding]]


def one_of(work: Path, pattern: str) -> Path:
    return sorted(work.glob(pattern))[0]


def failed(found: dict[Check, Finding]) -> set[str]:
    return {str(check) for check, finding in found.items() if finding.failed}


def problems(found: dict[Check, Finding], check: Check) -> str:
    return "\n".join(map(str, found[check].problems))


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Changes the rows of a Parquet file and keeps its metadata."""
    table = pq.read_table(path)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)


def replace_member(tar: Path, suffix: str, change: Callable[[bytes], bytes]) -> str:
    """Changes the content of the first member with a suffix, at equal length; returns its name."""
    with tarfile.open(tar) as archive:
        info = next(one for one in archive if one.name.endswith(suffix))
        before = archive.extractfile(info).read()  # type: ignore[union-attr]
    after = change(before)
    assert len(after) == len(before)
    assert after != before
    data = bytearray(tar.read_bytes())
    data[info.offset_data : info.offset_data + info.size] = after
    tar.write_bytes(data)
    return info.name


def reindex(work: Path, tar: Path) -> None:
    """Makes index, summary and manifests agree with a tar again, as a careful forger would."""
    data = tar.read_bytes()
    index = tar.with_suffix("").with_suffix(".idx.parquet")
    table = pq.read_table(index)
    rows = table.to_pylist()
    for row in rows:
        content = data[row["offset"] : row["offset"] + row["length"]]
        row["sha256"] = hashlib.sha256(content).hexdigest()
    metadata = dict(table.schema.metadata)
    summary = json.loads(metadata[b"mixwright.shard"])
    before, summary["sha256"] = summary["sha256"], hashlib.sha256(data).hexdigest()
    metadata[b"mixwright.shard"] = json.dumps(summary).encode()
    forged = pa.Table.from_pylist(rows, schema=table.schema).replace_schema_metadata(metadata)
    pq.write_table(forged, index)
    new_index = hashlib.sha256(index.read_bytes()).hexdigest()
    for path in work.glob("mix/**/manifest.json"):
        manifest = json.loads(path.read_text())
        for source in manifest["sources"]:
            for shard in source["shards"]:
                if shard["sha256"] == before:
                    shard |= {"sha256": summary["sha256"], "index_sha256": new_index}
        sources = Manifest.model_validate(manifest).sources
        manifest["merkle_root"] = merkle_root(shard_leaves(sources))
        path.write_text(json.dumps(manifest))


def test_finished_release_is_whole(pristine: Path, findings: Verify) -> None:
    found = findings(pristine)
    assert list(found) == list(Check)
    assert failed(found) == set()
    # 30 pairs and 5 text pairs, then 2 pairs.
    assert found[Check.ROWS].passed == 37
    assert found[Check.LEDGER].passed == 37
    splits = [
        split
        for path in pristine.glob("select/ledger/**/part-*.parquet")
        for split in pq.read_table(path)["split"].to_pylist()
        if split
    ]
    assert 20 < len(splits) < 30
    assert set(splits) == {"train", "test"}
    assert found[Check.KEPT].passed == len(splits)
    # Each is in its series, and those of the mixture's split are in the pre-mixed one too.
    assert found[Check.PAIRS].passed == len(splits) + splits.count("train")


def test_train_views_are_encoded_again(pristine_views: Path, findings: Verify) -> None:
    found = findings(pristine_views)
    assert failed(found) == set()
    images = sum(
        name.endswith(".jpg")
        for path in pristine_views.glob("shards/**/*.idx.parquet")
        for name in pq.read_table(path)["member"].to_pylist()
    )
    kept = found[Check.KEPT].passed
    assert kept - 5 == images, "text pairs have none"
    assert found[Check.PAIRS].passed > kept + images


def test_flipped_byte_in_a_tar_names_shard_and_member(work: Path, findings: Verify) -> None:
    tar = one_of(work, "shards/web/i0/train-*/000000.tar")
    name = replace_member(tar, ".jpg", lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    found = findings(work)
    assert failed(found) == {"shards", "members", "pairs", "manifests"}
    assert name in problems(found, Check.MEMBERS)
    assert str(tar) in problems(found, Check.SHARDS)
    assert "sha256" in problems(found, Check.SHARDS)


def test_flipped_byte_between_members_is_found(work: Path, findings: Verify) -> None:
    tar = one_of(work, "shards/web/i0/train-*/000001.tar")
    data = bytearray(tar.read_bytes())
    data[-1] ^= 1
    tar.write_bytes(data)
    found = findings(work)
    assert failed(found) == {"shards", "manifests"}


@pytest.mark.parametrize("within", ["jpg", "txt"])
def test_truncated_tar_says_where_it_breaks(work: Path, findings: Verify, within: str) -> None:
    tar = one_of(work, "shards/web/i0/train-*/000000.tar")
    with tarfile.open(tar) as archive:
        info = next(one for one in archive if one.name.endswith(within))
    tar.write_bytes(tar.read_bytes()[: info.offset_data + 5])
    found = findings(work)
    assert {"shards", "members", "kept", "manifests"} <= failed(found)
    assert f"{tar}: breaks off after" in problems(found, Check.SHARDS)
    assert "unexpected end of data" in problems(found, Check.SHARDS)
    assert "kept samples are neither in a shard nor in the events" in problems(found, Check.KEPT)


def test_tar_without_its_end_is_found(work: Path, findings: Verify) -> None:
    tar = one_of(work, "shards/web/i0/train-*/000000.tar")
    tar.write_bytes(tar.read_bytes()[:-1024])
    found = findings(work)
    assert failed(found) == {"shards", "manifests"}
    assert f"bytes is {tar.stat().st_size}" in problems(found, Check.SHARDS)


def test_empty_tar_is_found(work: Path, findings: Verify) -> None:
    tar = one_of(work, "shards/web/i0/train-*/000000.tar")
    tar.write_bytes(b"")
    assert {"shards", "kept"} <= failed(findings(work))


def test_deleted_index_is_named(work: Path, findings: Verify) -> None:
    index = one_of(work, "shards/web/i0/train-*/000000.idx.parquet")
    index.unlink()
    found = findings(work)
    assert f"{index}: is missing" in problems(found, Check.SHARDS)
    assert "which is missing" in problems(found, Check.MANIFESTS)


def test_deleted_tar_is_named(work: Path, findings: Verify) -> None:
    tar = one_of(work, "shards/web/i0/train-*/000001.tar")
    tar.unlink()
    found = findings(work)
    assert f"{tar}: is missing" in problems(found, Check.SHARDS)
    assert "which is missing" in problems(found, Check.MANIFESTS)


def test_damaged_index_is_found(work: Path, findings: Verify) -> None:
    index = one_of(work, "shards/web/i0/train-*/000000.idx.parquet")
    index.write_bytes(index.read_bytes()[:-30])
    assert "cannot be read" in problems(findings(work), Check.SHARDS)


def test_index_of_another_program_is_found(work: Path, findings: Verify) -> None:
    index = one_of(work, "shards/web/i0/train-*/000000.idx.parquet")
    pq.write_table(pa.table({"key": ["a"]}), index)
    assert "has the columns key" in problems(findings(work), Check.SHARDS)


def test_index_with_a_wrong_offset_is_found(work: Path, findings: Verify) -> None:
    index = one_of(work, "shards/web/i0/train-*/000000.idx.parquet")

    def shift(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[1]["offset"] += 512
        return pa.Table.from_pylist(rows, schema=table.schema)

    rewrite(index, shift)
    found = findings(work)
    assert "members" in failed(found)
    assert "member 1 is" in problems(found, Check.MEMBERS)


@pytest.mark.parametrize("forged", [False, True])
def test_swapped_caption_is_found(work: Path, findings: Verify, forged: bool) -> None:
    tar = one_of(work, "shards/web/i0/train-*/000000.tar")

    def swap(data: bytes) -> bytes:
        return data.replace(b"picture number", b"painting grand", 1)

    name = replace_member(tar, ".json", swap)
    replace_member(tar, name.replace(".json", ".txt"), swap)
    if forged:
        reindex(work, tar)
    found = findings(work)
    # A careful forger changes caption, json, index and manifest alike: `ingest` knows better.
    assert failed(found) == ({"pairs"} if forged else {"shards", "members", "pairs", "manifests"})
    assert name.removesuffix(".json") in problems(found, Check.PAIRS)


def test_caption_that_differs_from_its_json_is_found(work: Path, findings: Verify) -> None:
    tar = one_of(work, "shards/web/i0/train-*/000000.tar")
    name = replace_member(tar, ".txt", lambda data: data[::-1])
    reindex(work, tar)
    found = findings(work)
    assert name.removesuffix(".txt") in problems(found, Check.PAIRS)
    assert "its caption (txt)" in problems(found, Check.PAIRS)


def test_swapped_image_of_a_train_view_is_found(views: Path, findings: Verify) -> None:
    tar = one_of(views, "shards/web/i0/train-*/000000.tar")
    with tarfile.open(tar) as archive:
        images = [
            (one, archive.extractfile(one).read())  # type: ignore[union-attr]
            for one in archive
            if one.name.endswith(".jpg")
        ]
    same = next(
        (one, other)
        for one in images
        for other in images
        if one[0].name < other[0].name and len(one[1]) >= len(other[1])
    )
    (info, data), (_, other) = same
    # Bytes after the end of a JPEG are ignored: the image is whole, and another one.
    replace_member(tar, info.name, lambda _: other.ljust(len(data), b"\0"))
    reindex(views, tar)
    found = findings(views)
    assert failed(found) == {"pairs"}
    assert info.name.partition(".")[0] in problems(found, Check.PAIRS)
    assert "another image" in problems(found, Check.PAIRS)


def test_removed_ledger_row_is_found(work: Path, findings: Verify) -> None:
    ledger = one_of(work, "select/ledger/*/web/i0/part-*.parquet")
    removed = pq.read_table(ledger)["sample_id"][4].as_py()
    rewrite(ledger, lambda table: pa.concat_tables([table.slice(0, 4), table.slice(5)]))
    found = findings(work)
    assert {"ledger", "books"} <= failed(found)
    assert f"has 9 rows, and lacks {removed} in row 4" in problems(found, Check.LEDGER)
    assert "web" in problems(found, Check.BOOKS)


def test_doubled_ledger_row_is_found(work: Path, findings: Verify) -> None:
    ledger = one_of(work, "select/ledger/*/web/i0/part-*.parquet")
    rewrite(ledger, lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    assert {"ledger", "books"} <= failed(findings(work))


def test_ledger_that_keeps_a_dropped_sample_is_found(work: Path, findings: Verify) -> None:
    ledgers = sorted(work.glob("select/ledger/*/web/i0/part-*.parquet"))
    ledger = next(
        path for path in ledgers if "image_too_small" in pq.read_table(path)["reason"].to_pylist()
    )

    def keep(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        row = next(one for one in rows if one["reason"] == "image_too_small")
        row |= {"decision": "kept", "split": "train", "stage": None, "reason": None, "value": None}
        return pa.Table.from_pylist(rows, schema=table.schema)

    rewrite(ledger, keep)
    found = findings(work)
    # Its kept rows are others now, so its shards would lie in another folder.
    assert {"ledger", "books", "kept"} <= failed(found)
    assert "decision = kept; expected dropped" in problems(found, Check.LEDGER)


def test_dropped_duplicate_whose_keeper_is_not_kept_is_found(work: Path, findings: Verify) -> None:
    for ledger in work.glob("select/ledger/*/web/i0/part-*.parquet"):
        if "duplicate_exact" in pq.read_table(ledger)["reason"].to_pylist():
            break

    def orphan(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        row = next(one for one in rows if one["reason"] == "duplicate_exact")
        row["keeper_id"] = "0" * 32
        return pa.Table.from_pylist(rows, schema=table.schema)

    rewrite(ledger, orphan)
    assert f"the keeper {'0' * 32} of a duplicate is not kept" in problems(
        findings(work), Check.LEDGER
    )


def test_missing_ledger_is_found(work: Path, findings: Verify) -> None:
    ledger = one_of(work, "select/ledger/*/web/i0/part-*.parquet")
    ledger.unlink()
    found = findings(work)
    assert f"{ledger}: is missing" in problems(found, Check.LEDGER)
    assert "books" in failed(found)


def test_shard_listed_twice_is_found(work: Path, findings: Verify) -> None:
    path = work / "mix" / "default" / "manifest.json"
    manifest = json.loads(path.read_text())
    shards = manifest["sources"][0]["shards"]
    shards.append(shards[0])
    path.write_text(json.dumps(manifest))
    found = findings(work)
    assert failed(found) == {"manifests"}
    assert f"names {shards[0]['path']} 2 times" in problems(found, Check.MANIFESTS)


def test_shard_left_out_of_a_manifest_is_found(work: Path, findings: Verify) -> None:
    path = work / "mix" / "default" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["sources"][0]["shards"].pop()
    path.write_text(json.dumps(manifest))
    found = findings(work)
    assert failed(found) == {"manifests"}
    assert "that are committed, in their order" in problems(found, Check.MANIFESTS)


@pytest.mark.parametrize(
    ("field", "value"),
    [("merkle_root", "0" * 64), ("samples", 1), ("recipe_digest", "0" * 32), ("seed", 4)],
)
def test_wrong_field_of_a_manifest_is_found(
    work: Path, findings: Verify, field: str, value: Any
) -> None:
    path = work / "mix" / "default" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    found = findings(work)
    assert failed(found) == {"manifests"}
    assert f"states {field} {value}" in problems(found, Check.MANIFESTS)


def test_manifest_that_is_none_is_found(work: Path, findings: Verify) -> None:
    (work / "mix" / "default" / "manifest.json").write_text("{}")
    assert "is no manifest" in problems(findings(work), Check.MANIFESTS)


def test_forgotten_manifest_that_names_missing_shards_is_found(
    work: Path, findings: Verify
) -> None:
    forgotten = work / "mix" / "old" / "manifest.json"
    forgotten.parent.mkdir()
    text = (work / "mix" / "default" / "manifest.json").read_text()
    forgotten.write_text(text.replace("shards/web/i0/", "shards/web/i9/"))
    found = findings(work)
    assert failed(found) == {"manifests"}
    assert str(forgotten) in problems(found, Check.MANIFESTS)


def test_damaged_interleaved_shard_is_found(work: Path, findings: Verify) -> None:
    tar = one_of(work, "mix/default/interleaved/*/000000.tar")
    replace_member(tar, ".txt", lambda data: data[::-1])
    found = findings(work)
    assert failed(found) == {"shards", "members", "pairs", "manifests"}


def test_flipped_byte_in_stored_media_is_found(work: Path, findings: Verify) -> None:
    tar = one_of(work, "ingest/web/i0/part-*.tar")
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.write_bytes(data)
    found = findings(work)
    assert failed(found) == {"media"}
    assert found[Check.MEDIA].failed == 2, "the tar by its name, and the media"
    assert str(tar) in problems(found, Check.MEDIA)


def test_missing_media_tar_is_found(work: Path, findings: Verify) -> None:
    tar = one_of(work, "ingest/web/i0/part-*.tar")
    tar.unlink()
    assert f"{tar}: is missing" in problems(findings(work), Check.MEDIA)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [("text", "another text", "sample_id"), ("licence", "mine", "row_digest")],
)
def test_changed_ingest_row_is_found(
    work: Path, findings: Verify, column: str, value: str, says: str
) -> None:
    part = one_of(work, "ingest/web/i0/part-*.parquet")

    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[0][column] = value
        return pa.Table.from_pylist(rows, schema=table.schema)

    rewrite(part, change)
    found = findings(work)
    assert found[Check.ROWS].failed == 1
    assert f"row 0 ({'pairs.parquet'!r}" not in problems(found, Check.ROWS)
    assert f"has the {says}" in problems(found, Check.ROWS)


def test_missing_part_is_found(work: Path, findings: Verify) -> None:
    part = one_of(work, "ingest/web/i0/part-*.parquet")
    part.unlink()
    assert f"{part}: is missing" in problems(findings(work), Check.ROWS)


def test_shuffled_column_family_is_found(work: Path, findings: Verify) -> None:
    part = one_of(work, "measure/text/*/web/i0/part-*.parquet")
    rewrite(part, lambda table: table.sort_by("sample_id"))
    found = findings(work)
    assert {"columns", "ledger"} <= failed(found)
    assert f"{part}: has the sample" in problems(found, Check.COLUMNS)


def test_missing_column_family_is_found(work: Path, findings: Verify) -> None:
    for part in work.glob("count/ngrams/*/*/i0/part-*.parquet"):
        part.unlink()
    found = findings(work)
    assert "columns" in failed(found)
    assert "count/ngrams" in problems(found, Check.COLUMNS)


def test_event_for_a_sample_in_a_shard_is_found(work: Path, findings: Verify) -> None:
    series = one_of(work, "shards/web/i0/train-*")
    key = pq.read_table(one_of(series, "000000.idx.parquet"))["key"][0].as_py()
    row = {"sample_id": key, "stage": "shard", "reason": "media_read_failed", "detail": ""}

    def add(table: pa.Table) -> pa.Table:
        return pa.Table.from_pylist([row], schema=table.schema)

    rewrite(series / "events.parquet", add)
    found = findings(work)
    assert failed(found) == {"kept"}
    assert key in problems(found, Check.KEPT)


def test_changed_recipe_is_told_apart_from_damage(work: Path, findings: Verify) -> None:
    lock = work / "recipe.lock.toml"
    lock.write_text(lock.read_text().replace('keep = ">= 2"', 'keep = ">= 1"'))
    found = findings(work)
    assert failed(found) == {"ledger"}
    assert "the recipe was changed" in problems(found, Check.LEDGER)
    assert "mixwright run" in problems(found, Check.LEDGER)


def test_route_that_stopped_early_is_whole_as_far_as_it_goes(work: Path, findings: Verify) -> None:
    for top in ("dedupe", "select", "shards", "mix", "card"):
        for path in sorted((work / top).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    found = findings(work)
    assert failed(found) == set()
    assert found[Check.LEDGER].note == "not run yet"
    assert found[Check.SHARDS].note == "not run yet"
    assert found[Check.COLUMNS].passed > 0


def test_links_and_devices_in_a_tar_are_refused(work: Path, findings: Verify) -> None:
    tar = one_of(work, "shards/asked/i0/train-*/000000.tar")
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        link = tarfile.TarInfo("a" * 32 + ".txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    tar.write_bytes(sink.getvalue())
    assert "is no regular file" in problems(findings(work), Check.MEMBERS)
