"""Linear probe: multinomial logistic regression on frozen embeddings, by L-BFGS (Optax)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Candidates for the L2 penalty, chosen on validation items."""


def linear_probe(
    train: tuple[NDArray[np.float32], NDArray[np.integer[Any]]],
    validation: tuple[NDArray[np.float32], NDArray[np.integer[Any]]],
    test: NDArray[np.float32],
    *,
    penalties: Sequence[float] = PENALTIES,
    steps: int = 200,
) -> NDArray[np.int64]:
    """Returns the predicted classes of the test items, int64 [N].

    The penalty with the best validation accuracy is taken, the largest of equal ones.

    Args:
        train: float32 [M, D] embeddings and int [M] labels, from 0.
        validation: likewise.
        test: float32 [N, D].
        penalties: of the squared weights.
        steps: of L-BFGS.
    """
    classes = int(max(train[1].max(), validation[1].max())) + 1
    mean, scale = train[0].mean(axis=0), train[0].std(axis=0) + 1e-6

    def standard(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((x - mean) / scale, np.float32)

    best: tuple[float, float, Any] | None = None
    for penalty in sorted(penalties):
        weights = _fit(
            jnp.asarray(standard(train[0])),
            jnp.asarray(train[1], jnp.int32),
            jnp.float32(penalty),
            classes,
            steps,
        )
        accuracy = float(np.mean(_predict(weights, standard(validation[0])) == validation[1]))
        if best is None or (accuracy, penalty) > best[:2]:
            best = (accuracy, penalty, weights)
    if best is None:
        raise ValueError("penalties is empty; name at least one")
    return _predict(best[2], standard(test))


def _predict(weights: dict[str, jax.Array], x: NDArray[np.float32]) -> NDArray[np.int64]:
    scores = x @ np.asarray(weights["kernel"]) + np.asarray(weights["bias"])
    predicted: NDArray[np.int64] = np.argmax(scores, axis=1)
    return predicted


@functools.partial(jax.jit, static_argnums=(3, 4))
def _fit(
    x: jax.Array, labels: jax.Array, penalty: jax.Array, classes: int, steps: int
) -> dict[str, jax.Array]:
    def loss(weights: dict[str, jax.Array]) -> jax.Array:
        logits = x @ weights["kernel"] + weights["bias"]
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        value: jax.Array = jnp.mean(entropy) + penalty * jnp.sum(jnp.square(weights["kernel"]))
        return value

    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)
    weights = {
        "kernel": jnp.zeros((x.shape[1], classes), jnp.float32),
        "bias": jnp.zeros(classes, jnp.float32),
    }

    def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        weights, state = carry
        value, gradient = value_and_grad(weights, state=state)
        updates, state = solver.update(
            gradient, state, weights, value=value, grad=gradient, value_fn=loss
        )
        return (optax.apply_updates(weights, updates), state), None

    (weights, _), _ = jax.lax.scan(step, (weights, solver.init(weights)), None, length=steps)
    return weights
