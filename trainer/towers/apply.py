"""Towers as pure functions of a plain tree of parameters."""

from __future__ import annotations

from typing import Any, Literal

import jax
from flax import nnx

from trainer.towers.dual import DualEncoder
from trainer.towers.settings import Model

Tree = dict[str, Any]
"""Nested dictionaries of float32 arrays."""


class Towers:
    """The towers of a model, without parameters: `embed` takes them as an argument.

    Flax NNX defines modules; everything around them sees plain trees, `jit` and `grad`.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        abstract = nnx.eval_shape(lambda: DualEncoder(model, rngs=nnx.Rngs(0)))
        self._graph, self._abstract = nnx.split(abstract)

    def initial_parameters(self, key: jax.Array) -> Tree:
        """Returns new parameters, a pure function of the JAX random key."""
        state = nnx.state(DualEncoder(self.model, rngs=nnx.Rngs(key)))
        parameters: Tree = nnx.to_pure_dict(state)
        return parameters

    def embed(
        self,
        parameters: Tree,
        side: Literal["query", "positive"],
        inputs: jax.Array,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the float32 [B, width] embeddings of one side, not normalised."""
        state = jax.tree.map(lambda leaf: leaf, self._abstract)
        nnx.replace_by_pure_dict(state, parameters)
        encoder = getattr(nnx.merge(self._graph, state), side)
        embeddings: jax.Array = encoder(inputs, mask)
        return embeddings
