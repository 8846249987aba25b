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

WITHOUT_JAX = "the trainer needs JAX, which is an extra: pip install 'mixwright[train]'"


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


def has_jax() -> bool:
    """Returns whether the trainer can run here."""
    return importlib.util.find_spec("jax") is not None


def start(module: str, arguments: list[str]) -> None:
    """Runs a module of the trainer and ends with its exit status."""
    if not has_jax():
        say(WITHOUT_JAX)
        raise typer.Exit(WRONG)
    raise typer.Exit(_run(module, arguments, None)[0])


def call(module: str, arguments: list[str]) -> str:
    """Runs a module of the trainer and returns what it writes to standard output.

    Raises:
        typer.Exit: it failed, with its exit status.
    """
    status, output = _run(module, arguments, subprocess.PIPE)
    if status:
        raise typer.Exit(status)
    return output


def _run(module: str, arguments: list[str], stdout: int | None) -> tuple[int, str]:
    """Returns exit status and output, where it goes to a pipe; signals are passed on."""
    process = subprocess.Popen(  # noqa: S603 - no shell
        [sys.executable, "-m", module, *arguments], stdout=stdout, text=True
    )

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, pass_on) for number in numbers]
    try:
        output, _ = process.communicate()
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    return process.returncode, output or ""
