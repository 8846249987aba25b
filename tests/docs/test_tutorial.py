"""Runs the tutorial: its commands, in order, in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs.checks import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.md"
LEFT_OUT = "…"

_BLOCK = re.compile(
    r"^```(?P<language>console|python)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r"# (?P<name>\w+\.py)\n")


@dataclass(frozen=True)
class Step:
    """A command of the tutorial, and the lines that it is said to print."""

    command: str
    expected: tuple[str, ...]


def read_steps(text: str) -> Iterator[Step | tuple[str, str]]:
    """Yields the steps of a page in order; (name, content) of a Python file that it has written."""
    for block in _BLOCK.finditer(text):
        if block["language"] == "python":
            match = _FILE.match(block["body"])
            assert match, "a Python block begins with its file name"
            yield match["name"], block["body"]
            continue
        for step in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
            command, _, printed = step.partition("\n")
            lines = (line for line in printed.splitlines() if line.strip() not in ("", LEFT_OUT))
            yield Step(command, tuple(lines))


def squeezed(line: str) -> str:
    return " ".join(line.split())


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    binaries = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([binaries, os.environ["PATH"]]),
        "MIXWRIGHT": str(ROOT),
        "COLUMNS": "100",
    }


@pytest.mark.timeout(900)
def test_the_tutorial_runs_as_written(tmp_path: Path, environment: dict[str, str]) -> None:
    ran = 0
    for step in read_steps(TUTORIAL.read_text(encoding="utf-8")):
        if isinstance(step, tuple):
            (tmp_path / step[0]).write_text(step[1], encoding="utf-8")
            continue
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        said = f"$ {step.command}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, said
        printed = iter([squeezed(line) for line in (done.stdout + done.stderr).splitlines()])
        for line in step.expected:
            assert any(squeezed(line) == one for one in printed), f"{line!r} is not in\n{said}"
        ran += 1
    assert ran >= 8


def test_steps_are_read_with_what_they_print() -> None:
    page = "# T\n```console\n$ one\nprints\n…\n\n$ two\n```\n```python\n# a.py\nx = 1\n```\n"

    assert list(read_steps(page)) == [
        Step("one", ("prints",)),
        Step("two", ()),
        ("a.py", "# a.py\nx = 1\n"),
    ]
