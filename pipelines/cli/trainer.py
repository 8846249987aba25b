"""The trainer's commands: each starts a module of `trainer` as a process of its own.

The trainer meets the pipelines only at the shards on disk; a process keeps it so.
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from types import FrameType

import typer

from pipelines.cli.failures import WRONG, say

PASS_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
"""Everything after the name of the command, `--help` too, is the trainer's."""


def train(context: typer.Context) -> None:
    """Trains an embedding model on a mixture; resumes at its last checkpoint."""
    start("trainer.train", context.args)


def evaluate(context: typer.Context) -> None:
    """Evaluates a trained model: retrieval, zero-shot classification, neighbours, probes."""
    start("trainer.evaluate", context.args)


def export(context: typer.Context) -> None:
    """Exports a trained model for use elsewhere."""
    start("trainer.export", context.args)


def audit(context: typer.Context) -> None:
    """Lists which samples a run consumed, or will consume, in which step."""
    start("trainer.loader.audit", context.args)


def start(module: str, arguments: list[str]) -> None:
    """Runs a module of the trainer, passes signals on to it, and ends with its exit status."""
    if importlib.util.find_spec("jax") is None:
        say("the trainer needs JAX, which is an extra: pip install 'mixwright[train]'")
        raise typer.Exit(WRONG)
    process = subprocess.Popen([sys.executable, "-m", module, *arguments])  # noqa: S603 - no shell

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    raise typer.Exit(process.wait())
