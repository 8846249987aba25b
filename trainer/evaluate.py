"""Evaluates a run on a held-out mixture: `python -m trainer.evaluate RUN --work W --mixture M`.

Prints a table of retrieval and writes everything as JSON. Exits 0 when done, 1 when it failed, 2
when the command is wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
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
from trainer.loader.mixture import Mixture, open_mixture
from trainer.towers.settings import ImageTower

UNTRAINED = "untrained"
"""The model of the run before its first step, as what to compare with."""


_IMAGES = 1024
"""Images that are held at once."""


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
class Embedded:
    """A mixture under a model.

    Attributes:
        samples: N samples, without their images.
        images: float32 [N, D], their embeddings.
        texts: float32 [P, D], embeddings of all their texts.
        retrieval: which belong together.
        skipped: samples that could not be used, by defect.
    """

    samples: list[ShardSample]
    images: NDArray[np.float32]
    texts: NDArray[np.float32]
    retrieval: Retrieval
    skipped: dict[str, int]


def embed_mixture(model: Embedder, work: str, name: str, roles: Sequence[str]) -> Embedded:
    """Embeds every pair of a mixture; images are held a chunk at a time.

    Args:
        model: with a tower for images and one for texts.
        work: work directory.
        name: of the mixture.
        roles: roles of the texts that count; all texts if empty.

    Raises:
        InputError: the mixture is missing, no sample of it is a pair, or the model takes no images.
    """
    of_image, of_text = _sides(model)
    tower = model.recipe.model.query if of_image == "query" else model.recipe.model.positive
    if not isinstance(tower, ImageTower):
        raise InputError("the model has no image tower; image-text retrieval cannot be measured")
    inputs = model.recipe.inputs
    prompts = inputs.positive_prompts if of_text == "positive" else inputs.prompts
    samples: list[ShardSample] = []
    texts: list[str] = []
    languages: list[str] = []
    owners: list[int] = []
    skipped: Counter[str] = Counter()
    pending: list[NDArray[np.uint8]] = []
    embedded: list[NDArray[np.float32]] = []
    for item in Corpus(_open(work, name), tower.resolution).items():
        if isinstance(item, Skipped):
            skipped[item.defect.value] += 1
            continue
        said = _texts(item, roles)
        if item.image is None or not said:
            continue
        prompt = prompts.get(item.sample.source, "{text}")
        for text, language in said:
            texts.append(prompt.replace("{text}", text))
            languages.append(language)
            owners.append(len(samples))
        samples.append(item.sample)
        pending.append(item.image)
        if len(pending) == _IMAGES:
            embedded.append(model.images(of_image, pending))
            pending.clear()
    if not samples:
        raise InputError(f"mixture {name!r} in {work} holds no pair of an image and a text")
    groups = _groups(samples, texts, owners)
    return Embedded(
        samples=samples,
        images=np.concatenate([*embedded, model.images(of_image, pending)]),
        texts=model.texts(of_text, texts),
        retrieval=Retrieval(groups, groups[owners], languages),
        skipped=dict(skipped),
    )


def _sides(model: Embedder) -> tuple[Side, Side]:
    """Returns the towers for images and for texts."""
    if isinstance(model.recipe.model.query, ImageTower):
        return "query", "positive"
    return "positive", "query"


def _open(work: str, name: str) -> Mixture:
    try:
        return open_mixture(work, name)
    except (FileNotFoundError, StorageError, ValueError) as error:
        raise InputError(f"mixture {name!r} in {work}: {error}") from error


def _groups(
    samples: Sequence[ShardSample], texts: Sequence[str], owners: Sequence[int]
) -> NDArray[np.int64]:
    identities = [[f"query {sample.query_id}"] for sample in samples]
    for owner, text in zip(owners, texts, strict=True):
        identities[owner].append(f"text {hex_digest(text)}")
    return evaluation.group_by_content(identities)


def _texts(item: Item, roles: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the texts of a sample that count, with their languages."""
    found = [one for one in item.sample.texts if not roles or one.role in roles]
    return [(one.text, one.lang or "") for one in found if one.text.strip()]


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
        "retrieval": evaluation.retrieval_report(data.retrieval, data.images, data.texts, widths),
    }
    if options.against:
        other = untrained(model) if options.against == UNTRAINED else _load(options.against)
        report["against"] = {"name": options.against} | _against(
            data, _embed(options, other, options.mixture), other.recipe.widths[0], record.seed
        )
    if options.labels:
        report["labelled"] = _labelled(options, model, data)
    return report


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
    one, two = (data.images, data.texts), (other.images, other.texts)
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
    report: Report = {"instance": evaluation.instance_report(data.images[has], groups)}
    if options.classes:
        report["zero_shot"] = _zero_shot(options.classes, model, data.images, labels)
    if options.train_mixture:
        known = _embed(options, model, options.train_mixture)
        names = labels_of(known.samples, options.labels)
        both, numbers = np.unique([*names, *labels], return_inverse=True)
        split = len(names)
        learn = np.array([bool(name) for name in names])
        report["transfer"] = evaluation.transfer_report(
            (known.images[learn], numbers[:split][learn]),
            (data.images[has], numbers[split:][has]),
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
    vectors = model.texts(_sides(model)[1], [prompt for prompt, _ in prompts])
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
