"""Runs that are killed, and runs that meet: the same files in the end."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.recipes import load_recipe
from storage.folders import open_folder
from storage.names import TEMPORARY_PREFIX
from transforms.work import Work

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "examples" / "demo" / "recipe.toml"

FILES = 113
"""Files of a whole run of the demo in parts of 50 rows, but for the records of stages."""

Manifests = Callable[[Work], Mapping[str, bytes]]


@contextmanager
def started(work: Path, part_rows: int) -> Iterator[subprocess.Popen[bytes]]:
    """Starts `mixwright run` on the demo, in a process of its own that ends with the body."""
    command = [sys.executable, "-m", "pipelines.cli.main", "run", str(DEMO), "--work", str(work)]
    command += ["--set", f"ingest.part_rows={part_rows}"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def committed(work: Path) -> int:
    """Returns how many files are committed, but for the records of stages."""
    names = (path.relative_to(work) for path in work.rglob("*") if path.is_file())
    return sum(
        not path.name.startswith(TEMPORARY_PREFIX) and path.parts[0] != "runs" for path in names
    )


def kill_at(work: Path, files: int, delay_s: float) -> None:
    """Runs the demo, and kills it a moment after so many files are committed."""
    with started(work, part_rows=50) as process:
        while process.poll() is None and committed(work) < files:
            time.sleep(0.005)
        time.sleep(delay_s)
        process.kill()
    assert process.returncode == -9, f"it ended before there were {files} files"


def finish(work: Path, part_rows: int) -> None:
    with started(work, part_rows) as process:
        _, said = process.communicate()
    assert process.returncode == 0, said.decode()


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(
    demo: Work,
    manifests: Manifests,
    digests: Callable[..., dict[str, str]],
    tmp_path: Path,
    kills: int,
) -> None:
    work = tmp_path / "work"
    moments = random.Random(kills)  # noqa: S311 - moments, no secret
    for files in sorted(moments.sample(range(1, FILES - 5), kills)):
        kill_at(work, files, delay_s=moments.random() / 20)
    finish(work, part_rows=50)
    assert committed(work) == FILES
    recipe = load_recipe(DEMO, ["ingest.part_rows=50"])
    assert manifests(Work(open_folder(str(work)), recipe)) == manifests(demo)
    reference = Path(demo.folder.uri)
    assert digests(work, ["shards", "mix"]) == digests(reference, ["shards", "mix"])


@pytest.mark.timeout(300)
def test_two_runs_at_once_end_with_one_set_of_files(
    demo: Work, digests: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    with started(work, part_rows=500) as one, started(work, part_rows=500) as two:
        for process in (one, two):
            _, said = process.communicate()
            assert process.returncode == 0, said.decode()
    # Records of stages hold seconds; everything else is the same as of one run alone.
    alone = digests(Path(demo.folder.uri))
    both = digests(work)
    assert both.keys() == alone.keys()
    unlike = {name for name in alone if alone[name] != both[name]}
    assert all(name.startswith("runs/") for name in unlike), unlike
