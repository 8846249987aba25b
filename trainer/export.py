"""Exports a run's model: `python -m trainer.export RUN --out FOLDER`.

`safetensors` holds the parameters of the towers under flat names, beside the recipe and the
tokenizer. `savedmodel` is for TensorFlow, such as a teacher of the pipelines; it needs the extra
`tf`. Exits 0 when done, 1 when it failed, 2 when the command is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from trainer.checkpoints import CheckpointError, Record
from trainer.embedder import Embedder, Side, load_run
from trainer.inputs import TOKENIZER
from trainer.objectives.pairs import normalise
from trainer.recipe import TrainRecipe
from trainer.tokens import Tokenizer
from trainer.towers.apply import Tree
from trainer.towers.settings import ImageTower

PARAMETERS = "model.safetensors"
CONFIG = "config.json"


class ExportError(Exception):
    """The model cannot be exported, or an export cannot be read."""


def export_safetensors(model: Embedder, record: Record, folder: Path) -> list[Path]:
    """Writes the parameters, the recipe and the tokenizer; equal models give equal bytes.

    Args:
        model: what to export.
        record: of its checkpoint.
        folder: made where it is missing.

    Returns:
        The files written.
    """
    leaves = jax.tree_util.tree_leaves_with_path(model.parameters)
    flat = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in leaves
    }
    config = record.model_dump(mode="json")
    files = {
        PARAMETERS: save(flat),
        CONFIG: (json.dumps(config, indent=1, sort_keys=True) + "\n").encode(),
    }
    if model.tokenizer is not None:
        files[TOKENIZER] = model.tokenizer.model
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def load_safetensors(folder: Path) -> Embedder:
    """Returns the model of an export.

    Raises:
        ExportError: a file is missing, damaged, or of another model.
    """
    try:
        flat = load((folder / PARAMETERS).read_bytes())
        record = Record.model_validate_json((folder / CONFIG).read_bytes())
    except (OSError, SafetensorError, ValidationError) as error:
        raise ExportError(f"{folder} holds no export of a model: {error}") from error
    recipe = TrainRecipe.model_validate(record.recipe)
    tokenizer = None
    if record.tokenizer:
        try:
            tokenizer = Tokenizer((folder / TOKENIZER).read_bytes(), _length(recipe))
        except (OSError, ValueError) as error:
            raise ExportError(f"{folder}: {error}") from error
        if tokenizer.digest != record.tokenizer:
            raise ExportError(
                f"{folder / TOKENIZER} is not the tokenizer that the model was trained with"
            )
    parameters: Tree = {}
    for name, array in flat.items():
        *sections, key = name.split("/")
        target = parameters
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = array
    model = Embedder(recipe, parameters, tokenizer)
    expected = jax.eval_shape(model.towers.initial_parameters, jax.random.key(0))
    if jax.tree.map(lambda a: a.shape, expected) != jax.tree.map(lambda a: a.shape, parameters):
        raise ExportError(f"{folder / PARAMETERS} does not fit the recipe in {CONFIG}")
    return model


def export_savedmodel(model: Embedder, folder: Path) -> list[Path]:
    """Writes a TensorFlow SavedModel with a signature per tower, `query` and `positive`.

    An image tower takes `image`, uint8 [B, S, S, 3]; a text tower `ids`, int32 [B, L], and `mask`,
    bool [B, L], from the tokenizer beside it. Both return `embedding`, float32 [B, D] of unit norm.

    Raises:
        ExportError: TensorFlow is not installed.
    """
    try:
        # By name: the trainer imports no TensorFlow unless asked to export for it.
        tf: Any = importlib.import_module("tensorflow")
        jax2tf: Any = importlib.import_module("jax.experimental.jax2tf")
    except ModuleNotFoundError as error:
        raise ExportError(
            f"a SavedModel needs TensorFlow ({error}); install mixwright[tf], or export safetensors"
        ) from error
    module = tf.Module()
    module.parameters_ = tf.nest.map_structure(
        tf.Variable, jax.tree.map(np.asarray, model.parameters)
    )
    signatures = {}
    sides: tuple[Side, Side] = ("query", "positive")
    for side in sides:
        signatures[side] = _signature(model, side, module.parameters_, tf, jax2tf)
    folder.mkdir(parents=True, exist_ok=True)
    tf.saved_model.save(module, str(folder), signatures=signatures)
    files = [folder / "saved_model.pb"]
    if model.tokenizer is not None:
        (folder / TOKENIZER).write_bytes(model.tokenizer.model)
        files.append(folder / TOKENIZER)
    return files


def _signature(model: Embedder, side: Side, parameters: Any, tf: Any, jax2tf: Any) -> Any:
    tower = model.recipe.model.query if side == "query" else model.recipe.model.positive

    def embed(parameters: Tree, *inputs: jax.Array) -> jax.Array:
        return normalise(model.towers.embed(parameters, side, *inputs))

    if isinstance(tower, ImageTower):
        square = f"b, {tower.resolution}, {tower.resolution}, 3"
        shape = [None, tower.resolution, tower.resolution, 3]
        shapes, specs = [square], [tf.TensorSpec(shape, tf.uint8, name="image")]
    else:
        row = f"b, {tower.length}"
        shapes = [row, row]
        specs = [
            tf.TensorSpec([None, tower.length], tf.int32, name="ids"),
            tf.TensorSpec([None, tower.length], tf.bool, name="mask"),
        ]
    converted = jax2tf.convert(
        embed,
        polymorphic_shapes=[None, *shapes],
        native_serialization_platforms=("cpu", "cuda", "tpu"),
        with_gradient=False,
    )

    def call(*inputs: Any) -> Any:
        return {"embedding": converted(parameters, *inputs)}

    return tf.function(call, input_signature=specs, autograph=False)


def _length(recipe: TrainRecipe) -> int:
    towers = (recipe.model.query, recipe.model.positive)
    return max(tower.length for tower in towers if not isinstance(tower, ImageTower))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        model, record = load_run(options.run, options.step)
        if options.format == "safetensors":
            files = export_safetensors(model, record, options.out)
        else:
            files = export_savedmodel(model, options.out)
    except (CheckpointError, ExportError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__.removesuffix('Error')}: {error}\n")
        return 1
    for path in files:
        sys.stdout.write(f"{path}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.export", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--out", type=Path, required=True, help="folder for the export")
    parser.add_argument("--step", type=int, help="checkpoint; the latest if absent")
    parser.add_argument("--format", choices=("safetensors", "savedmodel"), default="safetensors")
    return parser


if __name__ == "__main__":
    sys.exit(main())
