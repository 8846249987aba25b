"""Runs that are killed, and runs that meet: the same files in the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.names import TEMPORARY_PREFIX
from transforms.work import Work

REPOSITORY = Path(__file__).parents[2]

MUTABLE = ("runs/", "evidence/")
"""Seconds, and what fetches observed when: not the same in any two runs."""

Digests = Callable[..., dict[str, str]]


@contextmanager
def started(work: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Starts `mixwright demo` in a process of its own, which ends with the body."""
    command = [sys.executable, "-m", "pipelines.cli.main", "demo", "--work", str(work)]
    command += ["--set", "ingest.part_rows=500", "--no-train", "--json"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def committed(work: Path) -> int:
    """Returns how many files are committed."""
    return sum(
        not name.startswith(TEMPORARY_PREFIX) for _, _, names in os.walk(work) for name in names
    )


def kill_at(work: Path, files: int, delay_s: float) -> None:
    """Runs the demo, and kills it a moment after so many files are committed."""
    with started(work) as process:
        while process.poll() is None and committed(work) < files:
            time.sleep(0.02)
        time.sleep(delay_s)
        process.kill()
    assert process.returncode == -signal.SIGKILL, f"it ended before there were {files} files"


def finish(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()


def assert_same_files(work: Path, demo: Work, digests: Digests) -> None:
    """Checks that a directory holds what the demo does."""
    whole = digests(Path(demo.folder.uri))
    files = {name: one for name, one in digests(work).items() if TEMPORARY_PREFIX not in name}
    assert files.keys() == whole.keys()
    unlike = [name for name in whole if files[name] != whole[name]]
    assert all(name.startswith(MUTABLE) for name in unlike), unlike


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_files(
    demo: Work, digests: Digests, tmp_path: Path, kills: int
) -> None:
    work = tmp_path / "work"
    # The last files are written in one breath: a kill would come too late.
    most = committed(Path(demo.folder.uri)) * 9 // 10
    moments = random.Random(kills)  # noqa: S311 - moments, no secret
    for files in sorted(moments.sample(range(1, most), kills)):
        kill_at(work, files, delay_s=moments.random() / 10)
    with started(work) as process:
        finish(process)
    assert_same_files(work, demo, digests)


@pytest.mark.timeout(300)
def test_two_runs_at_once_end_with_one_set_of_files(
    demo: Work, digests: Digests, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    with started(work) as one, started(work) as two:
        finish(one)
        finish(two)
    assert_same_files(work, demo, digests)
    assert not [path for path in work.rglob(f"{TEMPORARY_PREFIX}*")]
