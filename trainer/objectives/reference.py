"""The objectives as the papers print them: whole B x B matrices, no blocks, no mesh.

Tests prove the memory-lean versions equal to these, in values and gradients.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from trainer.objectives.pairs import Pairs, normalise
from trainer.objectives.settings import Matching, Objective, Sigmoid, SimilarityMatching, Softmax

Parameters = dict[str, jax.Array]


def reference_loss(objective: Objective, pairs: Pairs, parameters: Parameters) -> jax.Array:
    """Returns what `compose.loss_of` returns, float32 []."""
    widths = getattr(objective, "widths", ()) or (pairs.width,)
    factors = getattr(objective, "width_weights", ()) or (1.0,) * len(widths)
    total = jnp.zeros(())
    for width, factor in zip(widths, factors, strict=True):
        total += factor * _at_width(objective, pairs.prefix(width), parameters)
    return total


def _at_width(objective: Objective, pairs: Pairs, parameters: Parameters) -> jax.Array:
    if isinstance(objective, Softmax):
        return _softmax(objective, pairs, parameters)
    if isinstance(objective, Sigmoid):
        return _sigmoid(objective, pairs, parameters)
    if isinstance(objective, Matching):
        return _matching(objective, pairs, parameters)
    if isinstance(objective, SimilarityMatching):
        return _similarity_matching(objective, pairs, parameters)
    return _spread_out(pairs.query, pairs.mask) + _spread_out(pairs.positive, pairs.mask)


def _unit(x: jax.Array) -> jax.Array:
    return x / jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True))


def _duplicates(pairs: Pairs) -> jax.Array:
    query = (pairs.query_id[:, None] == pairs.query_id[None]).all(-1)
    positive = (pairs.positive_id[:, None] == pairs.positive_id[None]).all(-1)
    return query | positive


def _present(mask: jax.Array | None, values: jax.Array) -> jax.Array:
    return values if mask is None else jnp.where(mask, values, 0)


def _mean(losses: jax.Array, mask: jax.Array) -> jax.Array:
    return jnp.where(mask, losses, 0).sum() / mask.sum()


def _softmax(objective: Softmax, pairs: Pairs, parameters: Parameters) -> jax.Array:
    scale = jnp.float32(objective.scale)
    if objective.learn_scale:
        scale = jnp.minimum(jnp.exp(parameters["log_scale"]), objective.max_scale)
    query, positive = _unit(pairs.query), _unit(pairs.positive)
    size = query.shape[0]
    itself: jax.Array = jnp.eye(size, dtype=bool)
    negative = ~itself & pairs.mask[None, :]
    if objective.mask_duplicates:
        negative &= ~_duplicates(pairs)

    def direction(x: jax.Array, y: jax.Array, hard: jax.Array) -> jax.Array:
        logits = scale * x @ y.T
        bottom = jnp.where(itself | negative, jnp.exp(logits), 0).sum(1) + hard
        if objective.same_tower_negatives:
            bottom += jnp.where(negative, jnp.exp(scale * x @ x.T), 0).sum(1)
        allowed = itself | negative
        target = objective.smoothing * allowed / allowed.sum(1, keepdims=True)
        target += (1 - objective.smoothing) * itself
        return _mean(-(target * (logits - jnp.log(bottom)[:, None])).sum(1), pairs.mask)

    hard = jnp.zeros(size)
    if objective.hard_negatives and pairs.negatives is not None:
        similarities = (query[:, None] * _unit(pairs.negatives)).sum(-1)
        weights = jnp.exp(objective.hardness * jax.lax.stop_gradient(similarities))
        terms = weights * jnp.exp(scale * similarities)
        hard = _present(pairs.negative_mask, terms).sum(1)
    forward = direction(query, positive, hard)
    if objective.directions == "query":
        return forward
    both = forward + direction(positive, query, jnp.zeros(size))
    return both / 2 if objective.reduction == "mean" else both


def _sigmoid(objective: Sigmoid, pairs: Pairs, parameters: Parameters) -> jax.Array:
    logits = jnp.exp(parameters["log_scale"]) * _unit(pairs.query) @ _unit(pairs.positive).T
    itself = jnp.eye(logits.shape[0], dtype=bool)
    sign = jnp.where(itself, 1.0, -1.0)
    counted = pairs.mask[None, :] & jnp.ones_like(itself)
    if objective.mask_duplicates:
        counted &= itself | ~_duplicates(pairs)
    losses = -jnp.log(jax.nn.sigmoid(sign * (logits + parameters["bias"])))
    return _mean(jnp.where(counted, losses, 0).sum(1), pairs.mask)


def _spread_out(vectors: jax.Array, mask: jax.Array) -> jax.Array:
    unit = _unit(vectors)
    other = ~jnp.eye(len(unit), dtype=bool) & mask[:, None] & mask[None, :]
    return jnp.where(other, (unit @ unit.T) ** 2, 0).sum() / other.sum()


def _matching(objective: Matching, pairs: Pairs, parameters: Parameters) -> jax.Array:
    mask = pairs.mask if pairs.teacher_mask is None else pairs.mask & pairs.teacher_mask
    negative_mask = mask[:, None]
    if pairs.negative_mask is not None:
        negative_mask &= pairs.negative_mask
    sides = [
        (pairs.query, pairs.teacher_query, mask),
        (pairs.positive, pairs.teacher_positive, mask),
        (pairs.negatives, pairs.teacher_negatives, negative_mask),
    ]
    total = jnp.zeros(())
    for student, teacher, present in sides:
        if student is None or teacher is None:
            continue
        mapped = normalise(student)
        if "projection" in parameters:
            mapped = mapped @ parameters["projection"]
        if objective.distance == "squared":
            distance = ((mapped - _unit(teacher)) ** 2).sum(-1)
        else:
            distance = 1 - (_unit(mapped) * _unit(teacher)).sum(-1)
        total += _mean(distance, present)
    return total


def _similarity_matching(
    objective: SimilarityMatching, pairs: Pairs, parameters: Parameters
) -> jax.Array:
    mask = pairs.mask if pairs.teacher_mask is None else pairs.mask & pairs.teacher_mask
    if pairs.teacher_query is None or pairs.teacher_positive is None:
        raise ValueError("similarity matching needs the teacher's vectors of both sides")
    scale = jnp.minimum(jnp.exp(parameters["log_scale"]), objective.max_scale)
    logits = scale * _unit(pairs.query) @ _unit(pairs.positive).T
    teacher = _unit(pairs.teacher_query) @ _unit(pairs.teacher_positive).T
    targets = objective.teacher_scale * teacher
    allowed = jnp.eye(len(mask), dtype=bool) | mask[None, :]
    total = jnp.zeros(())
    for student_logits, teacher_logits in ((logits, targets), (logits.T, targets.T)):
        weights = jax.nn.softmax(jnp.where(allowed, teacher_logits, -jnp.inf))
        logs = jax.nn.log_softmax(jnp.where(allowed, student_logits, -1e9))
        total += _mean(-(weights * logs).sum(1), mask) / 2
    return total
