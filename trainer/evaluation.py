"""What evaluation reports, from embeddings: by direction, width and language, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer import metrics
from trainer.probe import linear_probe

Direction = Literal["image_to_text", "text_to_image"]
DIRECTIONS: tuple[Direction, ...] = ("image_to_text", "text_to_image")
RECALLS = (1, 5, 10)

Report = dict[str, Any]
"""Plain JSON values."""


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """A retrieval set: N images and P texts, which belong together by group.

    Attributes:
        image_groups: int64 [N].
        text_groups: int64 [P]; several texts of a group are captions of one image.
        languages: P languages; empty where unknown.
    """

    image_groups: NDArray[np.int64]
    text_groups: NDArray[np.int64]
    languages: Sequence[str]

    def ranks(
        self, direction: Direction, images: metrics.Floats, texts: metrics.Floats, language: str
    ) -> NDArray[np.int64]:
        """Returns the rank of the best relevant item of each query of a direction, from 0.

        Args:
            direction: which side asks.
            images: float32 [N, D], unit norm.
            texts: float32 [P, D].
            language: only texts in it take part, and the images that have one; all if empty.
        """
        spoken = np.array([language in ("", one) for one in self.languages], bool)
        text_groups = self.text_groups[spoken]
        described = np.isin(self.image_groups, text_groups)
        shown = (images[described], self.image_groups[described])
        said = (texts[spoken], text_groups)
        asking, asked = (shown, said) if direction == "image_to_text" else (said, shown)
        return metrics.first_relevant_ranks(asking[0], asked[0], asking[1], asked[1])


def group_by_content(identities: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Returns the group of each sample, int64 [N]: samples that share an identity share a group.

    Two images with one caption, or two captions of one image, are all relevant to each other;
    without that, a repeated caption could never be found first.

    Args:
        identities: of each sample, the content ids of its query and of its positives.
    """
    parent = list(range(len(identities)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    first: dict[str, int] = {}
    for number, ids in enumerate(identities):
        for identity in ids:
            one, other = root(first.setdefault(identity, number)), root(number)
            parent[max(one, other)] = min(one, other)
    return np.array([root(number) for number in range(len(identities))], np.int64)


def retrieval_report(
    retrieval: Retrieval, images: metrics.Floats, texts: metrics.Floats, widths: Sequence[int]
) -> Report:
    """Returns recalls by width, direction and language, in 0..1.

    Args:
        retrieval: the set.
        images: float32 [N, D] embeddings, of any norm.
        texts: float32 [P, D].
        widths: prefixes of the embedding to report.
    """
    report: Report = {}
    languages = sorted({language for language in retrieval.languages if language})
    for width in widths:
        cut = metrics.normalise(images[:, :width]), metrics.normalise(texts[:, :width])
        report[str(width)] = {
            direction: {
                language or "all": _recalls(retrieval.ranks(direction, *cut, language))
                for language in ("", *languages)
            }
            for direction in DIRECTIONS
        }
    return report


def _recalls(ranks: NDArray[np.int64]) -> Report:
    return {f"R@{k}": metrics.recall_at(ranks, k) for k in RECALLS} | {"queries": len(ranks)}


def comparison(
    retrieval: Retrieval,
    one: tuple[metrics.Floats, metrics.Floats],
    other: tuple[metrics.Floats, metrics.Floats],
    seed: int,
) -> Report:
    """Returns what `one` gains over `other` in recall, with 95 % intervals by paired bootstrap.

    Args:
        retrieval: the set.
        one: embeddings of images and of texts, float32.
        other: those of the model compared with.
        seed: of the bootstrap.
    """
    report: Report = {}
    for direction in DIRECTIONS:
        ranks = [
            retrieval.ranks(direction, metrics.normalise(images), metrics.normalise(texts), "")
            for images, texts in (one, other)
        ]
        report[direction] = {}
        for k in RECALLS:
            hits = [(rank < k).astype(np.float64) for rank in ranks]
            gain, low, high = metrics.paired_bootstrap([hits[1]], [hits[0]], seed=seed)
            report[direction][f"R@{k}"] = {"gain": gain, "low": low, "high": high}
    return report


def instance_report(embeddings: metrics.Floats, groups: NDArray[np.int64]) -> Report:
    """Returns R@1 and mMP@5 of images against all others (UnED, 2309.01858).

    Groups are of label and domain, so that the label of another domain is a miss. Images that are
    alone in their group ask nothing; they stay in the index.

    Args:
        embeddings: float32 [N, D], queries and index at once.
        groups: int64 [N].
    """
    unit = metrics.normalise(embeddings)
    _, positions, counts = np.unique(groups, return_inverse=True, return_counts=True)
    relevant = counts[positions] - 1
    asked = relevant > 0
    if not asked.any():
        return {"queries": 0}
    found, _ = metrics.nearest(unit, unit, min(5, len(unit) - 1), exclude_self=True)
    hits = (groups[found] == groups[:, None])[asked]
    return {
        "R@1": float(np.mean(hits[:, 0])),
        "mMP@5": metrics.mean_modified_precision(hits, relevant[asked]),
        "queries": int(asked.sum()),
    }


def zero_shot_report(
    images: metrics.Floats,
    labels: NDArray[np.int64],
    prompts: metrics.Floats,
    classes: NDArray[np.int64],
) -> Report:
    """Returns top-1, top-5 and mean-per-class accuracy against ensembles of prompts.

    Args:
        images: float32 [N, D].
        labels: int64 [N].
        prompts: float32 [P, D], embeddings of prompts.
        classes: int64 [P], class of each prompt; every class has one.
    """
    vectors = metrics.class_vectors(prompts, classes, int(classes.max()) + 1)
    ranks = metrics.classification_ranks(metrics.normalise(images), vectors, labels)
    return {
        "top1": metrics.recall_at(ranks, 1),
        "top5": metrics.recall_at(ranks, 5),
        "mean_per_class": metrics.mean_per_class(ranks < 1, labels),
        "images": len(labels),
    }


def transfer_report(
    train: tuple[metrics.Floats, NDArray[np.int64]], test: tuple[metrics.Floats, NDArray[np.int64]]
) -> Report:
    """Returns accuracies of kNN and of a linear probe that learn from other labelled images.

    A fifth of the training images, every fifth one, chooses the probe's penalty.

    Args:
        train: embeddings float32 [M, D] and labels int64 [M].
        test: embeddings float32 [N, D] and labels int64 [N].
    """
    known, unknown = metrics.normalise(train[0]), metrics.normalise(test[0])
    validation = np.arange(len(known)) % 5 == 4
    probed = linear_probe(
        (known[~validation], train[1][~validation]),
        (known[validation], train[1][validation]),
        unknown,
    )
    return {
        "knn": float(np.mean(metrics.knn_predictions(unknown, known, train[1]) == test[1])),
        "linear_probe": float(np.mean(probed == test[1])),
        "images": len(unknown),
    }


def table(report: Report) -> str:
    """Returns the recalls of a retrieval report as lines of text, in per cent."""
    lines = [f"{'width':>6}  {'direction':<18} {'language':<9} {'R@1':>6} {'R@5':>6} {'R@10':>6}"]
    for width, directions in report.items():
        for direction, languages in directions.items():
            for language, recalls in languages.items():
                cells = " ".join(f"{100 * recalls[f'R@{k}']:6.1f}" for k in RECALLS)
                lines.append(f"{width:>6}  {direction:<18} {language:<9} {cells}")
    return "\n".join(lines)
