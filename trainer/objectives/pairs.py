"""What every objective takes: the embeddings of one global batch, its masks and content ids."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

SQUARED_NORM_FLOOR = 1e-12
"""Keeps the gradient of `normalise` finite where a masked row embeds to zeros."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairs:
    """The embeddings of a batch of B pairs, in float32. A pytree.

    Attributes:
        query: float32 [B, D], not necessarily of unit norm: objectives normalise.
        positive: float32 [B, D]; row i is the positive of query i.
        mask: bool [B]; False where the row is padding or a bad sample. Such a row is neither an
            anchor nor a candidate.
        query_id, positive_id: uint32 [B, 2], content ids as `split_ids` makes them: equal ids are
            the same content.
        negatives: float32 [B, K, D], hard negatives of each query; None where there are none.
        negative_mask: bool [B, K]; False where a query has fewer than K negatives.
        teacher_query, teacher_positive: float32 [B, T], stored vectors of a teacher.
        teacher_negatives: float32 [B, K, T].
        teacher_mask: bool [B]; False where the teacher's vectors are missing.
    """

    query: jax.Array
    positive: jax.Array
    mask: jax.Array
    query_id: jax.Array
    positive_id: jax.Array
    negatives: jax.Array | None = None
    negative_mask: jax.Array | None = None
    teacher_query: jax.Array | None = None
    teacher_positive: jax.Array | None = None
    teacher_negatives: jax.Array | None = None
    teacher_mask: jax.Array | None = None

    @property
    def width(self) -> int:
        """Dimension D of the embeddings."""
        return int(self.query.shape[-1])

    def prefix(self, width: int) -> Pairs:
        """Returns the pairs cut to the first `width` dimensions (Matryoshka)."""
        if not 0 < width <= self.width:
            raise ValueError(f"Matryoshka width {width} is not within 1 to {self.width}")
        negatives = None if self.negatives is None else self.negatives[..., :width]
        return dataclasses.replace(
            self,
            query=self.query[:, :width],
            positive=self.positive[:, :width],
            negatives=negatives,
        )


def split_ids(ids: np.ndarray) -> np.ndarray:
    """Returns uint64 [B] content ids as uint32 [B, 2].

    JAX has no 64-bit integers by default; 32 bits alone would collide in large batches.
    """
    if ids.dtype != np.uint64:
        raise TypeError(f"content ids are uint64, not {ids.dtype}")
    halves = np.stack([ids >> np.uint64(32), ids & np.uint64(0xFFFFFFFF)], axis=-1)
    return halves.astype(np.uint32)


def normalise(x: jax.Array) -> jax.Array:
    """Returns float32 vectors of unit norm along the last axis; zeros stay zeros."""
    x = x.astype(jnp.float32)
    squared = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(squared, SQUARED_NORM_FLOOR))


def similarity(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns float32 [R, C] inner products of [R, D] and [C, D], in full float32 precision."""
    return jnp.einsum(
        "rd,cd->rc",
        x,
        y,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )


def equal_ids(rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Returns bool [R, C]: whether uint32 [R, 2] and [C, 2] ids are the same content."""
    return jnp.all(rows[:, None, :] == columns[None, :, :], axis=-1)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the mean of values [B] where mask [B] holds; 0 where it never does."""
    total = jnp.sum(jnp.where(mask, values, 0.0))
    return total / jnp.maximum(jnp.sum(mask), 1)
