"""One optimiser step, as a pure function of the state and a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from trainer.mesh import AXIS, replicated
from trainer.objectives import compose
from trainer.objectives.blocks import Blocking
from trainer.objectives.pairs import Pairs, masked_mean
from trainer.optimiser import learning_rate, make_optimiser
from trainer.recipe import TrainRecipe
from trainer.towers.apply import Towers

Array = Any
"""An array of numpy before it is on devices, of JAX afterwards."""

Metrics = dict[str, jax.Array]
"""Numbers of a step by name."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """All that a step changes. A pytree.

    Attributes:
        parameters: `towers` and `objectives`, nested dictionaries of float32 arrays.
        optimiser: state of Optax.
        step: int32 [], steps taken so far.
    """

    parameters: dict[str, Any]
    optimiser: Any
    step: jax.Array


class Side(NamedTuple):
    """What one tower takes: images, or token ids with their mask."""

    values: Array
    mask: Array | None = None


class Features(NamedTuple):
    """A batch as the step takes it; leading axis B everywhere.

    Attributes:
        query, positive: what the towers take.
        mask: bool [B], False where the row is bad.
        source: int32 [B], position of the source in the manifest.
        query_id, positive_id: uint32 [B, 2].
        negative: the hard negative of each row, int32 [B, L].
        negative_mask: bool [B], False where a row has none.
        teacher_query, teacher_positive: float32 [B, T].
    """

    query: Side
    positive: Side
    mask: Array
    source: Array
    query_id: Array
    positive_id: Array
    negative: Side | None = None
    negative_mask: Array | None = None
    teacher_query: Array | None = None
    teacher_positive: Array | None = None


class _Embedded(NamedTuple):
    query: jax.Array
    positive: jax.Array
    negative: jax.Array | None


def initial_state(recipe: TrainRecipe, towers: Towers, mesh: Mesh) -> State:
    """Returns the state before the first step, on every device: a pure function of the recipe."""

    def make() -> State:
        key = jax.random.key(recipe.seed)
        parameters = {
            "towers": towers.initial_parameters(jax.random.fold_in(key, 0)),
            "objectives": compose.initial_parameters(
                recipe.losses,
                recipe.model.width,
                recipe.inputs.teacher_width,
                jax.random.fold_in(key, 1),
            ),
        }
        optimiser = make_optimiser(recipe.optimiser, recipe.steps)
        return State(parameters, optimiser.init(parameters), jnp.zeros((), jnp.int32))

    state: State = jax.jit(make, out_shardings=replicated(mesh))()
    return state


def make_step(
    recipe: TrainRecipe, towers: Towers, mesh: Mesh, sources: int
) -> Callable[[State, Features], tuple[State, Metrics]]:
    """Returns the compiled step for a mixture of so many sources.

    Its metrics: `loss`; by objective `loss/<label>`, unweighted, and `gradient/<label>`, the norm
    of its weighted gradient with respect to the embeddings; `gradient`, the global norm before
    clipping; `learning_rate`; `rows`, int32 [sources], those of each source that are not masked;
    `full/<side>`, the share of texts that fill their tower's length, so that most were cut; and the
    learned scalars of objectives.
    """
    optimiser = make_optimiser(recipe.optimiser, recipe.steps)
    schedule = learning_rate(recipe.optimiser, recipe.steps)
    blocking = Blocking(recipe.block_rows, mesh if mesh.size > 1 else None, AXIS)

    def step(state: State, features: Features) -> tuple[State, Metrics]:
        parameters = state.parameters
        embedded, pull = jax.vjp(
            lambda p: _embed(towers, p, features, recipe.accumulate, mesh), parameters["towers"]
        )
        metrics, to_embedded, to_objectives = _losses(
            recipe, embedded, features, parameters["objectives"], blocking
        )
        gradients = {"towers": pull(to_embedded)[0], "objectives": to_objectives}
        updates, optimiser_state = optimiser.update(gradients, state.optimiser, parameters)
        metrics["gradient"] = optax.global_norm(gradients)
        metrics["learning_rate"] = jnp.asarray(schedule(state.step), jnp.float32)
        for name, side in (("query", features.query), ("positive", features.positive)):
            if side.mask is not None:
                full = jnp.all(side.mask, axis=1).astype(jnp.float32)
                metrics[f"full/{name}"] = masked_mean(full, features.mask)
        metrics["rows"] = jnp.zeros(sources, jnp.int32).at[features.source].add(features.mask)
        updated = optax.apply_updates(parameters, updates)
        return State(updated, optimiser_state, state.step + 1), metrics

    # On CPU a donated buffer could be one that a checkpoint is still being written from.
    donated = () if jax.default_backend() == "cpu" else (0,)
    compiled: Callable[[State, Features], tuple[State, Metrics]] = jax.jit(
        step, donate_argnums=donated, out_shardings=replicated(mesh)
    )
    return compiled


def _losses(
    recipe: TrainRecipe,
    embedded: _Embedded,
    features: Features,
    parameters: compose.Parameters,
    blocking: Blocking,
) -> tuple[Metrics, _Embedded, compose.Parameters]:
    """Returns metrics, and the gradient of the total to the embeddings and to the parameters."""
    compose.check_batch(recipe.losses, _pairs(embedded, features))
    metrics: Metrics = {"loss": jnp.zeros((), jnp.float32)}
    total = jax.tree.map(jnp.zeros_like, embedded)
    to_parameters: compose.Parameters = {}
    for objective in recipe.losses:
        label, weight = objective.label, objective.weight

        def loss(
            embedded: _Embedded, own: dict[str, jax.Array], objective: Any = objective
        ) -> jax.Array:
            return compose.loss_of(objective, _pairs(embedded, features), own, blocking)

        value, (to_embedded, to_own) = jax.value_and_grad(loss, argnums=(0, 1))(
            embedded, parameters[label]
        )
        metrics["loss"] += weight * value
        metrics[f"loss/{label}"] = value
        metrics[f"gradient/{label}"] = weight * optax.global_norm(to_embedded)
        for name, learned in parameters[label].items():
            if learned.ndim == 0:
                metrics[f"{label}/{name}"] = learned
        total = jax.tree.map(lambda a, b, w=weight: a + w * b, total, to_embedded)
        to_parameters[label] = jax.tree.map(lambda g, w=weight: w * g, to_own)
    return metrics, total, to_parameters


def _pairs(embedded: _Embedded, features: Features) -> Pairs:
    negatives, present = None, None
    if embedded.negative is not None and features.negative_mask is not None:
        negatives, present = embedded.negative[:, None], features.negative_mask[:, None]
    return Pairs(
        query=embedded.query,
        positive=embedded.positive,
        mask=features.mask,
        query_id=features.query_id,
        positive_id=features.positive_id,
        negatives=negatives,
        negative_mask=present,
        teacher_query=features.teacher_query,
        teacher_positive=features.teacher_positive,
    )


def _embed(
    towers: Towers, parameters: dict[str, Any], features: Features, pieces: int, mesh: Mesh
) -> _Embedded:
    """Returns the embeddings of a batch, in `pieces` whose activations are not kept together.

    The pieces are recomputed one by one in the backward pass, under the gradient that the objective
    over the whole batch gave (GradCache, 2101.06983).
    """

    def encode(sides: tuple[Side, Side, Side | None]) -> _Embedded:
        query, positive, negative = sides
        return _Embedded(
            towers.embed(parameters, "query", *query),
            towers.embed(parameters, "positive", *positive),
            None if negative is None else towers.embed(parameters, "positive", *negative),
        )

    sides = (features.query, features.positive, features.negative)
    if pieces == 1:
        return encode(sides)

    def cut(array: jax.Array) -> jax.Array:
        # Every piece takes rows of every device: no row moves.
        rows = array.reshape(-1, pieces, *array.shape[1:]).swapaxes(0, 1)
        sharding = NamedSharding(mesh, PartitionSpec(None, AXIS))
        placed: jax.Array = jax.lax.with_sharding_constraint(rows, sharding)
        return placed

    embedded = jax.lax.map(jax.checkpoint(encode), jax.tree.map(cut, sides))
    joined: _Embedded = jax.tree.map(
        lambda array: array.swapaxes(0, 1).reshape(-1, array.shape[-1]), embedded
    )
    return joined
