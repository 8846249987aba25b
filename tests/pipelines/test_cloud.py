"""One round trip with inputs and the work directory on `gs://`, against an emulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from schemas.shards import Manifest
from storage.folders import open_folder
from transforms.work import Work

RunRoute = Callable[..., Work]


@pytest.fixture
def inputs(picture: Callable[..., bytes], write_table: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with a table of Parquet, one of JSONL, and images with sidecars."""
    folder = tmp_path / "in"
    rows = [
        {"uid": f"{n}", "image": picture(n), "caption": f"a red bicycle by the wall of house {n}"}
        for n in range(30)
    ]
    # Two share an image, and one has no words.
    rows[7]["image"] = rows[6]["image"]
    rows[9]["caption"] = "@"
    write_table(folder / "table" / "rows.parquet", rows)
    (folder / "asked").mkdir()
    (folder / "asked" / "pairs.jsonl").write_text(
        "".join(f'{{"query": "who sings song {n}", "passage": "bird {n}"}}\n' for n in range(12))
    )
    (folder / "images").mkdir()
    for number in range(8):
        (folder / "images" / f"{number}.jpg").write_bytes(picture(60 + number, name="JPEG"))
        (folder / "images" / f"{number}.txt").write_text(f"a green boat on lake {number}")
    return folder


def _recipe(write_recipe: Callable[..., Path], folder: Path, root: str) -> Path:
    sources = [
        {"name": "table", "type": "table", "path": f"{root}/table"},
        {"name": "asked", "type": "text_pairs", "path": f"{root}/asked/pairs.jsonl"},
        {"name": "images", "type": "folder", "path": f"{root}/images"},
    ]
    return write_recipe(
        folder,
        sources,
        ingest={"part_rows": 11},
        select={"extends": "permissive"},
        shard={"samples_per_shard": 8},
        mixtures=[{"name": "default", "interleave": True}],
    )


@pytest.mark.timeout(300)
def test_a_work_directory_on_gs_holds_the_same_release_as_a_local_one(
    inputs: Path,
    gcs_bucket: str,
    run_route: RunRoute,
    manifests: Callable[[Work], Mapping[str, bytes]],
    write_recipe: Callable[..., Path],
    quiet: Any,
    tmp_path: Path,
) -> None:
    bucket = open_folder(f"{gcs_bucket}/in")
    for entry in open_folder(str(inputs)).list():
        assert bucket.create(entry.name, inputs / entry.name)
    local = run_route(_recipe(write_recipe, tmp_path / "l", str(inputs)), tmp_path / "work")
    cloud_recipe = _recipe(write_recipe, tmp_path / "c", f"{gcs_bucket}/in")
    cloud = run_route(cloud_recipe, f"{gcs_bucket}/work")
    assert len(manifests(local)) == 2
    assert manifests(cloud) == manifests(local)
    for data in manifests(cloud).values():
        manifest = Manifest.model_validate_json(data)
        assert manifest.samples > 20
        for shard in (shard for source in manifest.sources for shard in source.shards):
            for name in (shard.path, shard.index):
                assert cloud.folder.read(name) == local.folder.read(name)
    assert cloud.folder.read("card/report.html") == local.folder.read("card/report.html")

    run_route(cloud_recipe, f"{gcs_bucket}/work", reporter=quiet)
    assert quiet.jobs == [], "a second run finds everything done"
