"""Times a training step on CPU and measures what memory the losses of a large batch take.

    python -m benchmarks.trainer

- The step of a tiny model (ViT of width 32 and its text tower) on a batch that is already there:
  compiled step, no loader. Medians of steps that are waited for one by one.
- The memory that XLA plans for the loss of 32,768 pairs of 768 dimensions and its gradients, beside
  the arguments and results themselves: a bound that holds on this backend, whatever the machine.

No figure of a GPU or TPU: none was at hand.
"""

from __future__ import annotations

import time
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.figures import Figure, report
from trainer.mesh import make_mesh
from trainer.objectives import compose
from trainer.objectives.blocks import Blocking
from trainer.objectives.pairs import Pairs
from trainer.objectives.settings import Objective, Sigmoid, Softmax
from trainer.recipe import TrainRecipe
from trainer.step import Features, Side, initial_state, make_step
from trainer.towers.apply import Towers

BATCH, STEPS, WARM = 64, 40, 5
LARGE_BATCH, WIDTH = 32_768, 768

TINY = TrainRecipe.model_validate(
    {
        "preset": "clip",
        "data": {"batch_size": BATCH},
        "model": {
            "query": {"kind": "image", "size": "mu/8", "resolution": 64, "pooling": "mean"},
            "positive": {"kind": "text", "size": "mu", "length": 32, "vocabulary_size": 1000},
            "width": 64,
            "precision": "float32",
        },
    }
)

LOSSES: dict[str, Objective] = {
    "softmax": Softmax(kind="softmax", smoothing=0.1),
    "sigmoid": Sigmoid(kind="sigmoid"),
}


def make_features() -> Features:
    random = np.random.default_rng(0)
    ids = np.stack([np.arange(BATCH, dtype=np.uint32)] * 2, axis=1)
    return Features(
        query=Side(random.integers(0, 256, (BATCH, 64, 64, 3), np.uint8)),
        positive=Side(random.integers(1, 1000, (BATCH, 32), np.int32), np.ones((BATCH, 32), bool)),
        mask=np.ones(BATCH, bool),
        source=np.zeros(BATCH, np.int32),
        query_id=ids,
        positive_id=ids,
    )


def step_seconds() -> float:
    mesh = make_mesh(jax.devices()[:1])
    towers = Towers(TINY.model)
    step = make_step(TINY, towers, mesh, 1)
    state, features = initial_state(TINY, towers, mesh), make_features()
    seconds = []
    for _ in range(WARM + STEPS):
        start = time.perf_counter()
        state, metrics = step(state, features)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    return median(seconds[WARM:])


def temporary_gib(objective: Objective) -> float:
    """Returns the GiB that the loss and its gradients take beside arguments and results."""
    vector = jax.ShapeDtypeStruct((LARGE_BATCH, WIDTH), jnp.float32)
    ids = jax.ShapeDtypeStruct((LARGE_BATCH, 2), jnp.uint32)
    mask = jax.ShapeDtypeStruct((LARGE_BATCH,), jnp.bool_)
    learned = jax.eval_shape(
        lambda: compose.initial_parameters([objective], WIDTH, None, jax.random.key(0))
    )[objective.label]

    def loss(
        query: jax.Array,
        positive: jax.Array,
        own: dict[str, jax.Array],
        mask: jax.Array,
        ids: jax.Array,
    ) -> jax.Array:
        pairs = Pairs(query, positive, mask, ids, ids)
        return compose.loss_of(objective, pairs, own, Blocking())

    gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    compiled = gradients.lower(vector, vector, learned, mask, ids).compile()
    return compiled.memory_analysis().temp_size_in_bytes / (1 << 30)


def main() -> None:
    seconds = step_seconds()
    figures = [
        Figure("tiny_step", 1000 * seconds, "ms", "<=", 250),
        Figure("tiny_step_rate", BATCH / seconds, "samples/s", ">=", 256),
    ]
    figures += [
        Figure(f"{name}_32768x768_temporaries", temporary_gib(objective), "GiB", "<=", 1)
        for name, objective in LOSSES.items()
    ]
    report("trainer", figures, ("jax", "jaxlib", "flax", "optax", "numpy"))


if __name__ == "__main__":
    main()
