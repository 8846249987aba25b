"""Evaluates a run on a held-out mixture: `python -m trainer.evaluate RUN --work W --mixture M`.

Prints a table of retrieval and writes everything as JSON. Exits 0 when done, 1 when it failed, 2
when the command is wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.digests import hex_digest
from schemas.shards import ShardSample
from storage.errors import StorageError
from trainer import evaluation
from trainer.checkpoints import CheckpointError
from trainer.corpus import Corpus, Item, Skipped
from trainer.embedder import Embedder, Side, load_run, untrained
from trainer.evaluation import Report, Retrieval
from trainer.inputs import InputError
from trainer.loader.errors import ShardError
from trainer.loader.mixture import open_mixture
from trainer.towers.settings import ImageTower

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


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A mixture as it is evaluated.

    Attributes:
        samples: N samples.
        images: N images, uint8 [S, S, 3].
        texts: P texts, of all samples.
        retrieval: which belong together.
        skipped: samples that could not be used, by defect.
    """

    samples: list[ShardSample]
    images: list[NDArray[np.uint8]]
    texts: list[str]
    retrieval: Retrieval
    skipped: dict[str, int]


def read_mixture(
    work: str, name: str, side: int, prompts: dict[str, str], roles: Sequence[str] = ()
) -> Evaluated:
    """Reads every pair of a mixture.

    Args:
        work: work directory.
        name: of the mixture.
        side: of images, in pixels.
        prompts: task prompt by source.
        roles: roles of the texts that count; all texts if empty.

    Raises:
        InputError: the mixture is missing, or no sample of it is a pair.
    """
    try:
        mixture = open_mixture(work, name)
    except (FileNotFoundError, StorageError, ValueError) as error:
        raise InputError(f"mixture {name!r} in {work}: {error}") from error
    samples: list[ShardSample] = []
    images: list[NDArray[np.uint8]] = []
    texts: list[str] = []
    languages: list[str] = []
    owners: list[int] = []
    skipped: dict[str, int] = {}
    for item in Corpus(mixture, side).items():
        if isinstance(item, Skipped):
            skipped[item.defect] = skipped.get(item.defect, 0) + 1
            continue
        said = _texts(item, roles)
        if item.image is None or not said:
            continue
        for text, language in said:
            texts.append(prompts.get(item.sample.source, "{text}").replace("{text}", text))
            languages.append(language)
            owners.append(len(samples))
        samples.append(item.sample)
        images.append(item.image)
    if not samples:
        raise InputError(f"mixture {name!r} in {work} holds no pair of an image and a text")
    identities = [[f"query {sample.query_id}"] for sample in samples]
    for owner, text in zip(owners, texts, strict=True):
        identities[owner].append(f"text {hex_digest(text)}")
    groups = evaluation.group_by_content(identities)
    return Evaluated(samples, images, texts, Retrieval(groups, groups[owners], languages), skipped)


def _texts(item: Item, roles: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the texts of a sample that count, with their languages."""
    found = [one for one in item.sample.texts if not roles or one.role in roles]
    return [(one.text, one.lang or "") for one in found if one.text.strip()]


def embed(model: Embedder, data: Evaluated) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the embeddings of queries [N, D] and positives [P, D], whichever are the images."""
    if isinstance(model.recipe.model.query, ImageTower):
        return model.images("query", data.images), model.texts("positive", data.texts)
    return model.images("positive", data.images), model.texts("query", data.texts)


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
    data = _read(options, model, options.mixture)
    embedded = embed(model, data)
    widths = options.width or model.recipe.widths
    report: Report = {
        "run": str(options.run),
        "step": record.step,
        "mixture": options.mixture,
        "samples": len(data.samples),
        "skipped": data.skipped,
        "retrieval": evaluation.retrieval_report(data.retrieval, *embedded, widths),
    }
    if options.against:
        other = untrained(model) if options.against == UNTRAINED else _load(options.against)
        compared = embed(other, data)
        report["against"] = {
            "name": options.against,
            "retrieval": evaluation.retrieval_report(
                data.retrieval, *compared, other.recipe.widths[:1]
            ),
            "gain": evaluation.comparison(data.retrieval, embedded, compared, record.seed),
        }
    if options.labels:
        report["labelled"] = _labelled(options, model, data, embedded[0])
    return report


def _load(folder: str) -> Embedder:
    return load_run(Path(folder))[0]


def _read(options: argparse.Namespace, model: Embedder, mixture: str) -> Evaluated:
    towers = (model.recipe.model.query, model.recipe.model.positive)
    side = next((tower.resolution for tower in towers if isinstance(tower, ImageTower)), None)
    if side is None:
        raise InputError(
            f"{options.run} has no image tower; image-text retrieval cannot be measured"
        )
    inputs = model.recipe.inputs
    of_image = isinstance(model.recipe.model.query, ImageTower)
    prompts = inputs.positive_prompts if of_image else inputs.prompts
    return read_mixture(options.work, mixture, side, prompts, options.role or ())


def _labelled(
    options: argparse.Namespace, model: Embedder, data: Evaluated, images: NDArray[np.float32]
) -> Report:
    """Returns what labels in `meta` allow: instance retrieval, zero-shot, kNN, linear probe."""
    labels = labels_of(data.samples, options.labels)
    has = np.array([bool(label) for label in labels])
    if not has.any():
        raise InputError(f"no sample of {options.mixture!r} has meta.{options.labels}")
    domains = [f"{s.source}\0{label}" for s, label in zip(data.samples, labels, strict=True)]
    _, groups = np.unique(np.array(domains)[has], return_inverse=True)
    report: Report = {"instance": evaluation.instance_report(images[has], groups)}
    if options.classes:
        report["zero_shot"] = _zero_shot(options.classes, model, images, labels)
    if options.train_mixture:
        known = _read(options, model, options.train_mixture)
        names = labels_of(known.samples, options.labels)
        both, numbers = np.unique([*names, *labels], return_inverse=True)
        split = len(names)
        learn = np.array([bool(name) for name in names])
        report["transfer"] = evaluation.transfer_report(
            (embed(model, known)[0][learn], numbers[:split][learn]),
            (images[has], numbers[split:][has]),
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
    of_image = isinstance(model.recipe.model.query, ImageTower)
    side: Side = "positive" if of_image else "query"
    vectors = model.texts(side, [prompt for prompt, _ in prompts])
    known = np.array([label in numbers for label in labels])
    wanted = np.array([numbers[label] for label in labels if label in numbers], np.int64)
    if not known.any():
        raise InputError(f"no sample has a label of {path}; its labels are {', '.join(numbers)}")
    classes = np.array([number for _, number in prompts], np.int64)
    return evaluation.zero_shot_report(images[known], wanted, vectors, classes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        report = evaluate(options)
    except (CheckpointError, InputError, ShardError, StorageError) as error:
        sys.stderr.write(f"{type(error).__name__.removesuffix('Error')}: {error}\n")
        return 1
    text = json.dumps(report, indent=1)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write((text if options.json else evaluation.table(report["retrieval"])) + "\n")
    if "against" in report and not options.json:
        sys.stdout.write(f"against {report['against']['name']}:\n")
        sys.stdout.write(evaluation.table(report["against"]["retrieval"]) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--work", required=True, help="work directory with the mixture")
    parser.add_argument("--mixture", required=True, help="held-out mixture to evaluate on")
    parser.add_argument("--step", type=int, help="checkpoint; the latest if absent")
    parser.add_argument("--against", help=f"'{UNTRAINED}', or the folder of another run")
    parser.add_argument("--width", type=int, action="append", help="prefix of the embedding")
    parser.add_argument("--role", action="append", help="role of texts that count; all if absent")
    parser.add_argument("--labels", help="key of the label in the meta of samples")
    parser.add_argument("--classes", type=Path, help="JSON with templates and classes by label")
    parser.add_argument("--train-mixture", help="labelled mixture for kNN and the linear probe")
    parser.add_argument("--out", type=Path, help="file for the report, as JSON")
    parser.add_argument("--json", action="store_true", help="print the report, not the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
