"""A pre-norm transformer: blocks of attention and MLP, stacked so that depth compiles once."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from trainer.towers.settings import Shape


@dataclasses.dataclass(frozen=True)
class Compute:
    """How a tower computes.

    Attributes:
        dtype: of activations; parameters are float32, and so are layer norms.
        rematerialise: recompute blocks in the backward pass.
        attention: implementation of `jax.nn.dot_product_attention`.
    """

    dtype: jnp.dtype
    rematerialise: bool = False
    attention: Literal["xla", "cudnn"] = "xla"


_XAVIER = nnx.initializers.xavier_uniform()


class Mlp(nnx.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, shape: Shape, compute: Compute, *, rngs: nnx.Rngs) -> None:
        def linear(inputs: int, outputs: int) -> nnx.Linear:
            return nnx.Linear(inputs, outputs, dtype=compute.dtype, kernel_init=_XAVIER, rngs=rngs)

        self.inner = linear(shape.width, shape.mlp)
        self.outer = linear(shape.mlp, shape.width)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., width] to [..., width]."""
        y: jax.Array = self.outer(jax.nn.gelu(self.inner(x)))
        return y


class Attention(nnx.Module):
    """Multi-head attention of queries over keys."""

    def __init__(self, shape: Shape, compute: Compute, *, rngs: nnx.Rngs) -> None:
        def linear() -> nnx.Linear:
            return nnx.Linear(
                shape.width, shape.width, dtype=compute.dtype, kernel_init=_XAVIER, rngs=rngs
            )

        self.query, self.key, self.value, self.out = linear(), linear(), linear(), linear()
        self.heads = shape.heads
        self.implementation = compute.attention

    def __call__(self, x: jax.Array, memory: jax.Array, mask: jax.Array | None) -> jax.Array:
        """Maps x [B, Q, width] and memory [B, N, width] to [B, Q, width].

        Args:
            x: what asks.
            memory: what is attended to.
            mask: bool [B, N], False where memory is padding; None where there is none.
        """
        query, key, value = (
            y.reshape(*y.shape[:-1], self.heads, -1)
            for y in (self.query(x), self.key(memory), self.value(memory))
        )
        attended = jax.nn.dot_product_attention(
            query,
            key,
            value,
            mask=None if mask is None else mask[:, None, None, :],
            implementation=self.implementation,
        )
        y: jax.Array = self.out(attended.reshape(x.shape))
        return y


class Block(nnx.Module):
    """Attention and MLP, each after a layer norm and with a residual."""

    def __init__(self, shape: Shape, compute: Compute, *, rngs: nnx.Rngs) -> None:
        self.attention_norm = nnx.LayerNorm(shape.width, dtype=jnp.float32, rngs=rngs)
        self.attention = Attention(shape, compute, rngs=rngs)
        self.mlp_norm = nnx.LayerNorm(shape.width, dtype=jnp.float32, rngs=rngs)
        self.mlp = Mlp(shape, compute, rngs=rngs)
        self.dtype = compute.dtype

    def __call__(self, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        """Maps [B, N, width] to [B, N, width]."""
        y = self.attention_norm(x).astype(self.dtype)
        x = x + self.attention(y, y, mask)
        return x + self.mlp(self.mlp_norm(x).astype(self.dtype))


class Trunk(nnx.Module):
    """`depth` blocks and a last layer norm. The parameters of blocks are stacked on axis 0."""

    def __init__(self, shape: Shape, compute: Compute, *, rngs: nnx.Rngs) -> None:
        @nnx.split_rngs(splits=shape.depth)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def stack(rngs: nnx.Rngs) -> Block:
            return Block(shape, compute, rngs=rngs)

        self.blocks = stack(rngs)
        self.norm = nnx.LayerNorm(shape.width, dtype=jnp.float32, rngs=rngs)
        self.rematerialise = compute.rematerialise

    def __call__(self, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        """Maps [B, N, width] to float32 [B, N, width]; mask as in `Attention`."""
        graph, layers = nnx.split(self.blocks)

        def one(x: jax.Array, layer: nnx.State[Any, Any]) -> tuple[jax.Array, None]:
            return nnx.merge(graph, layer)(x, mask), None

        body = jax.checkpoint(one) if self.rematerialise else one
        x, _ = jax.lax.scan(body, x, layers)
        y: jax.Array = self.norm(x)
        return y


class AttentionPooling(nnx.Module):
    """A learned query attends over the sequence, then an MLP (SigLIP's MAP head)."""

    def __init__(self, shape: Shape, compute: Compute, *, rngs: nnx.Rngs) -> None:
        self.probe = nnx.Param(_XAVIER(rngs.params(), (1, shape.width), jnp.float32))
        self.attention = Attention(shape, compute, rngs=rngs)
        self.norm = nnx.LayerNorm(shape.width, dtype=jnp.float32, rngs=rngs)
        self.mlp = Mlp(shape, compute, rngs=rngs)
        self.dtype = compute.dtype

    def __call__(self, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        """Maps [B, N, width] to float32 [B, width]."""
        memory = x.astype(self.dtype)
        probe = jnp.broadcast_to(self.probe[...].astype(self.dtype), (x.shape[0], 1, x.shape[-1]))
        pooled = self.attention(probe, memory, mask)
        pooled = pooled + self.mlp(self.norm(pooled).astype(self.dtype))
        return pooled[:, 0].astype(jnp.float32)


def masked_mean_pooling(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the mean of [B, N, width] over unmasked tokens, float32 [B, width]; 0 of none."""
    weights = mask.astype(jnp.float32)[..., None]
    total = jnp.sum(x.astype(jnp.float32) * weights, axis=1)
    return total / jnp.maximum(jnp.sum(weights, axis=1), 1.0)
