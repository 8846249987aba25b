"""A trained model that embeds images and texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from numpy.typing import NDArray

from trainer.checkpoints import CheckpointError, Checkpoints, Record
from trainer.inputs import TOKENIZER
from trainer.mesh import make_mesh, replicated
from trainer.recipe import TrainRecipe
from trainer.step import State, initial_state
from trainer.tokens import Tokenizer
from trainer.towers.apply import Towers, Tree
from trainer.towers.settings import TextTower

CHECKPOINTS = "checkpoints"
"""Name of the folder of checkpoints below a run's folder."""

Side = Literal["query", "positive"]


class Embedder:
    """The towers of a model with their parameters. Batches are padded to one compiled shape."""

    def __init__(
        self,
        recipe: TrainRecipe,
        parameters: Tree,
        tokenizer: Tokenizer | None,
        batch_size: int = 64,
    ) -> None:
        """Sets up a model.

        Args:
            recipe: that it was trained with.
            parameters: of its towers.
            tokenizer: its own; None where it reads no text.
            batch_size: rows embedded at once.
        """
        self.recipe = recipe
        self.parameters = parameters
        self.tokenizer = tokenizer
        self.towers = Towers(recipe.model)
        self._batch_size = batch_size
        self._embed = jax.jit(self.towers.embed, static_argnums=1)

    def images(self, side: Side, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Returns float32 [N, width], not normalised, of N images uint8 [S, S, 3]."""
        batches = (
            self._one(side, np.stack(images[at : at + self._batch_size]), None)
            for at in range(0, len(images), self._batch_size)
        )
        return np.concatenate([np.zeros((0, self.recipe.model.width), np.float32), *batches])

    def texts(self, side: Side, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns float32 [N, width], not normalised, of N texts as they stand."""
        tower = self.recipe.model.query if side == "query" else self.recipe.model.positive
        if self.tokenizer is None or not isinstance(tower, TextTower):
            raise ValueError(f"the {side} tower reads no text")
        tokenize = Tokenizer(self.tokenizer.model, tower.length)
        batches = (
            self._one(side, *tokenize(texts[at : at + self._batch_size]))
            for at in range(0, len(texts), self._batch_size)
        )
        return np.concatenate([np.zeros((0, self.recipe.model.width), np.float32), *batches])

    def _one(
        self, side: Side, values: NDArray[Any], mask: NDArray[np.bool_] | None
    ) -> NDArray[np.float32]:
        missing = self._batch_size - len(values)

        def pad(array: NDArray[Any]) -> NDArray[Any]:
            return np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))

        padded = None if mask is None else pad(mask)
        embedded = self._embed(self.parameters, side, pad(values), padded)
        return np.asarray(embedded)[: len(values)]


def load_run(folder: Path, step: int | None = None) -> tuple[Embedder, Record]:
    """Returns the model of a run's checkpoint, and what the checkpoint says of itself.

    Args:
        folder: of the run.
        step: of the checkpoint; the latest where None.

    Raises:
        CheckpointError: there is no such checkpoint, or it cannot be read.
    """
    if not (folder / CHECKPOINTS).is_dir():
        raise CheckpointError(f"{folder} is no folder of a run: it has no {CHECKPOINTS}")
    with Checkpoints(folder / CHECKPOINTS) as checkpoints:
        chosen = step or checkpoints.latest
        if chosen is None:
            raise CheckpointError(f"{folder / CHECKPOINTS} holds no checkpoint; train first")
        record = checkpoints.record(chosen)
        recipe = record.training_recipe()
        state = checkpoints.restore(chosen, _abstract_state(recipe))
    tokenizer = _tokenizer(folder, recipe)
    return Embedder(recipe, state.parameters["towers"], tokenizer), record


def untrained(other: Embedder) -> Embedder:
    """Returns the model as it was before its first step."""
    towers = Towers(other.recipe.model)
    key = jax.random.fold_in(jax.random.key(other.recipe.seed), 0)
    return Embedder(other.recipe, jax.jit(towers.initial_parameters)(key), other.tokenizer)


def _abstract_state(recipe: TrainRecipe) -> State:
    mesh = make_mesh(jax.local_devices()[:1])
    shapes = jax.eval_shape(lambda: initial_state(recipe, Towers(recipe.model), mesh))
    state: State = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated(mesh)), shapes
    )
    return state


def _tokenizer(folder: Path, recipe: TrainRecipe) -> Tokenizer | None:
    towers = (recipe.model.query, recipe.model.positive)
    lengths = [tower.length for tower in towers if isinstance(tower, TextTower)]
    if not lengths:
        return None
    try:
        return Tokenizer((folder / TOKENIZER).read_bytes(), max(lengths))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot read the tokenizer of the run in {folder}: {error}"
        ) from error
