"""Trains an embedding model on a mixture: `python -m trainer.train RECIPE --out FOLDER`.

Exits 0 when done, or when stopped by SIGTERM or SIGINT with everything saved; 1 when the run
failed; 2 when the recipe or the command is wrong. Started again, it resumes at its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import jax

from trainer.checkpoints import CheckpointError, Checkpoints, Record
from trainer.embedder import CHECKPOINTS
from trainer.feed import Feed, Preparation
from trainer.inputs import (
    METRICS,
    InputError,
    host_file,
    make_loader,
    make_tokenizer,
    open_inputs,
)
from trainer.journal import Journal, Writer, open_tensorboard
from trainer.loader.errors import ShardError, TooManyBadSamplesError
from trainer.loop import DivergedError, Loop, Outcome
from trainer.mesh import make_mesh
from trainer.recipe import RecipeError, TrainRecipe, load_recipe
from trainer.step import initial_state, make_step
from trainer.towers.apply import Towers

FAILURES = (
    InputError,
    CheckpointError,
    DivergedError,
    ShardError,
    TooManyBadSamplesError,
    OSError,
)
"""What ends a run with a message and exit status 1; anything else is a bug. Storage errors, and a
disk that is full when metrics are written, are OSErrors."""


class StopRequest:
    """Hears SIGTERM and SIGINT: the run ends after the step in progress. Call it to ask."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """Returns whether a signal came."""
        return self._asked

    def listen(self) -> None:
        """Takes the signals over. On many hosts JAX's coordination service hears SIGTERM."""
        signal.signal(signal.SIGINT, self._hear)
        if jax.process_count() == 1:
            signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._asked = True


def train(
    recipe: TrainRecipe,
    folder: Path,
    *,
    stop: StopRequest | None = None,
    devices: Sequence[jax.Device] | None = None,
    allow_data_change: bool = False,
    tensorboard: bool = False,
    quiet: bool = True,
) -> Outcome:
    """Runs a recipe, from its last checkpoint in the folder where there is one.

    Args:
        recipe: what to train.
        folder: of the run: checkpoints, tokenizer, metrics, ledger of bad samples.
        stop: asks for an early end.
        devices: to train on; all where None.
        allow_data_change: go on from a checkpoint of another manifest, seed or `train.data`.
        tensorboard: write TensorBoard events too.
        quiet: print no progress.

    Raises:
        RecipeError: the recipe does not fit the mixture or the devices.
        InputError, CheckpointError, DivergedError, ShardError, TooManyBadSamplesError: see there.
    """
    mesh = make_mesh(devices)
    if recipe.data.batch_size % (mesh.size * recipe.accumulate):
        raise RecipeError(
            f"batch_size {recipe.data.batch_size} is no multiple of {mesh.size} devices times "
            f"accumulate {recipe.accumulate}; change one"
        )
    mixture = open_inputs(recipe)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the output folder {folder}: {error.strerror}") from error
    tokenizer = make_tokenizer(recipe, mixture, folder)
    sources = [source.name for source in mixture.manifest.sources]
    preparation = Preparation(recipe, tokenizer, sources)
    record = Record(
        step=0,
        seed=recipe.seed,
        manifest=mixture.digest,
        tokenizer=tokenizer.digest if tokenizer else "",
        recipe=recipe.model_dump(mode="json"),
    )
    towers = Towers(recipe.model)
    with (
        Checkpoints(folder / CHECKPOINTS, recipe.keep) as checkpoints,
        make_loader(recipe, mixture, folder) as loader,
    ):
        state = initial_state(recipe, towers, mesh)
        start = checkpoints.latest or 0
        if start:
            found = checkpoints.record(start)
            found.check_model(record)
            if not allow_data_change:
                found.check_data(record)
            state = checkpoints.restore(start, state)
        main_host = jax.process_index() == 0
        writer = _tensorboard(folder) if tensorboard and main_host else None
        with (
            Journal(host_file(folder, METRICS), start, writer, quiet or not main_host) as journal,
            Feed(loader.iterate(start, recipe.steps), preparation, mesh) as feed,
        ):
            step = make_step(recipe, towers, mesh, len(sources))
            loop = Loop(recipe, step, checkpoints, journal, record, sources)
            return loop.run(state, feed, start, stop or StopRequest())


def _tensorboard(folder: Path) -> Writer:
    try:
        return open_tensorboard(folder / "tensorboard")
    except ModuleNotFoundError as error:
        raise InputError(
            f"TensorBoard events need a package ({error}); install tensorboardX, or leave out "
            "--tensorboard"
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(arguments)
    if options.multihost:
        jax.distributed.initialize()
    try:
        recipe = load_recipe(options.recipe, _changes(options))
        stop = StopRequest()
        stop.listen()
        outcome = train(
            recipe,
            options.out,
            stop=stop,
            allow_data_change=options.allow_data_change,
            tensorboard=options.tensorboard,
            quiet=options.quiet,
        )
    except RecipeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except FAILURES as error:
        sys.stderr.write(f"{type(error).__name__.removesuffix('Error')}: {error}\n")
        return 1
    report = {"steps": outcome.step, "stopped": outcome.stopped, "out": str(options.out)}
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for assignment in options.set:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise RecipeError(f"--set {assignment!r}: write name=value, for example steps=100")
        try:
            changes[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            changes[name] = text
    for key in ("work", "mixture"):
        if getattr(options, key) is not None:
            changes[f"data.{key}"] = getattr(options, key)
    return changes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.train", description=__doc__)
    parser.add_argument("recipe", type=Path, help="TOML file with a [train] table")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--work", help="work directory with the mixture; the recipe's if absent")
    parser.add_argument("--mixture", help="name of the mixture; the recipe's if absent")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="changes a value of the recipe, such as steps=100 or data.batch_size=64",
    )
    parser.add_argument(
        "--allow-data-change",
        action="store_true",
        help="go on from a checkpoint that was trained on other data",
    )
    parser.add_argument("--tensorboard", action="store_true", help="write TensorBoard events")
    parser.add_argument("--multihost", action="store_true", help="one of several processes")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    return parser


if __name__ == "__main__":
    sys.exit(main())
