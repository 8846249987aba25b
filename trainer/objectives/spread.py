"""Spread-out regulariser, memory-lean (GOR, 1708.06320, as EmbeddingGemma, 2509.20354, uses it).

L = 1/(B(B-1)) sum_{i != j} (q_i . q_j)^2  +  the same over positives
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from trainer.objectives.pairs import Pairs, normalise


def spread_out_loss(pairs: Pairs) -> jax.Array:
    """Returns the regulariser of both sides, float32 []; 0 with fewer than two unmasked rows."""
    return second_moment(pairs.query, pairs.mask) + second_moment(pairs.positive, pairs.mask)


def second_moment(vectors: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the mean of (x_i . x_j)^2 over i != j of unmasked, normalised rows, float32 [].

    The sum over all pairs is the squared Frobenius norm of the D x D matrix X^T X, which takes
    O(D^2) memory where the scores would take O(B^2).
    """
    x = jnp.where(mask[:, None], normalise(vectors), 0.0)
    gram = jnp.einsum("bd,be->de", x, x, precision=jax.lax.Precision.HIGHEST)
    itself = jnp.sum(jnp.square(jnp.sum(jnp.square(x), axis=-1)))
    count = jnp.sum(mask).astype(jnp.float32)
    return (jnp.sum(jnp.square(gram)) - itself) / jnp.maximum(count * (count - 1), 1.0)
