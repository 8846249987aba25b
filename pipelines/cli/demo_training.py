"""The end of `mixwright demo`: a tiny model, trained on the mixture, and what it retrieves."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import typer
from rich.console import Console

from pipelines.cli.trainer import WITHOUT_JAX, call, has_jax
from schemas import layout
from storage.folders import Folder

TRAINED_ON, HELD_OUT = "default", "held-out"
"""Mixtures of the demo's recipe."""


def train_demo(work: Folder, recipe: Path, *, quiet: bool = False) -> None:
    """Trains on one mixture, evaluates on the other, and prints a table beside the untrained model.

    The run's folder is named after manifest and recipe: what is trained is not trained again, and
    another mixture is another run. Without JAX it says how to get it.

    Args:
        work: work directory of the demo, its mixtures written.
        recipe: TOML file with a `[train]` table.
        quiet: print nothing to standard output.

    Raises:
        typer.Exit: training or evaluation failed, with its exit status.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if "://" in work.uri:
        return
    if not has_jax():
        if not quiet:
            console.print(f"\nno model was trained: {WITHOUT_JAX}")
        return
    content = work.read(layout.manifest(TRAINED_ON)) + recipe.read_bytes()
    run = Path(work.locate("train")) / hashlib.sha256(content).hexdigest()[:12]
    if not quiet:
        console.print(f"\ntraining a tiny model on {TRAINED_ON!r} into {run}")
        sys.stdout.flush()
    arguments = [str(recipe), "--work", work.uri, "--mixture", TRAINED_ON, "--out", str(run)]
    outcome = call("trainer.train", arguments)
    if json.loads(outcome)["stopped"]:
        raise typer.Exit(0)
    held_out = ["--work", work.uri, "--mixture", HELD_OUT, "--role", "primary"]
    table = call(
        "trainer.evaluate",
        [str(run), *held_out, "--against", "untrained", "--out", str(run / "evaluation.json")],
    )
    if not quiet:
        console.print(f"\nretrieval on {HELD_OUT!r}, in per cent: trained beside untrained")
        console.print(table.rstrip())
