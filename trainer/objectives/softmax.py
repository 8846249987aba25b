"""Softmax contrastive loss, memory-lean: ALIGN, CLIP, SamToNe, Gemini Embedding, EmbeddingGemma.

For an anchor x_i, its positive y_i and similarity s, at scale 1/sigma:

    l_i = -log e^{s(x_i, y_i)/sigma} / (sum_j e^{s(x_i, y_j)/sigma} [+ same tower] [+ hard])

The candidates j leave out padding and, with `mask_duplicates`, every j != i whose query or positive
is the same content as that of i. The positive itself always stays: Gemini Embedding's mask as
printed (2503.07891, eq. 2) would remove it from the denominator.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from trainer.objectives.blocks import Blocking, map_rows, row_numbers
from trainer.objectives.pairs import Pairs, equal_ids, masked_mean, normalise, similarity
from trainer.objectives.settings import Softmax

EXCLUDED = -1e9
"""Logit of what is no candidate. Finite, so that the gradient of an empty row is no NaN."""


class _Anchors(NamedTuple):
    vector: jax.Array
    hard: jax.Array
    number: jax.Array
    query_id: jax.Array
    positive_id: jax.Array


class _Candidates(NamedTuple):
    vector: jax.Array
    same_tower: jax.Array | None
    mask: jax.Array
    number: jax.Array
    query_id: jax.Array
    positive_id: jax.Array


def initial_parameters(settings: Softmax) -> dict[str, jax.Array]:
    """Returns the learned parameters: `log_scale`, float32 [], where the scale is learned."""
    return {"log_scale": jnp.log(jnp.float32(settings.scale))} if settings.learn_scale else {}


def scale_of(parameters: dict[str, jax.Array], scale: float, max_scale: float) -> jax.Array:
    """Returns 1/sigma, float32 []: the learned one, clamped, or the fixed one."""
    if "log_scale" not in parameters:
        fixed: jax.Array = jnp.float32(scale)
        return fixed
    learned: jax.Array = jnp.minimum(jnp.exp(parameters["log_scale"]), max_scale)
    return learned


def softmax_loss(
    settings: Softmax, pairs: Pairs, parameters: dict[str, jax.Array], blocking: Blocking
) -> jax.Array:
    """Returns the loss of the batch, float32 []: a mean over unmasked rows.

    Raises:
        ValueError: hard negatives are asked for and the pairs hold none.
    """
    scale = scale_of(parameters, settings.scale, settings.max_scale)
    query, positive = normalise(pairs.query), normalise(pairs.positive)
    hard = _hard_logits(settings, pairs, query, scale)
    none = jnp.full(pairs.mask.shape, EXCLUDED, jnp.float32)
    forward = _direction(settings, pairs, (query, positive, hard), scale, blocking)
    if settings.directions == "query":
        return forward
    backward = _direction(settings, pairs, (positive, query, none), scale, blocking)
    return (forward + backward) * (0.5 if settings.reduction == "mean" else 1.0)


def hardness_weight(similarities: jax.Array, hardness: float) -> jax.Array:
    """Returns exp(alpha sg(s)), the weight of a hard negative; no gradient flows through it."""
    return jnp.exp(hardness * jax.lax.stop_gradient(similarities))


def _hard_logits(settings: Softmax, pairs: Pairs, query: jax.Array, scale: jax.Array) -> jax.Array:
    """Returns float32 [B]: log of the summed weights and exponentials of a row's hard negatives."""
    if not settings.hard_negatives:
        return jnp.full(pairs.mask.shape, EXCLUDED, jnp.float32)
    if pairs.negatives is None or pairs.negative_mask is None:
        raise ValueError(
            f"objective {settings.label!r} has hard_negatives = true, but the batches hold none; "
            "mine them into the mixture, or set hard_negatives = false"
        )
    similarities = jnp.einsum(
        "bd,bkd->bk", query, normalise(pairs.negatives), precision=jax.lax.Precision.HIGHEST
    )
    logits = scale * similarities + jnp.log(hardness_weight(similarities, settings.hardness))
    return jax.nn.logsumexp(jnp.where(pairs.negative_mask, logits, EXCLUDED), axis=-1)


def _direction(
    settings: Softmax,
    pairs: Pairs,
    vectors: tuple[jax.Array, jax.Array, jax.Array],
    scale: jax.Array,
    blocking: Blocking,
) -> jax.Array:
    anchor, candidate, hard = vectors
    numbers = row_numbers(anchor.shape[0])
    rows = _Anchors(anchor, hard, numbers, pairs.query_id, pairs.positive_id)
    columns = _Candidates(
        candidate,
        anchor if settings.same_tower_negatives else None,
        pairs.mask,
        numbers,
        pairs.query_id,
        pairs.positive_id,
    )
    losses = map_rows(functools.partial(_row_losses, settings), rows, columns, scale, blocking)
    return masked_mean(losses, pairs.mask)


def _row_losses(
    settings: Softmax, rows: _Anchors, columns: _Candidates, scale: jax.Array
) -> jax.Array:
    """Returns the losses of a block of r anchors against all candidates, float32 [r]."""
    logits = scale * similarity(rows.vector, columns.vector)
    itself = rows.number[:, None] == columns.number[None, :]
    others = ~itself & columns.mask[None, :]
    if settings.mask_duplicates:
        others &= ~equal_ids(rows.query_id, columns.query_id)
        others &= ~equal_ids(rows.positive_id, columns.positive_id)
    target = jnp.sum(jnp.where(itself, logits, 0.0), axis=-1)
    negatives = jax.nn.logsumexp(jnp.where(others, logits, EXCLUDED), axis=-1)
    if columns.same_tower is not None:
        same = scale * similarity(rows.vector, columns.same_tower)
        same_tower = jax.nn.logsumexp(jnp.where(others, same, EXCLUDED), axis=-1)
        negatives = jnp.logaddexp(negatives, same_tower)
    negatives = jnp.logaddexp(negatives, rows.hard)
    # log(1 + e^(negatives - target)) keeps its digits where the positive wins by far.
    losses = jax.nn.softplus(negatives - target)
    if settings.smoothing:
        count = 1 + jnp.sum(others, axis=-1)
        mean = (target + jnp.sum(jnp.where(others, logits, 0.0), axis=-1)) / count
        losses += settings.smoothing * (target - mean)
    return losses
