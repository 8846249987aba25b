"""Whole routes on small real inputs: pictures, tables, and what became of every input."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from PIL import Image

from pipelines.cli.demo import connected, demo_data, serve
from pipelines.cli.run import open_work
from pipelines.engine import LocalEngine
from pipelines.jobs import Job, Settings
from pipelines.recipes import load_recipe
from pipelines.route import ROUTE, between
from pipelines.run import run_stages
from schemas import layout
from schemas.recipe import Recipe
from transforms.parts.tables import read_table
from transforms.work import Work

Row = dict[str, Any]


@dataclass
class Quiet:
    """A reporter that remembers what a person would have been told."""

    notes: list[tuple[str, str]] = field(default_factory=list)
    jobs: list[tuple[str, str]] = field(default_factory=list)

    def note(self, stage: str, text: str) -> None:
        self.notes.append((stage, text))

    @contextmanager
    def watch(self, stage: str, job: Job) -> Iterator[None]:
        self.jobs.append((stage, job.title))
        yield

    def done(self, name: str, rows: int, seconds: float) -> None:
        pass


RunRoute = Callable[..., Work]


@pytest.fixture
def quiet() -> Quiet:
    """A reporter for `run_route` that remembers notes and jobs."""
    return Quiet()


@pytest.fixture(scope="session")
def run_route() -> RunRoute:
    """Returns a function that runs stages of a recipe on a work directory, quietly."""

    def run(
        recipe: Recipe | Path,
        work: Path | str,
        settings: Iterable[str] = (),
        *,
        threads: int = 2,
        intake: str = "",
        first: str = "",
        last: str = "",
        reporter: Quiet | None = None,
    ) -> Work:
        resolved = load_recipe(recipe, settings) if isinstance(recipe, Path) else recipe
        release = Work(open_work(str(work), resolved), resolved)
        reporter = reporter or Quiet()
        options = Settings(threads=threads, intake=intake, note=reporter.note)
        run_stages(release, between(first, last), LocalEngine(), options, reporter)
        return release

    return run


@pytest.fixture(scope="session")
def run_demo() -> RunRoute:
    """Returns a function that runs the demo as `mixwright demo` does, its site served."""

    def run(
        work: Path, settings: Iterable[str] = (), *, threads: int, data: Path | None = None
    ) -> Work:
        data = data or demo_data()
        recipe = load_recipe(data / "recipe.toml", settings)
        folder = open_work(str(work), recipe)
        with serve(data) as place:
            release = Work(folder, connected(recipe, place))
            run_stages(release, ROUTE, LocalEngine(), Settings(threads=threads), Quiet())
        return release

    return run


@pytest.fixture(scope="session")
def demo(run_demo: RunRoute, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The demo, run once with 4 threads and parts of 500 rows. Never write to it."""
    return run_demo(tmp_path_factory.mktemp("demo") / "work", ["ingest.part_rows=500"], threads=4)


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Returns an encoded image of an exact size, another one for every number."""

    def make(
        number: int, size: tuple[int, int] = (240, 210), name: str = "PNG", mode: str = "RGB"
    ) -> bytes:
        blocks = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        image = Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).convert(mode)
        sink = io.BytesIO()
        image.save(sink, name)
        return sink.getvalue()

    return make


@pytest.fixture(scope="session")
def write_table() -> Callable[[Path, Sequence[Row]], Path]:
    """Returns a function that writes rows of `uid`, `image` (bytes) and `caption` as Parquet."""

    def write(path: Path, rows: Sequence[Row]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
        return path

    return write


@pytest.fixture(scope="session")
def write_recipe() -> Callable[..., Path]:
    """Returns a function that writes a recipe into a folder."""

    def write(folder: Path, sources: Sequence[Row], **sections: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "recipe.toml"
        values = {"name": "test", "seed": 7, "sources": list(sources), **sections}
        path.write_text(tomli_w.dumps(values), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def outcomes() -> Callable[[Work], list[Row]]:
    """Returns a function from a work directory to what became of every input.

    Each is its ledger row with `source`, `locator`, `text` and `intake` of its input.
    """

    def read(work: Work) -> list[Row]:
        found = []
        ledgers = work.ledgers()
        for intake in work.intakes():
            for file in work.parts(intake):
                inputs = read_table(work.ingest, file.name, ["source", "locator", "text"])
                ledger = read_table(ledgers[intake.name], file.name)
                assert len(ledger) == len(inputs)
                for one, two in zip(inputs.to_pylist(), ledger.to_pylist(), strict=True):
                    found.append({**one, **two, "intake": intake.name})
        return found

    return read


@pytest.fixture(scope="session")
def digests() -> Callable[..., dict[str, str]]:
    """Returns a function from a directory to the digest of every file, by relative name."""

    def read(root: Path, below: Iterable[str] = ("",)) -> dict[str, str]:
        return {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for top in below
            for path in sorted((root / top).rglob("*"))
            if path.is_file()
        }

    return read


@pytest.fixture(scope="session")
def manifests() -> Callable[[Work], Mapping[str, bytes]]:
    """Returns a function from a work directory to the bytes of its manifests, by name."""

    def read(work: Work) -> Mapping[str, bytes]:
        names = [name for mixture in work.recipe.mixtures for name in _manifest_names(mixture.name)]
        return {name: work.folder.read(name) for name in names if work.folder.exists(name)}

    return read


def _manifest_names(mixture: str) -> tuple[str, str]:
    return layout.manifest(mixture), layout.interleaved_manifest(mixture)
