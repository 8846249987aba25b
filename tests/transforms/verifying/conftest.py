"""A small release with two intakes, pairs and text pairs, to damage one thing at a time."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.engine import LocalEngine
from pipelines.jobs import Job, Settings
from pipelines.recipes import lock_bytes, read_lock, resolve
from pipelines.route import between
from pipelines.run import run_stages
from schemas import layout
from storage.folders import open_folder
from transforms.verifying.findings import Check, Finding
from transforms.verifying.verify import verify
from transforms.work import Work

PAIRS = 24

RULES = [
    {"signal": "image.short_side_px", "keep": "> 40", "reason": "image_too_small"},
    {"signal": "text.unigrams", "keep": ">= 2", "reason": "text_too_short"},
    {"signal": "image.bytes", "keep": "top 90%", "reason": "image_low_information"},
]


class Silent:
    """A reporter that says nothing."""

    def note(self, stage: str, text: str) -> None:
        pass

    @contextmanager
    def watch(self, stage: str, job: Job) -> Iterator[None]:
        yield

    def done(self, name: str, rows: int, seconds: float) -> None:
        pass


def make_picture(number: int, size: int = 64) -> bytes:
    """Returns a JPEG of coarse noise, another one for every number."""
    blocks = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(blocks).resize((size + number % 7, size)).save(sink, "JPEG")
    return sink.getvalue()


def write_inputs(folder: Path) -> None:
    """Writes pairs with one of each kind of trouble, and text pairs."""
    folder.mkdir()
    rows = [(make_picture(n), f"picture number {n} of the album") for n in range(PAIRS)]
    rows += [
        rows[3],
        (rows[4][0], "the same picture with other words"),
        (make_picture(100, 24), "a small picture"),
        (make_picture(101), "short"),
        (make_picture(102)[:200], "a broken picture"),
        (make_picture(103), " "),
    ]
    table = {"jpg": [data for data, _ in rows], "caption": [text for _, text in rows]}
    pq.write_table(pa.table(table), folder / "pairs.parquet")
    asked = {"query": [f"question {n} of many" for n in range(5)]}
    pq.write_table(
        pa.table(asked | {"passage": [f"answer {n}" for n in range(5)]}), folder / "asked.parquet"
    )


def build(root: Path, work: Path, intakes: int, **shard: object) -> None:
    """Runs the route over the inputs of `root`; a second intake brings two more pairs."""
    recipe = resolve(
        {
            "name": "verified",
            "seed": 3,
            "sources": [
                {
                    "type": "table",
                    "name": "web",
                    "path": str(root),
                    "files": "pairs*.parquet",
                    "bytes_column": "jpg",
                },
                {"type": "text_pairs", "name": "asked", "path": str(root / "asked.parquet")},
            ],
            "ingest": {"part_rows": 10},
            "select": {"rules": RULES},
            "split": {"held_out": 0.2},
            "shard": {"samples_per_shard": 5, **shard},
            "mixtures": [{"name": "default", "interleave": True}],
        }
    )
    folder = open_folder(str(work))
    folder.replace(layout.LOCK, lock_bytes(recipe))
    more = [make_picture(n) for n in (200, 5)]
    for intake, added in (("i0", None), ("i1", more))[:intakes]:
        if added:
            table = {"jpg": added, "caption": ["a picture that came later", "one that came again"]}
            pq.write_table(pa.table(table), root / "pairs-later.parquet")
        settings = Settings(threads=2, intake=intake)
        run_stages(Work(folder, recipe), between("", ""), LocalEngine(), settings, Silent())


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished work directory. Never write to it."""
    root = tmp_path_factory.mktemp("inputs") / "files"
    write_inputs(root)
    work = tmp_path_factory.mktemp("release") / "work"
    build(root, work, intakes=2)
    return work


@pytest.fixture(scope="session")
def pristine_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished work directory with re-encoded images. Never write to it."""
    root = tmp_path_factory.mktemp("inputs") / "files"
    write_inputs(root)
    work = tmp_path_factory.mktemp("views") / "work"
    build(root, work, intakes=1, train_view={"short_side": 32})
    return work


@pytest.fixture
def work(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the finished work directory, to damage."""
    return Path(shutil.copytree(pristine, tmp_path / "work"))


@pytest.fixture
def views(pristine_views: Path, tmp_path: Path) -> Path:
    """A copy of the one with re-encoded images, to damage."""
    return Path(shutil.copytree(pristine_views, tmp_path / "work"))


@pytest.fixture(scope="session")
def findings() -> Callable[[Path], dict[Check, Finding]]:
    """Returns a function that verifies a work directory."""

    def run(path: Path) -> dict[Check, Finding]:
        folder = open_folder(str(path))
        return {one.check: one for one in verify(Work(folder, read_lock(folder)), threads=2)}

    return run
