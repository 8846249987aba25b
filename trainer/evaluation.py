"""What evaluation reports, from embeddings: by direction, width and language, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer import metrics
from trainer.probe import linear_probe

RECALLS = (1, 5, 10)

Report = dict[str, Any]
"""Plain JSON values."""


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """A retrieval set: N items and P texts, which belong together by group.

    Attributes:
        item_groups: int64 [N].
        text_groups: int64 [P]; several texts of a group are captions of one image.
        languages: P languages; empty where unknown.
        item: what the items are: images, or the queries of a model without an image tower.
    """

    item_groups: NDArray[np.int64]
    text_groups: NDArray[np.int64]
    languages: Sequence[str]
    item: Literal["image", "query"] = "image"

    @property
    def directions(self) -> tuple[str, str]:
        """Names of the two directions: items ask for texts, texts ask for items."""
        return f"{self.item}_to_text", f"text_to_{self.item}"

    def ranks(
        self, direction: str, items: metrics.Floats, texts: metrics.Floats, language: str = ""
    ) -> NDArray[np.int64]:
        """Returns the rank of the best relevant answer to each query of a direction, from 0.

        Args:
            direction: which side asks; one of `directions`.
            items: float32 [N, D], unit norm.
            texts: float32 [P, D].
            language: only texts in it take part, and the items that have one; all if empty.
        """
        spoken = np.array([language in ("", one) for one in self.languages], bool)
        text_groups = self.text_groups[spoken]
        described = np.isin(self.item_groups, text_groups)
        shown = (items[described], self.item_groups[described])
        said = (texts[spoken], text_groups)
        asking, asked = (shown, said) if direction == self.directions[0] else (said, shown)
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
    retrieval: Retrieval, items: metrics.Floats, texts: metrics.Floats, widths: Sequence[int]
) -> Report:
    """Returns recalls (0..1) and the mean rank (from 1) by width, direction and language.

    Args:
        retrieval: the set.
        items: float32 [N, D] embeddings, of any norm.
        texts: float32 [P, D].
        widths: prefixes of the embedding to report.
    """
    report: Report = {}
    languages = sorted({language for language in retrieval.languages if language})
    for width in widths:
        cut = metrics.normalise(items[:, :width]), metrics.normalise(texts[:, :width])
        report[str(width)] = {
            direction: {
                language or "all": _recalls(retrieval.ranks(direction, *cut, language))
                for language in ("", *languages)
            }
            for direction in retrieval.directions
        }
    return report


def _recalls(ranks: NDArray[np.int64]) -> Report:
    recalls = {f"R@{k}": metrics.recall_at(ranks, k) for k in RECALLS}
    return recalls | {"mean_rank": float(np.mean(ranks)) + 1, "queries": len(ranks)}


def comparison(
    retrieval: Retrieval,
    one: tuple[metrics.Floats, metrics.Floats],
    other: tuple[metrics.Floats, metrics.Floats],
    seed: int,
) -> Report:
    """Returns what `one` gains over `other` in recall, with 95 % intervals by paired bootstrap.

    Args:
        retrieval: the set.
        one: embeddings of items and of texts, float32.
        other: those of the model compared with.
        seed: of the bootstrap.
    """
    report: Report = {}
    for direction in retrieval.directions:
        ranks = [
            retrieval.ranks(direction, metrics.normalise(items), metrics.normalise(texts))
            for items, texts in (one, other)
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
    own = np.arange(len(unit))
    hits, relevant = metrics.best_relevance(unit, unit, groups[:, None], groups, 5, own)
    asked = relevant > 0
    if not asked.any():
        return {"queries": 0}
    return {
        "R@1": float(np.mean(hits[asked, 0])),
        "mMP@5": metrics.mean_modified_precision(hits[asked], relevant[asked]),
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
    lines = [f"{'width':>6}  {'direction':<14} {'language':<9} {'R@1':>6} {'R@5':>6} {'R@10':>6}"]
    for width, directions in report.items():
        for direction, languages in directions.items():
            for language, recalls in languages.items():
                cells = " ".join(f"{100 * recalls[f'R@{k}']:6.1f}" for k in RECALLS)
                lines.append(f"{width:>6}  {direction:<14} {language:<9} {cells}")
    return "\n".join(lines)


def comparison_table(report: Report, other: Report, gains: Report, name: str) -> str:
    """Returns the recalls of two models and what the first gains, in per cent, as lines of text.

    Args:
        report: recalls by direction and language of the model, at one width.
        other: likewise of the model called `name`.
        gains: by direction and recall, as `comparison` returns them.
        name: heads the other model's column.
    """
    lines = [f"{'direction':<14} {'recall':<6} {'this':>6} {name:>10} {'gain':>6}  95 % interval"]
    for direction, recalls in gains.items():
        for recall, gain in recalls.items():
            mine, theirs = (100 * one[direction]["all"][recall] for one in (report, other))
            low, high = (100 * gain[end] for end in ("low", "high"))
            lines.append(
                f"{direction:<14} {recall:<6} {mine:6.1f} {theirs:10.1f} "
                f"{100 * gain['gain']:+6.1f}  {low:+.1f} to {high:+.1f}"
            )
    return "\n".join(lines)


def uned_table(report: Report) -> str:
    """Returns R@1 and mMP@5 of UnED's domains and their means, in per cent, as lines of text."""
    lines = [f"{'domain':<8} {'queries':>8} {'R@1':>6} {'mMP@5':>6}"]
    rows = {**report["domains"], "mean": report["mean"]}
    for name, values in rows.items():
        queries = values.get("queries", "")
        lines.append(
            f"{name:<8} {queries:>8} {100 * values['R@1']:6.1f} {100 * values['mMP@5']:6.1f}"
        )
    return "\n".join(lines)
