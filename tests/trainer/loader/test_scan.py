from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.shards import INDEX
from trainer.loader.errors import Defect, ShardError
from trainer.loader.loader import Loader
from trainer.loader.options import ImageOptions, LoaderOptions, Sampling
from trainer.loader.scan import scan_mixture, scan_tar


def write_tar(
    path: Path, members: list[tuple[str, bytes]], kind: int = tarfile.USTAR_FORMAT
) -> None:
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_found_where_they_are(tmp_path: Path, kind: int) -> None:
    long = "d/" * 40 + "k" * 90 if kind != tarfile.USTAR_FORMAT else "a/b/000"
    members = [
        (f"{long}.en.txt", b"hello"),
        (f"{long}.jpg", b"x" * 1000),
        ("x/y.z/k.jpg", b""),
        ("img.v1.jpg", b"abc"),
        ("noext", b"no"),
        (".hidden", b"no"),
        ("__meta.1__", b"no"),
    ]
    write_tar(tmp_path / "a.tar", members, kind)
    with (tmp_path / "a.tar").open("rb") as file:
        table, _, size = scan_tar(file)
    data = (tmp_path / "a.tar").read_bytes()
    assert size == len(data)
    assert table.schema == INDEX
    rows = table.to_pylist()
    assert [(row["key"], row["member"]) for row in rows] == [
        (long, f"{long}.en.txt"),
        (long, f"{long}.jpg"),
        ("x/y.z/k", "x/y.z/k.jpg"),
        ("img", "img.v1.jpg"),
    ]
    for row, (_, content) in zip(rows, members, strict=False):
        assert data[row["offset"] : row["offset"] + row["length"]] == content


def test_plain_tars_are_loaded(tmp_path: Path, jpeg: Callable[..., bytes]) -> None:
    for shard in range(2):
        members: list[tuple[str, bytes]] = []
        for number in range(shard * 10, shard * 10 + 10):
            key = f"{number:09d}"
            members += [
                (f"{key}.jpg", jpeg(number)),
                (f"{key}.json", b'{"url": "made up", "sha256": 3}'),
                (f"{key}.txt", f"caption {number % 5}".encode()),
            ]
        if shard:
            members[2] = ("000000010.txt", b"\xff\xfe")
            members.pop(5)
        write_tar(tmp_path / f"{shard:05d}.tar", members)
    mixture = scan_mixture(str(tmp_path), {"web": ""}, str(tmp_path / "cache"))
    assert mixture.manifest.samples == 20
    options = LoaderOptions(
        sampling=Sampling(batch_size=10, max_epochs=1),
        image=ImageOptions(size=16),
        max_bad_rate=0.5,
    )
    with Loader(mixture, options) as loader:
        batches = list(loader.iterate())
    keys = [key for batch in batches for key in batch.keys]
    assert sorted(keys) == [f"{number:09d}" for number in range(20)]
    defects = {row.key: row.defect for batch in batches for row in batch.bad}
    assert defects == {
        "000000010": Defect.TEXT_NOT_UTF8,
        "000000011": Defect.TEXT_MISSING,
    }
    good = np.concatenate([batch.mask for batch in batches])
    texts = np.array([text for batch in batches for text in batch.texts])[good]
    positives = np.concatenate([batch.positive_id for batch in batches])[good]
    # Equal captions are the same content; images differ.
    assert len(set(positives.tolist())) == len(set(texts.tolist())) == 5
    assert len(set(np.concatenate([batch.query_id for batch in batches])[good].tolist())) == 18


def test_tars_are_scanned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tar(tmp_path / "a.tar", [("k.txt", b"hello")])
    first = scan_mixture(str(tmp_path), {"web": "a"}, str(tmp_path / "cache"))

    def no_scan(file: Any) -> Any:
        raise AssertionError("scanned again")

    monkeypatch.setattr("trainer.loader.scan.scan_tar", no_scan)
    second = scan_mixture(str(tmp_path), {"web": "a"}, str(tmp_path / "cache"))
    assert second.digest == first.digest


@pytest.mark.parametrize("cut", [700, 1600])
def test_a_truncated_tar_is_refused(tmp_path: Path, cut: int) -> None:
    write_tar(tmp_path / "a.tar", [("k.txt", b"x" * 2000)])
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:cut])
    with pytest.raises(ShardError, match=r"a\.tar is no plain tar, or ends too early"):
        scan_mixture(str(tmp_path), {"web": ""}, str(tmp_path / "cache"))


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"\x1f\x8b" + b"z" * 2000)
    with pytest.raises(ShardError, match="decompress"):
        scan_mixture(str(tmp_path), {"web": ""}, str(tmp_path / "cache"))
    with pytest.raises(ValueError, match=r"no \.tar files"):
        scan_mixture(str(tmp_path), {"web": "b"}, str(tmp_path / "cache"))


def test_tars_without_samples_are_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [])
    with pytest.raises(ValueError, match="is empty"):
        scan_mixture(str(tmp_path), {"web": ""}, str(tmp_path / "cache"))
