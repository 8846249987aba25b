"""Checkpoints of a run: parameters, optimiser, step, seed, and the manifest they were trained on.

Orbax writes to a temporary folder and renames it: what has a step's name is whole.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import orbax.checkpoint as ocp
from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.recipe import TrainRecipe
from trainer.step import State

_REFUSED = (OSError, ValueError)
"""What writing raises where the disk is full: TensorStore turns its errors into ValueError."""


class CheckpointError(Exception):
    """A checkpoint does not fit the run, or cannot be read or written."""


class Record(BaseModel):
    """What a checkpoint says of itself.

    Attributes:
        step: steps taken; also the next step to take.
        seed: the recipe's.
        manifest: digest of the manifest.
        tokenizer: digest of the tokenizer; empty where the model reads no text.
        recipe: the whole recipe, as plain JSON values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    seed: int
    manifest: str
    tokenizer: str
    recipe: dict[str, Any]

    def training_recipe(self) -> TrainRecipe:
        """Returns the recipe that the checkpoint was trained with.

        Raises:
            CheckpointError: this version does not know it.
        """
        try:
            return TrainRecipe.model_validate(self.recipe)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            raise CheckpointError(
                f"the recipe of the checkpoint of step {self.step} is of another version "
                f"({where}: {problem['msg']}); use the version that trained it"
            ) from error

    def _values(self) -> dict[str, Any]:
        """Returns the recipe with today's defaults for what it does not say."""
        return self.training_recipe().model_dump(mode="json")

    def check_model(self, other: Record) -> None:
        """Raises CheckpointError where `other`, the run's record, is of another model."""
        parts = ("model", "preset", "objectives")
        mine, theirs = ({k: one._values()[k] for k in parts} for one in (self, other))
        differences = _differences(mine, theirs)
        if self.tokenizer != other.tokenizer:
            differences.append(f"tokenizer is {self.tokenizer[:12]}, not {other.tokenizer[:12]}")
        if differences:
            raise CheckpointError(
                f"the checkpoint of step {self.step} is of another model: "
                f"{'; '.join(differences)}. Use its recipe, or another output folder"
            )

    def check_data(self, other: Record) -> None:
        """Raises CheckpointError where `other` would not continue with the same samples."""
        differences = []
        if self.manifest != other.manifest:
            differences.append(f"manifest is {self.manifest[:12]}, not {other.manifest[:12]}")
        if self.seed != other.seed:
            differences.append(f"seed is {self.seed}, not {other.seed}")
        moved = ("work", "cache", "threads", "max_bad_rate")
        mine, theirs = (
            {k: v for k, v in one._values()["data"].items() if k not in moved}
            for one in (self, other)
        )
        differences += _differences({"data": mine}, {"data": theirs})
        if differences:
            raise CheckpointError(
                f"the checkpoint of step {self.step} was trained on other data: "
                f"{'; '.join(differences)}. Train with those, or pass --allow-data-change"
            )


def _differences(mine: Any, theirs: Any, name: str = "") -> list[str]:
    """Returns what differs between two trees of plain values, one phrase each."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return [
            phrase
            for key in sorted({*mine, *theirs})
            for phrase in _differences(mine.get(key), theirs.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if mine == theirs else [f"{name} is {mine!r}, not {theirs!r}"]


class Checkpoints:
    """The checkpoints in a folder, written in the background. Close them, or use as a context."""

    def __init__(self, folder: Path, keep: int = 3) -> None:
        """Opens or makes the folder.

        Args:
            folder: holds one folder by step.
            keep: how many of the latest are kept.
        """
        self.folder = folder
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(
            folder.absolute(), options=options, item_names=("state", "record")
        )

    @property
    def latest(self) -> int | None:
        """Step of the latest whole checkpoint; None where there is none."""
        # Orbax counts the one that it is still writing.
        names = (path.name for path in self.folder.iterdir())
        return max((int(name) for name in names if name.isdigit()), default=None)

    def save(self, state: State, record: Record) -> None:
        """Begins to write a checkpoint; what went wrong with the one before is raised now.

        Raises:
            CheckpointError: the disk is full, or the folder cannot be written.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(_plain(state)),
            record=ocp.args.JsonSave(record.model_dump(mode="json")),
        )
        try:
            self._manager.save(record.step, args=items)
        except _REFUSED as error:
            raise self._failed(error) from error

    def wait(self) -> None:
        """Returns when everything is written; raises as `save`."""
        try:
            self._manager.wait_until_finished()
        except _REFUSED as error:
            raise self._failed(error) from error

    def record(self, step: int) -> Record:
        """Returns what the checkpoint of a step says of itself.

        Raises:
            CheckpointError: there is no such checkpoint, or it cannot be read.
        """
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(record=ocp.args.JsonRestore())
            )
            return Record.model_validate(restored["record"])
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{self.folder} has no readable checkpoint of step {step}: {error}"
            ) from error

    def restore(self, step: int, like: State) -> State:
        """Returns the state of a step, laid out over devices as `like` is.

        Args:
            step: one that is there.
            like: a state of the same shapes, of arrays or of `jax.ShapeDtypeStruct`.

        Raises:
            CheckpointError: it cannot be read, or is of other shapes.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _plain(like))
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            )
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{self.folder}: the checkpoint of step {step} cannot be restored: {error}"
            ) from error
        leaves = jax.tree.leaves(restored["state"])
        state: State = jax.tree.unflatten(jax.tree.structure(like), leaves)
        return state

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.close()

    def _failed(self, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"cannot write a checkpoint to {self.folder}: {error}; the latest good one is of step "
            f"{self.latest}. Free or repair the folder and start again: training resumes from it"
        )


def _plain(state: State) -> dict[str, Any]:
    """Returns the state as a flat dictionary, in the order of its leaves.

    Optax's state is made of tuples that Orbax would name by position in any case; flat names keep
    the files readable without Optax.
    """
    leaves = jax.tree_util.tree_leaves_with_path(state)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    width = len(str(len(names)))
    return {
        f"{number:0{width}d}:{name}": leaf
        for number, (name, (_, leaf)) in enumerate(zip(names, leaves, strict=True))
    }
