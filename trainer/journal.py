"""The metrics of a run: JSONL always, TensorBoard and a terminal line where wanted."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self


class Writer(Protocol):
    """What TensorBoard's `SummaryWriter` classes offer."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Adds a point."""
        ...

    def close(self) -> None:
        """Flushes and closes."""
        ...


class Journal:
    """Appends a line of metrics per logged step. Use it as a context."""

    def __init__(
        self, path: Path, start: int, tensorboard: Writer | None = None, quiet: bool = False
    ) -> None:
        """Opens the journal; lines of steps after `start`, of a run that was killed, are dropped.

        Args:
            path: of the JSONL file.
            start: step that the run starts or resumes at.
            tensorboard: takes every number too.
            quiet: print nothing to standard error.
        """
        kept = [line for line in read_journal(path) if line["step"] <= start]
        temporary = path.with_suffix(".part")
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        temporary.replace(path)
        self._file = path.open("a", encoding="utf-8")
        self._tensorboard = tensorboard
        self._quiet = quiet

    def write(self, step: int, metrics: dict[str, Any]) -> None:
        """Appends the metrics after `step` steps: numbers, or counts by name."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        if self._tensorboard is not None:
            for name, value in metrics.items():
                for tag, number in _scalars(name, value):
                    self._tensorboard.add_scalar(tag, number, step)
        if not self._quiet:
            sys.stderr.write(_line(step, metrics) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a journal; none where there is no file. A torn last line is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]


def open_tensorboard(folder: Path) -> Writer:
    """Returns a TensorBoard writer over `tensorboardX`'s event format.

    Raises:
        ModuleNotFoundError: the optional package is not installed.
    """
    from tensorboardX import SummaryWriter  # noqa: PLC0415 - an optional package

    writer: Writer = SummaryWriter(str(folder))
    return writer


def _scalars(name: str, value: Any) -> list[tuple[str, float]]:
    if isinstance(value, dict):
        return [(f"{name}/{key}", float(number)) for key, number in value.items()]
    return [] if value is None else [(name, float(value))]


def _line(step: int, metrics: dict[str, Any]) -> str:
    shown = [f"step {step}", f"loss {metrics['loss']:.4f}"]
    shown.append(f"{metrics['samples_per_second']:.0f} samples/s")
    shown.append(f"waiting {metrics['loader_wait']:.0%}")
    if metrics.get("mfu") is not None:
        shown.append(f"MFU {metrics['mfu']:.1%}")
    return "  ".join(shown)
