"""Distillation from vectors that a teacher stored in the mixture: no teacher runs in training."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from trainer.objectives.blocks import Blocking, map_rows, row_numbers
from trainer.objectives.pairs import Pairs, masked_mean, normalise, similarity
from trainer.objectives.settings import Matching, SimilarityMatching
from trainer.objectives.softmax import EXCLUDED, scale_of


def projection(key: jax.Array, width: int, teacher_width: int) -> dict[str, jax.Array]:
    """Returns the learned `projection`, float32 [width, teacher_width], where the widths differ."""
    if width == teacher_width:
        return {}
    shape = (width, teacher_width)
    return {"projection": jax.random.normal(key, shape, jnp.float32) * width**-0.5}


def matching_loss(settings: Matching, pairs: Pairs, parameters: dict[str, jax.Array]) -> jax.Array:
    """Returns the distance to the teacher's vectors, summed over the sides of a pair, float32 [].

    Queries, positives and, where both sides have them, hard negatives count with equal weights
    (EmbeddingGemma, 2509.20354; geometric distillation).
    """
    mask = _teacher_mask(settings.label, pairs)
    total: jax.Array = jnp.float32(0)
    for student, teacher in (
        (pairs.query, pairs.teacher_query),
        (pairs.positive, pairs.teacher_positive),
    ):
        if teacher is not None:
            total += masked_mean(_distance(settings, student, teacher, parameters), mask)
    if pairs.negatives is not None and pairs.teacher_negatives is not None:
        distance = _distance(settings, pairs.negatives, pairs.teacher_negatives, parameters)
        present = mask[:, None] & (True if pairs.negative_mask is None else pairs.negative_mask)
        total += masked_mean(distance, present)
    return total


def _distance(
    settings: Matching, student: jax.Array, teacher: jax.Array, parameters: dict[str, jax.Array]
) -> jax.Array:
    student, teacher = normalise(student), normalise(teacher)
    if "projection" in parameters:
        student = jnp.einsum(
            "...d,dt->...t",
            student,
            parameters["projection"],
            precision=jax.lax.Precision.HIGHEST,
        )
    if settings.distance == "squared":
        return jnp.sum(jnp.square(student - teacher), axis=-1)
    return 1 - jnp.sum(normalise(student) * teacher, axis=-1)


class _Rows(NamedTuple):
    student: jax.Array
    teacher: jax.Array
    number: jax.Array


class _Columns(NamedTuple):
    student: jax.Array
    teacher: jax.Array
    number: jax.Array
    mask: jax.Array


def similarity_matching_loss(
    settings: SimilarityMatching,
    pairs: Pairs,
    parameters: dict[str, jax.Array],
    blocking: Blocking,
) -> jax.Array:
    """Returns the cross entropy of the student's batch softmax with the teacher's, float32 [].

        1/2 sum over directions of CE(softmax(k X_t Y_t^T), softmax(X Y^T / tau))

    (MobileCLIP, 2311.17049, eq. 3.) Rows without a teacher are neither anchors nor candidates.
    """
    mask = _teacher_mask(settings.label, pairs)
    if pairs.teacher_query is None or pairs.teacher_positive is None:
        raise ValueError(f"objective {settings.label!r} needs the teacher's vectors of both sides")
    scale = scale_of(parameters, settings.scale, settings.max_scale)
    student = normalise(pairs.query), normalise(pairs.positive)
    teacher = normalise(pairs.teacher_query), normalise(pairs.teacher_positive)
    numbers = row_numbers(mask.shape[0])
    function = functools.partial(_row_losses, settings.teacher_scale)
    total: jax.Array = jnp.float32(0)
    for a, b in ((0, 1), (1, 0)):
        rows = _Rows(student[a], teacher[a], numbers)
        columns = _Columns(student[b], teacher[b], numbers, mask)
        losses = map_rows(function, rows, columns, scale, blocking)
        total += 0.5 * masked_mean(losses, mask)
    return total


def _row_losses(
    teacher_scale: float, rows: _Rows, columns: _Columns, scale: jax.Array
) -> jax.Array:
    # The row itself stays a candidate so that a masked row is no softmax over nothing.
    allowed = (rows.number[:, None] == columns.number[None, :]) | columns.mask[None, :]
    logits = jnp.where(allowed, scale * similarity(rows.student, columns.student), EXCLUDED)
    targets = teacher_scale * similarity(rows.teacher, columns.teacher)
    weights = jax.nn.softmax(jnp.where(allowed, targets, EXCLUDED), axis=-1)
    total = jax.nn.logsumexp(logits, axis=-1)
    return total - jnp.sum(jnp.where(allowed, weights * logits, 0.0), axis=-1)


def _teacher_mask(label: str, pairs: Pairs) -> jax.Array:
    """Returns the rows with teacher vectors, bool [B]; ValueError where the batch has none."""
    if pairs.teacher_query is None and pairs.teacher_positive is None:
        raise ValueError(
            f"objective {label!r} distils from stored teacher vectors, but the batches hold none; "
            "store them in the shards (npz), or remove the objective"
        )
    return pairs.mask if pairs.teacher_mask is None else pairs.mask & pairs.teacher_mask
