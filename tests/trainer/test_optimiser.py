import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainer.optimiser import decay_mask, learning_rate, make_optimiser
from trainer.recipe import Optimiser


def rates(steps, **values):
    schedule = learning_rate(Optimiser(learning_rate=1.0, **values), steps)
    return [float(schedule(step)) for step in range(steps + 1)]


def test_cosine_climbs_and_falls():
    got = rates(12, warmup_steps=2, final=0.1)
    assert got[:3] == pytest.approx([0, 0.5, 1])
    assert got[7] == pytest.approx(0.55)
    assert got[12] == pytest.approx(0.1)
    assert np.all(np.diff(got[2:]) < 0)


def test_wsd_is_flat_and_then_falls():
    got = rates(20, schedule="wsd", warmup_steps=4, decay=0.25)
    assert got[4:16] == pytest.approx([1.0] * 12)
    assert got[15:] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0])


def test_constant_stays():
    assert rates(5, schedule="constant") == [1.0] * 6


def test_only_matrices_decay():
    parameters = {
        "towers": {
            "trunk": {"kernel": np.ones((2, 2, 2)), "bias": np.ones((2, 2))},
            "norm": {"scale": np.ones(2)},
            "embedder": {"table": np.ones((3, 2)), "positions": np.ones((4, 2))},
        },
        "objectives": {"softmax": {"log_scale": np.ones(())}},
    }
    mask = decay_mask(parameters)
    assert mask["towers"]["trunk"] == {"kernel": True, "bias": False}
    assert mask["towers"]["embedder"] == {"table": True, "positions": False}
    optimiser = make_optimiser(Optimiser(schedule="constant", weight_decay=0.5), 10)

    @jax.jit
    def update(parameters):
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        return optimiser.update(zeros, optimiser.init(parameters), parameters)[0]

    moved = jax.tree.map(lambda change: bool(np.any(change)), update(parameters))
    assert moved == mask
