"""Retrieval, classification and intervals over embeddings: pure functions of numpy arrays.

Ties count against the model: a relevant item that shares its score with another is ranked behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

_ROWS = 1024
"""Rows of a score matrix that are held at once."""

_SCORES = 1 << 27
"""Scores that are held at once, where the index may be of millions."""


def normalise(x: Floats) -> NDArray[np.float32]:
    """Returns float32 [N, D] of unit norm; zeros stay zeros."""
    x = np.asarray(x, np.float32)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = x / np.maximum(norm, np.float32(1e-12))
    return unit


def first_relevant_ranks(
    queries: Floats, items: Floats, query_groups: Integers, item_groups: Integers
) -> NDArray[np.int64]:
    """Returns the rank of the best relevant item for each query, from 0: int64 [Q].

    An item is relevant where its group is the query's, so that any of an image's captions counts
    (COCO's protocol). Rank is the number of irrelevant items that score at least as high.

    Args:
        queries: float [Q, D], of unit norm where scores are cosines.
        items: float [N, D].
        query_groups: int [Q].
        item_groups: int [N]; every query has at least one item of its group.

    Raises:
        ValueError: a query has no relevant item.
    """
    missing = ~np.isin(query_groups, item_groups)
    if missing.any():
        raise ValueError(
            f"{int(missing.sum())} queries have no relevant item, the first is number "
            f"{int(np.argmax(missing))}; leave them out, or add their items"
        )
    ranks = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), _ROWS):
        rows = slice(start, start + _ROWS)
        scores = queries[rows] @ items.T
        relevant = query_groups[rows, None] == item_groups[None, :]
        best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
        ranks[rows] = np.sum((scores >= best) & ~relevant, axis=1)
    return ranks


def recall_at(ranks: Integers, k: int) -> float:
    """Returns the share of ranks below k, in 0..1."""
    return float(np.mean(ranks < k))


def mean_modified_precision(relevance: NDArray[np.bool_], relevant: Integers, k: int = 5) -> float:
    """Returns mMP@k, in 0..1 (UnED, 2309.01858): precision at min(k, n_q), for n_q relevant items.

    Args:
        relevance: bool [Q, at least min(k, n_q)], whether each of the best items is relevant.
        relevant: int [Q], n_q, how many relevant items the index holds for the query, at least 1.
        k: depth.
    """
    depth = np.minimum(relevant, k)
    if np.any(depth < 1):
        raise ValueError("mMP takes queries with a relevant item only; leave the others out")
    counted = np.arange(relevance.shape[1])[None, :] < depth[:, None]
    return float(np.mean(np.sum(relevance & counted, axis=1) / depth))


def best_relevance(
    queries: Floats,
    items: Floats,
    wanted: Integers,
    groups: Integers,
    k: int,
    own: Integers,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Returns whether each of the k best items is relevant, best first, and how many are at all.

    Args:
        queries: float [Q, D].
        items: float [N, D].
        wanted: int [Q, L], groups that are relevant to each query; -1 where it has fewer.
        groups: int [N], group of each item, from 0.
        k: depth.
        own: int [Q], position of the query among the items, where it is no answer; -1 elsewhere.

    Returns:
        bool [Q, min(k, N)], with misses first among equal scores and False where nothing is left;
        and int64 [Q], the relevant items of each query.
    """
    k = min(k, len(items))
    hits = np.zeros((len(queries), k), np.bool_)
    counts = np.zeros(len(queries), np.int64)
    step = max(1, min(_ROWS, _SCORES // len(items)))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        scores = queries[rows] @ items.T
        relevant = (wanted[rows, :, None] == groups).any(axis=1)
        inside = np.flatnonzero(own[rows] >= 0)
        scores[inside, own[rows][inside]] = -np.inf
        relevant[inside, own[rows][inside]] = False
        counts[rows] = relevant.sum(axis=1)
        bound = np.partition(scores, -k, axis=1)[:, -k]
        for row in range(len(scores)):
            best = np.flatnonzero(scores[row] >= bound[row])
            order = np.lexsort((relevant[row, best], -scores[row, best]))[:k]
            hits[start + row] = relevant[row, best[order]]
    return hits, counts


def nearest(
    queries: Floats, items: Floats, k: int, *, exclude_self: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Returns positions and scores of the k best items of each query, best first: [Q, k].

    Equal scores are in the order of the items.

    Args:
        queries: float [Q, D].
        items: float [N, D].
        k: how many; at most N, or N - 1 with `exclude_self`.
        exclude_self: queries and items are the same set: item i is no answer to query i.
    """
    found = np.empty((len(queries), k), np.int64)
    scored = np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), _ROWS):
        scores = queries[start : start + _ROWS] @ items.T
        if exclude_self:
            rows = np.arange(len(scores))
            scores[rows, rows + start] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        found[start : start + _ROWS] = order
        scored[start : start + _ROWS] = np.take_along_axis(scores, order, axis=1)
    return found, scored


def class_vectors(prompts: Floats, classes: Integers, count: int) -> NDArray[np.float32]:
    """Returns a unit vector per class: the mean over its prompts' unit vectors, normalised again.

    Args:
        prompts: float [P, D], embeddings of prompts ("a photo of a cat").
        classes: int [P], class of each prompt.
        count: number of classes C; each has a prompt.
    """
    sums = np.zeros((count, prompts.shape[1]), np.float64)
    np.add.at(sums, classes, normalise(prompts))
    return normalise(sums / np.bincount(classes, minlength=count)[:, None])


def classification_ranks(
    embeddings: Floats, vectors: Floats, labels: Integers
) -> NDArray[np.int64]:
    """Returns the rank of the right class of each item, from 0: int64 [N]. Ties as elsewhere.

    Args:
        embeddings: float [N, D], unit norm.
        vectors: float [C, D], of `class_vectors`.
        labels: int [N].
    """
    return first_relevant_ranks(embeddings, vectors, labels, np.arange(len(vectors)))


def mean_per_class(correct: NDArray[np.bool_], labels: Integers) -> float:
    """Returns the mean over classes of the share of correct items."""
    _, positions = np.unique(labels, return_inverse=True)
    return float(np.mean(np.bincount(positions, weights=correct) / np.bincount(positions)))


def knn_predictions(
    queries: Floats,
    items: Floats,
    labels: Integers,
    *,
    k: int = 20,
    temperature: float = 0.07,
    exclude_self: bool = False,
) -> NDArray[np.int64]:
    """Returns the class that the k nearest items vote for, each with exp(cosine / temperature).

    (DINO's protocol, 2104.14294.) A tie goes to the smaller label.

    Args:
        queries: float [Q, D], unit norm.
        items: float [N, D], unit norm.
        labels: int [N], from 0.
        k: neighbours; all items where there are fewer.
        temperature: of the votes.
        exclude_self: queries and items are the same set.
    """
    k = min(k, len(items) - exclude_self)
    found, scores = nearest(queries, items, k, exclude_self=exclude_self)
    weights = np.exp((scores - scores[:, :1]) / temperature)
    votes = np.zeros((len(queries), int(labels.max()) + 1), np.float64)
    np.add.at(votes, (np.arange(len(queries))[:, None], labels[found]), weights)
    predicted: NDArray[np.int64] = np.argmax(votes, axis=1)
    return predicted


def paired_bootstrap(
    first: Sequence[Floats],
    second: Sequence[Floats],
    *,
    seed: int,
    rounds: int = 1000,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """Returns the mean difference second - first with its interval: (difference, low, high).

    Queries are drawn with replacement, the same ones for both models, which is what makes the
    comparison paired. Runs with several seeds are drawn too: a round takes a random run of each.

    Args:
        first: per run, float [Q], a value per query (1 where it was answered right).
        second: likewise of the other model, for the same queries in the same order.
        seed: of the draws.
        rounds: of resampling.
        level: of the interval, in 0..1.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape[1:] != other.shape[1:]:
        raise ValueError(
            f"paired values are of the same queries: {one.shape[1]} and {other.shape[1]} differ"
        )
    rng = np.random.Generator(np.random.Philox(key=seed))
    differences = np.empty(rounds)
    for start in range(0, rounds, 64):
        size = min(64, rounds - start)
        drawn = rng.integers(0, one.shape[1], (size, one.shape[1]))
        runs = rng.integers(0, (len(one), len(other)), (size, 2))
        gains = other[runs[:, 1:], drawn] - one[runs[:, :1], drawn]
        differences[start : start + size] = gains.mean(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return float(other.mean() - one.mean()), float(low), float(high)
