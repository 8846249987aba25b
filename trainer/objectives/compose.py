"""Objectives of a recipe, by name: their parameters, and their weighted sum."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from trainer.objectives import distillation, sigmoid, softmax, spread
from trainer.objectives.blocks import Blocking
from trainer.objectives.pairs import Pairs
from trainer.objectives.settings import (
    Matching,
    Objective,
    Sigmoid,
    SimilarityMatching,
    Softmax,
    SpreadOut,
)

Parameters = dict[str, dict[str, jax.Array]]
"""Learned parameters of the objectives, by label and name."""

Loss = Callable[[Pairs], jax.Array]


def initial_parameters(
    objectives: Sequence[Objective], width: int, teacher_width: int | None, key: jax.Array
) -> Parameters:
    """Returns the learned parameters of every objective by label.

    Args:
        objectives: the recipe's.
        width: dimension of the student's embeddings.
        teacher_width: dimension of the stored teacher vectors; None where there are none.
        key: JAX random key.

    Raises:
        ValueError: a Matryoshka width exceeds `width`, or a teacher is needed and there is none.
    """
    parameters: Parameters = {}
    for number, objective in enumerate(objectives):
        for prefix in getattr(objective, "widths", ()):
            if prefix > width:
                raise ValueError(
                    f"objective {objective.label!r}: Matryoshka width {prefix} is above the "
                    f"embedding's {width}; lower it, or widen the embedding"
                )
        match objective:
            case Softmax():
                parameters[objective.label] = softmax.initial_parameters(objective)
            case Sigmoid():
                parameters[objective.label] = sigmoid.initial_parameters(objective)
            case SimilarityMatching():
                parameters[objective.label] = {"log_scale": jnp.log(jnp.float32(objective.scale))}
            case Matching():
                if teacher_width is None:
                    raise ValueError(
                        f"objective {objective.label!r} distils, but the recipe names no teacher; "
                        "set teacher_width"
                    )
                parameters[objective.label] = distillation.projection(
                    jax.random.fold_in(key, number), width, teacher_width
                )
            case SpreadOut():
                parameters[objective.label] = {}
    return parameters


def loss_of(
    objective: Objective, pairs: Pairs, parameters: dict[str, jax.Array], blocking: Blocking
) -> jax.Array:
    """Returns the unweighted loss of one objective over the batch, float32 []."""
    match objective:
        case Softmax():
            whole: Loss = functools.partial(
                softmax.softmax_loss, objective, parameters=parameters, blocking=blocking
            )
            return at_widths(objective.widths, objective.width_weights, whole, pairs)
        case Sigmoid():
            whole = functools.partial(
                sigmoid.sigmoid_loss, objective, parameters=parameters, blocking=blocking
            )
            return at_widths(objective.widths, objective.width_weights, whole, pairs)
        case SpreadOut():
            return at_widths(
                objective.widths, objective.width_weights, spread.spread_out_loss, pairs
            )
        case Matching():
            return distillation.matching_loss(objective, pairs, parameters)
        case SimilarityMatching():
            return distillation.similarity_matching_loss(objective, pairs, parameters, blocking)


def at_widths(
    widths: Sequence[int], weights: Sequence[float], loss: Loss, pairs: Pairs
) -> jax.Array:
    """Returns the sum of `loss` over prefixes of the embeddings (Matryoshka, 2205.13147).

    Losses normalise, so each prefix is of unit norm again. No widths: the whole embedding.
    """
    if not widths:
        return loss(pairs)
    factors = weights or (1.0,) * len(widths)
    losses = [f * loss(pairs.prefix(w)) for w, f in zip(widths, factors, strict=True)]
    return jnp.sum(jnp.stack(losses))


def check_batch(objectives: Sequence[Objective], pairs: Pairs) -> None:
    """Raises ValueError where the batch carries what no objective uses.

    t5x_retrieval builds this error without raising it, and silently mis-trains.
    """
    uses = any(isinstance(o, Softmax) and o.hard_negatives for o in objectives)
    if pairs.negatives is not None and not uses:
        raise ValueError(
            "the batches hold hard negatives, but no objective uses them; set "
            "hard_negatives = true, or leave them out of the batches"
        )
