"""Two towers into one embedding space: images, videos and texts, with what they share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from trainer.towers.settings import ImageTower, Model, TextTower
from trainer.towers.transformer import (
    AttentionPooling,
    Compute,
    Trunk,
    masked_mean_pooling,
)


class PatchEmbedder(nnx.Module):
    """Pixels to tokens: a linear map of each patch, learned positions, class token, registers."""

    def __init__(self, tower: ImageTower, compute: Compute, *, rngs: nnx.Rngs) -> None:
        width, self.patch = tower.shape.width, tower.patch
        self.linear = nnx.Linear(
            3 * tower.patch**2,
            width,
            dtype=compute.dtype,
            kernel_init=nnx.initializers.lecun_normal(),
            rngs=rngs,
        )
        patches = (tower.resolution // tower.patch) ** 2
        extra = tower.tokens - patches
        normal = nnx.initializers.normal(width**-0.5)
        self.positions = nnx.Param(normal(rngs.params(), (patches, width), jnp.float32))
        self.extra = (
            nnx.Param(normal(rngs.params(), (extra, width), jnp.float32)) if extra else None
        )
        self.resolution = tower.resolution

    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps uint8 [B, S, S, 3] in 0..255 to [B, tokens, width]; class token and registers first.

        Pixels are scaled to -1..1 here, on the device: uint8 crosses the bus.
        """
        side = self.resolution // self.patch
        if images.shape[1:] != (self.resolution, self.resolution, 3):
            raise ValueError(
                f"images are {images.shape[1:]}, the tower takes "
                f"{(self.resolution, self.resolution, 3)}; set the loader's resolution"
            )
        x = images.astype(self.linear.dtype) / 127.5 - 1
        x = x.reshape(-1, side, self.patch, side, self.patch, 3)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(images.shape[0], side**2, -1)
        x = self.linear(x)
        x = x + self.positions[...].astype(x.dtype)
        if self.extra is None:
            return x
        extra = self.extra[...].astype(x.dtype)
        extra = jnp.broadcast_to(extra, (x.shape[0], *extra.shape))
        return jnp.concatenate([extra, x], axis=1)


class TokenEmbedder(nnx.Module):
    """Token ids to vectors, with learned positions."""

    def __init__(self, tower: TextTower, compute: Compute, *, rngs: nnx.Rngs) -> None:
        width = tower.shape.width
        normal = nnx.initializers.normal(width**-0.5)
        self.table = nnx.Param(normal(rngs.params(), (tower.vocabulary_size, width), jnp.float32))
        self.positions = nnx.Param(normal(rngs.params(), (tower.length, width), jnp.float32))
        self.dtype = compute.dtype

    def __call__(self, ids: jax.Array) -> jax.Array:
        """Maps int32 [B, length] to [B, length, width]."""
        x = jnp.take(self.table[...], ids, axis=0) + self.positions[...]
        return x.astype(self.dtype)


class Encoder(nnx.Module):
    """One tower: embedder, trunk, pooling, projection."""

    def __init__(
        self,
        tower: ImageTower | TextTower,
        model: Model,
        other: Encoder | None = None,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds the tower; what the model shares is taken from the `other` one."""
        compute = Compute(jnp.dtype(model.precision), model.rematerialise, model.attention)
        whole = other if model.sharing == "sde" else None
        self.kind, self.pooling = tower.kind, tower.pooling
        self.registers = tower.registers if isinstance(tower, ImageTower) else 0
        self.embedder: PatchEmbedder | TokenEmbedder
        if whole is not None and whole.kind == tower.kind:
            self.embedder = whole.embedder
        elif isinstance(tower, ImageTower):
            self.embedder = PatchEmbedder(tower, compute, rngs=rngs)
        else:
            self.embedder = TokenEmbedder(tower, compute, rngs=rngs)
        self.trunk: Trunk = whole.trunk if whole else Trunk(tower.shape, compute, rngs=rngs)
        pool = whole.pool if whole else None
        if tower.pooling != "attention":
            pool = None
        elif pool is None:
            pool = AttentionPooling(tower.shape, compute, rngs=rngs)
        self.pool: AttentionPooling | None = pool
        self.projection: nnx.Linear = (
            other.projection
            if other is not None and model.sharing != "ade"
            else nnx.Linear(tower.shape.width, model.width, use_bias=False, rngs=rngs)
        )

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Returns float32 [B, width], not normalised.

        Args:
            inputs: uint8 [B, S, S, 3] images, uint8 [B, T, S, S, 3] videos (the mean over the
                embeddings of T frames, as CoCa does), or int32 [B, length] token ids.
            mask: bool [B, length], False where a token is padding; None for images.
        """
        if self.kind == "image" and inputs.ndim == 5:
            batch, frames = inputs.shape[:2]
            embedded = self(inputs.reshape(batch * frames, *inputs.shape[2:]))
            return jnp.mean(embedded.reshape(batch, frames, -1), axis=1)
        # A text without tokens attends to its padding instead of to nothing.
        keys = None if mask is None else mask | ~jnp.any(mask, axis=1, keepdims=True)
        embedding: jax.Array = self.projection(self._pooled(inputs, mask, keys))
        return embedding

    def _pooled(
        self, inputs: jax.Array, mask: jax.Array | None, keys: jax.Array | None
    ) -> jax.Array:
        x = self.trunk(self.embedder(inputs), keys)
        if self.pool is not None:
            return self.pool(x, keys)
        if self.pooling == "cls":
            return x[:, 0]
        if mask is not None:
            return masked_mean_pooling(x, mask)
        return jnp.mean(x[:, self.registers :], axis=1)


class DualEncoder(nnx.Module):
    """A query tower and a positive tower that embed into one space."""

    def __init__(self, model: Model, *, rngs: nnx.Rngs) -> None:
        self.query = Encoder(model.query, model, rngs=rngs)
        self.positive = Encoder(model.positive, model, self.query, rngs=rngs)
