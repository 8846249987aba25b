"""Runs that cannot go on: one clear error, with the remedy, and nothing lost."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.cli.run import open_work
from pipelines.recipes import RecipeError, load_recipe
from storage.errors import StorageError
from transforms.ingest.inputs import SourceError
from transforms.mixtures.weights import MixtureError
from transforms.parts.media import MediaTar
from transforms.work import Work

RunRoute = Callable[..., Work]
WriteRecipe = Callable[..., Path]
WriteTable = Callable[..., Path]
Manifests = Callable[[Work], Mapping[str, bytes]]
Source = dict[str, Any]

TABLE: Source = {"name": "web", "type": "table", "path": "in"}


@pytest.fixture
def table(picture: Callable[..., bytes], write_table: WriteTable, tmp_path: Path) -> Path:
    """A folder `in` with a table of two rows."""
    rows = [
        {"uid": f"{n}", "image": picture(n), "caption": f"a red bicycle by the wall of house {n}"}
        for n in range(2)
    ]
    return write_table(tmp_path / "in" / "rows.parquet", rows)


@pytest.mark.parametrize(
    ("source", "problem", "remedy"),
    [
        ({"path_column": "picture"}, "there is no column 'picture'", "correct the name"),
        ({"texts": {"alt": "words"}}, "there is no column 'words'", "correct the name"),
        ({"bytes_column": "caption"}, "does not hold bytes", "name a binary column"),
        ({"files": "*.csv"}, "match files = '*.csv'", "correct `path` or `files`"),
        ({"path": "elsewhere"}, "is empty, or does not exist", "correct `path` or `files`"),
    ],
)
@pytest.mark.usefixtures("table")
def test_a_source_that_is_described_wrongly(
    run_route: RunRoute,
    write_recipe: WriteRecipe,
    tmp_path: Path,
    source: Source,
    problem: str,
    remedy: str,
) -> None:
    recipe = write_recipe(tmp_path, [TABLE | source])
    with pytest.raises(SourceError) as caught:
        run_route(recipe, tmp_path / "work", last="ingest")
    message = str(caught.value)
    assert "source 'web'" in message
    assert problem in message
    assert remedy in message
    assert not (tmp_path / "work" / "intakes").exists(), "nothing is sealed"


def test_columns_that_nobody_knows(
    run_route: RunRoute, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rows.csv").write_text("was,wo\nein Boot,boot.png\n")
    with pytest.raises(SourceError, match=r"rows\.csv: no media column is recognised; set path_c"):
        run_route(write_recipe(tmp_path, [TABLE]), tmp_path / "work", last="ingest")
    (tmp_path / "in" / "rows.csv").write_text("was,path\nein Boot,boot.png\n")
    with pytest.raises(SourceError, match=r"no text column is recognised; name one in `texts` \("):
        run_route(write_recipe(tmp_path, [TABLE]), tmp_path / "work", last="ingest")


@pytest.mark.usefixtures("table")
def test_a_work_directory_of_another_recipe(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, [TABLE]))
    open_work(str(tmp_path / "work"), recipe)
    other = load_recipe(write_recipe(tmp_path, [TABLE], name="other"))
    with pytest.raises(RecipeError) as caught:
        open_work(str(tmp_path / "work"), other)
    assert str(caught.value) == (
        f"{tmp_path}/work is the work directory of the recipe 'test', not of 'other'; "
        "choose another with --work"
    )
    assert open_work(str(tmp_path / "work"), recipe).uri == str(tmp_path / "work")


@pytest.mark.usefixtures("table")
def test_ingest_settings_that_changed_after_the_seal(
    run_route: RunRoute, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, [TABLE])
    work = run_route(recipe, tmp_path / "work", last="ingest")
    for setting in ("ingest.max_text_bytes=100", "sources.web.id_column=uid"):
        with pytest.raises(SourceError) as caught:
            run_route(recipe, tmp_path / "work", [setting], last="ingest")
        assert str(caught.value) == (
            f"source 'web' was taken into {work.folder.uri} (intake i0) under other settings of "
            "[[sources]] or [ingest]; restore them, rename the source, or choose another work "
            "directory with --work"
        )
    # How inputs are cut is no such setting.
    again = run_route(recipe, tmp_path / "work", ["ingest.part_rows=1"], last="ingest")
    assert len(again.parts(*again.intakes())) == 1


@pytest.mark.usefixtures("table")
def test_a_mixture_of_nothing(
    run_route: RunRoute, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    rule = {"signal": "image.short_side_px", "keep": "> 5000", "reason": "image_too_small"}
    recipe = write_recipe(tmp_path, [TABLE], select={"rules": [rule]})
    with pytest.raises(MixtureError, match="no source has a kept sample; the ledger says which"):
        run_route(recipe, tmp_path / "work")
    # A looser rule goes on from there.
    work = run_route(recipe, tmp_path / "work", ["image_too_small=> 50"])
    assert sum(series.samples for series in work.series()) == 2


class Disk:
    """A disk that is too small, and can be made larger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, kilobytes: int, *options: str) -> bool:
        sizes = f"{','.join([*options, f'size={kilobytes}k'])}"
        command = ["mount", "-t", "tmpfs", "-o", sizes, "tmpfs", str(self.folder)]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = Disk(folder)
    if os.geteuid() != 0 or not disk.resize(4):
        pytest.skip("mounting needs root")
    yield disk
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def noisy(write_table: WriteTable, write_recipe: WriteRecipe, tmp_path: Path) -> Path:
    """A recipe over 20 images of 30 kB each."""
    rows = []
    for number in range(20):
        noise = np.random.default_rng(number).integers(0, 256, (100, 100, 3), np.uint8)
        path = tmp_path / "image.png"
        Image.fromarray(noise).save(path)
        text = f"a red bicycle by the wall of house {number}"
        rows.append({"uid": f"{number}", "image": path.read_bytes(), "caption": text})
    write_table(tmp_path / "in" / "rows.parquet", rows)
    return write_recipe(tmp_path, [TABLE], shard={"samples_per_shard": 4})


def test_a_disk_that_fills_up_loses_nothing(
    disk: Disk, noisy: Path, run_route: RunRoute, manifests: Manifests, tmp_path: Path
) -> None:
    whole = run_route(noisy, tmp_path / "whole")
    work = disk.folder / "work"
    message = (
        r"No space left on device: .*bytes and \d+ inodes free; make room there or choose another "
        "folder, then run again: what is committed is kept"
    )
    sealed: list[int] = []
    for kilobytes in (400, 1000):
        disk.resize(kilobytes, "remount")
        with pytest.raises(StorageError, match=message):
            run_route(noisy, work)
        sealed.append(len(list(work.rglob("*.tar"))))
    assert sealed[0] == 0, "the first disk does not hold the media"
    assert 1 < sealed[1] < 6, "the second disk holds them and some shards"
    disk.resize(16_000, "remount")
    assert manifests(run_route(noisy, work)) == manifests(whole)


def test_no_space_while_media_are_written(
    noisy: Path, run_route: RunRoute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(MediaTar, "add", full)
        with pytest.raises(StorageError, match=r"No space left on device: .*make room there"):
            run_route(noisy, tmp_path / "work", last="ingest")
    work = run_route(noisy, tmp_path / "work", last="ingest")
    assert len(work.parts(*work.intakes())) == 1
