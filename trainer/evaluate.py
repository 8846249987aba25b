"""Evaluates a run on a held-out mixture: `python -m trainer.evaluate RUN --work W --mixture M`.

Or on UnED: `python -m trainer.evaluate RUN --uned FOLDER`. Prints a table and writes JSON. Exits 0
when done, 1 when it failed, 2 when the command is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.shards import ShardSample
from storage.errors import StorageError
from trainer import evaluation
from trainer.checkpoints import CheckpointError
from trainer.embedder import Embedder, load_run, untrained
from trainer.evaluation import Report
from trainer.inputs import InputError
from trainer.loader.errors import ShardError
from trainer.retrieval import PRIMARY, Embedded, embed_mixture, sides
from trainer.uned import uned_report

UNTRAINED = "untrained"
"""The model of the run before its first step, as what to compare with."""


class ClassNames(BaseModel):
    """The classes of zero-shot classification: a JSON file.

    Attributes:
        templates: prompts with `{}` for the name; a class is the mean over all of them.
        classes: names by label; a label may have several names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    templates: tuple[str, ...] = Field(min_length=1)
    classes: dict[str, tuple[str, ...]] = Field(min_length=2)


def labels_of(samples: Sequence[ShardSample], key: str) -> list[str]:
    """Returns the label of each sample, from its `meta`; empty where it has none."""
    return [str(sample.meta.get(key, "")) for sample in samples]


def evaluate(options: argparse.Namespace) -> Report:
    """Returns the report that the command asks for.

    Raises:
        CheckpointError: a run cannot be read.
        InputError: a mixture or a file of classes cannot.
    """
    model, record = load_run(options.run, options.step)
    if options.uned:
        return {"run": str(options.run), "step": record.step} | _uned(options, model)
    data = _embed(options, model, options.mixture)
    widths = options.width or model.recipe.widths
    if not all(0 < width <= model.recipe.model.width for width in widths):
        raise InputError(f"--width is within 1 to {model.recipe.model.width}, the model's width")
    report: Report = {
        "run": str(options.run),
        "step": record.step,
        "mixture": options.mixture,
        "samples": len(data.samples),
        "skipped": data.skipped,
        "retrieval": evaluation.retrieval_report(data.retrieval, data.items, data.texts, widths),
    }
    if options.against:
        other = untrained(model) if options.against == UNTRAINED else _load(options.against)
        report["against"] = {"name": options.against} | _against(
            data, _embed(options, other, options.mixture), other.recipe.widths[0], record.seed
        )
    if options.labels:
        report["labelled"] = _labelled(options, model, data)
    return report


def _uned(options: argparse.Namespace, model: Embedder) -> Report:
    side = sides(model)
    if side.resolution is None:
        raise InputError("the model has no image tower; UnED asks with images")
    return {"uned": uned_report(model, side.item, side.resolution, options.uned, options.split)}


def _load(folder: str) -> Embedder:
    return load_run(Path(folder))[0]


def _embed(options: argparse.Namespace, model: Embedder, mixture: str) -> Embedded:
    return embed_mixture(model, options.work, mixture, options.role or ())


def _against(data: Embedded, other: Embedded, width: int, seed: int) -> Report:
    """Returns the other model's recalls, and what is gained over it."""
    if [one.sample_id for one in data.samples] != [one.sample_id for one in other.samples]:
        raise InputError(
            "the two models cannot read the same samples; compare them on a mixture "
            "without damaged images"
        )
    one, two = (data.items, data.texts), (other.items, other.texts)
    return {
        "retrieval": evaluation.retrieval_report(other.retrieval, *two, [width]),
        "gain": evaluation.comparison(data.retrieval, one, two, seed),
    }


def _labelled(options: argparse.Namespace, model: Embedder, data: Embedded) -> Report:
    """Returns what labels in `meta` allow: instance retrieval, zero-shot, kNN, linear probe."""
    labels = labels_of(data.samples, options.labels)
    has = np.array([bool(label) for label in labels])
    if not has.any():
        raise InputError(f"no sample of {options.mixture!r} has meta.{options.labels}")
    domains = [f"{s.source}\0{label}" for s, label in zip(data.samples, labels, strict=True)]
    _, groups = np.unique(np.array(domains)[has], return_inverse=True)
    report: Report = {"instance": evaluation.instance_report(data.items[has], groups)}
    if options.classes:
        report["zero_shot"] = _zero_shot(options.classes, model, data.items, labels)
    if options.train_mixture:
        known = _embed(options, model, options.train_mixture)
        names = labels_of(known.samples, options.labels)
        both, numbers = np.unique([*names, *labels], return_inverse=True)
        split = len(names)
        learn = np.array([bool(name) for name in names])
        report["transfer"] = evaluation.transfer_report(
            (known.items[learn], numbers[:split][learn]),
            (data.items[has], numbers[split:][has]),
        )
        report["transfer"]["classes"] = len(both)
    return report


def _zero_shot(
    path: Path, model: Embedder, images: NDArray[np.float32], labels: Sequence[str]
) -> Report:
    try:
        names = ClassNames.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"cannot use the classes in {path}: {error}") from error
    numbers = {label: number for number, label in enumerate(names.classes)}
    prompts = [
        (template.replace("{}", name), numbers[label])
        for label, several in names.classes.items()
        for name in several
        for template in names.templates
    ]
    vectors = model.texts(sides(model).text, [prompt for prompt, _ in prompts])
    known = np.array([label in numbers for label in labels])
    wanted = np.array([numbers[label] for label in labels if label in numbers], np.int64)
    if not known.any():
        raise InputError(f"no sample has a label of {path}; its labels are {', '.join(numbers)}")
    classes = np.array([number for _, number in prompts], np.int64)
    return evaluation.zero_shot_report(images[known], wanted, vectors, classes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.uned and not (options.work and options.mixture):
        parser.error("name --work and --mixture, or --uned")
    try:
        report = evaluate(options)
    except (CheckpointError, InputError, ShardError, StorageError) as error:
        sys.stderr.write(f"{type(error).__name__.removesuffix('Error')}: {error}\n")
        return 1
    text = json.dumps(report, indent=1)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write((text if options.json else _table(report)) + "\n")
    return 0


def _table(report: Report) -> str:
    """Returns what the terminal shows of a report."""
    if "uned" in report:
        return evaluation.uned_table(report["uned"])
    if "against" not in report:
        return evaluation.table(report["retrieval"])
    other = report["against"]
    width = next(iter(report["retrieval"]))
    return evaluation.comparison_table(
        report["retrieval"][width],
        next(iter(other["retrieval"].values())),
        other["gain"],
        other["name"],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--work", help="work directory with the mixture")
    parser.add_argument("--mixture", help="held-out mixture to evaluate on")
    parser.add_argument("--uned", type=Path, help="folder of UnED's TFRecord files")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="queries of UnED")
    parser.add_argument("--step", type=int, help="checkpoint; the latest if absent")
    parser.add_argument("--against", help=f"'{UNTRAINED}', or the folder of another run")
    parser.add_argument("--width", type=int, action="append", help="prefix of the embedding")
    parser.add_argument(
        "--role", action="append", help=f"role of the texts that count, or '{PRIMARY}'"
    )
    parser.add_argument("--labels", help="key of the label in the meta of samples")
    parser.add_argument("--classes", type=Path, help="JSON with templates and classes by label")
    parser.add_argument("--train-mixture", help="labelled mixture for kNN and the linear probe")
    parser.add_argument("--out", type=Path, help="file for the report, as JSON")
    parser.add_argument("--json", action="store_true", help="print the report, not the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
