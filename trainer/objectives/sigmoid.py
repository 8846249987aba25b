"""Pairwise sigmoid loss, memory-lean (SigLIP, 2303.15343).

L = -1/B sum_i sum_j log sigmoid(z_ij (t s_ij + b)),  z_ij = 1 where i = j, else -1
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from trainer.objectives.blocks import Blocking, map_rows, row_numbers
from trainer.objectives.pairs import Pairs, equal_ids, masked_mean, normalise, similarity
from trainer.objectives.settings import Sigmoid


class _Side(NamedTuple):
    vector: jax.Array
    mask: jax.Array
    number: jax.Array
    query_id: jax.Array
    positive_id: jax.Array


def initial_parameters(settings: Sigmoid) -> dict[str, jax.Array]:
    """Returns the learned parameters `log_scale` and `bias`, float32 []."""
    return {
        "log_scale": jnp.log(jnp.float32(settings.scale)),
        "bias": jnp.float32(settings.bias),
    }


def sigmoid_loss(
    settings: Sigmoid, pairs: Pairs, parameters: dict[str, jax.Array], blocking: Blocking
) -> jax.Array:
    """Returns the loss of the batch, float32 []: a sum over candidates, a mean over queries."""
    numbers = row_numbers(pairs.mask.shape[0])
    ids = (pairs.mask, numbers, pairs.query_id, pairs.positive_id)
    rows = _Side(normalise(pairs.query), *ids)
    columns = _Side(normalise(pairs.positive), *ids)
    shared = (jnp.exp(parameters["log_scale"]), parameters["bias"])
    losses = map_rows(functools.partial(_row_losses, settings), rows, columns, shared, blocking)
    return masked_mean(losses, pairs.mask)


def _row_losses(
    settings: Sigmoid, rows: _Side, columns: _Side, shared: tuple[jax.Array, jax.Array]
) -> jax.Array:
    """Returns the losses of a block of r queries against all candidates, float32 [r]."""
    scale, bias = shared
    logits = scale * similarity(rows.vector, columns.vector) + bias
    itself = rows.number[:, None] == columns.number[None, :]
    counted = columns.mask[None, :]
    if settings.mask_duplicates:
        duplicate = equal_ids(rows.query_id, columns.query_id)
        duplicate |= equal_ids(rows.positive_id, columns.positive_id)
        counted = counted & (itself | ~duplicate)
    losses = -jax.nn.log_sigmoid(jnp.where(itself, logits, -logits))
    return jnp.sum(jnp.where(counted, losses, 0.0), axis=-1)
