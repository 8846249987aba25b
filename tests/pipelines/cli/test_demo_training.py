"""The end of the demo: the trainer as a process, or one line on how to get it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from pipelines.cli import demo_training, trainer
from pipelines.cli.demo import demo_data
from pipelines.cli.demo_training import train_demo
from schemas import layout
from storage.folders import Folder, open_folder

Calls = list[tuple[str, list[str]]]


@pytest.fixture
def work(tmp_path: Path) -> Folder:
    folder = open_folder(str(tmp_path))
    folder.create(layout.manifest("default"), b"{}")
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "train.toml"
    path.write_bytes((demo_data() / "train.toml").read_bytes())
    return path


@pytest.fixture
def record_calls(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Calls]:
    """Records what would be started, in place of starting it."""

    def record(*, stopped: bool = False) -> Calls:
        calls: Calls = []

        def call(module: str, arguments: list[str]) -> str:
            calls.append((module, arguments))
            return json.dumps({"steps": 1, "stopped": stopped}) if len(calls) % 2 else "a table\n"

        monkeypatch.setattr(demo_training, "call", call)
        return calls

    return record


def test_a_mixture_or_recipe_of_its_own_makes_a_run_of_its_own(
    work: Folder, recipe: Path, record_calls: Callable[..., Calls], capsys: pytest.CaptureFixture
) -> None:
    calls = record_calls()
    train_demo(work, recipe)
    assert capsys.readouterr().out.endswith("a table\n")
    train_demo(work, recipe)
    recipe.write_text(recipe.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    train_demo(work, recipe)
    assert [module for module, _ in calls] == ["trainer.train", "trainer.evaluate"] * 3
    runs = [arguments[0] for _, arguments in calls[1::2]]
    assert runs[0] == runs[1]
    assert runs[1] != runs[2]
    assert all(Path(run).parent == Path(work.locate("train")) for run in runs)


def test_a_run_that_was_stopped_is_not_evaluated(
    work: Folder, recipe: Path, record_calls: Callable[..., Calls]
) -> None:
    calls = record_calls(stopped=True)
    with pytest.raises(typer.Exit) as ended:
        train_demo(work, recipe)
    assert ended.value.exit_code == 0
    assert len(calls) == 1


def test_without_jax_one_line_says_how_to_get_it(
    work: Folder,
    recipe: Path,
    record_calls: Callable[..., Calls],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    calls = record_calls()
    monkeypatch.setattr(demo_training, "has_jax", lambda: False)
    train_demo(work, recipe)
    assert "pip install 'mixwright[train]'" in capsys.readouterr().out
    train_demo(work, recipe, quiet=True)
    assert not capsys.readouterr().out
    assert not calls


def test_a_process_that_fails_ends_the_command_with_its_status() -> None:
    with pytest.raises(typer.Exit) as ended:
        trainer.call("trainer.train", ["missing.toml", "--out", "nowhere"])
    assert ended.value.exit_code == 2


def test_the_recipe_of_the_demo_can_be_used() -> None:
    program = (
        "import sys; from pathlib import Path; from trainer.recipe import load_recipe; "
        "print(load_recipe(Path(sys.argv[1])).data.mixture)"
    )
    command = [sys.executable, "-c", program, str(demo_data() / "train.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "default\n"
