import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainer.loop import peak_flops
from trainer.mesh import make_mesh
from trainer.objectives.pairs import split_ids
from trainer.step import Features, Side, initial_state, make_step
from trainer.towers.apply import Towers

OBJECTIVES = [
    {"kind": "softmax", "hard_negatives": True, "hardness": 5.0},
    {"kind": "spread_out", "weight": 0.5},
    {"kind": "matching"},
]
INPUTS = {
    "negative_text": "negative",
    "teacher_query": "clip",
    "teacher_positive": "clip_text",
    "teacher_width": 8,
}


def features(size=8, **changes):
    rng = np.random.default_rng(0)
    ids = split_ids(np.arange(size, dtype=np.uint64))

    def text():
        return Side(rng.integers(0, 300, (size, 24)).astype(np.int32), np.ones((size, 24), bool))

    values = {
        "query": Side(rng.integers(0, 256, (size, 32, 32, 3), np.uint8)),
        "positive": text(),
        "mask": np.ones(size, bool),
        "source": np.arange(size, dtype=np.int32) % 2,
        "query_id": ids,
        "positive_id": ids,
        "negative": text(),
        "negative_mask": np.ones(size, bool),
        "teacher_query": rng.normal(size=(size, 8)).astype(np.float32),
        "teacher_positive": rng.normal(size=(size, 8)).astype(np.float32),
    }
    return Features(**(values | changes))


@pytest.fixture(scope="module")
def setting(make_recipe):
    recipe = make_recipe(preset="", objectives=OBJECTIVES, inputs=INPUTS)
    towers, mesh = Towers(recipe.model), make_mesh(jax.devices()[:1])
    return recipe, make_step(recipe, towers, mesh, 3), initial_state(recipe, towers, mesh)


def test_all_objectives_together_lower_the_loss(setting):
    _, step, state = setting
    losses = []
    for _ in range(6):
        state, metrics = step(state, features())
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[1]
    assert int(state.step) == 6
    total = metrics["loss/softmax"] + 0.5 * metrics["loss/spread_out"] + metrics["loss/matching"]
    assert float(metrics["loss"]) == pytest.approx(float(total), rel=1e-5)
    assert all(float(metrics[f"gradient/{n}"]) > 0 for n in ("softmax", "spread_out", "matching"))
    assert state.parameters["objectives"]["matching"]["projection"].shape == (32, 8)


def test_masked_rows_do_not_move_the_parameters(setting):
    _, step, state = setting
    mask = np.arange(8) < 5
    other = np.where(mask[:, None, None, None], features().query.values, 255).astype(np.uint8)
    one, _ = step(state, features(mask=mask))
    two, metrics = step(state, features(mask=mask, query=Side(other)))
    assert metrics["rows"].tolist() == [3, 2, 0]
    assert float(metrics["full/positive"]) == 1
    assert "full/query" not in metrics
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_parameters_stay_float32(setting):
    _, _, state = setting
    assert {leaf.dtype for leaf in jax.tree.leaves(state.parameters)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("kind", "flops"),
    [("NVIDIA H100 80GB HBM3", 989e12), ("TPU v5 lite", 197e12), ("cpu", None)],
)
def test_peak_flops_by_kind_of_device(kind, flops):
    assert peak_flops(kind) == flops


def test_shared_bfloat16_towers_that_recompute_learn(make_recipe):
    model = make_recipe().model.model_dump() | {
        "query": {"kind": "image", "size": "mu/8", "resolution": 32, "registers": 2},
        "sharing": "sde",
        "precision": "bfloat16",
        "rematerialise": True,
    }
    recipe = make_recipe(preset="siglip", model=model, accumulate=2, steps=8)
    towers, mesh = Towers(recipe.model), make_mesh(jax.devices()[:1])
    step, state = make_step(recipe, towers, mesh, 2), initial_state(recipe, towers, mesh)
    plain = features(negative=None, negative_mask=None, teacher_query=None, teacher_positive=None)
    losses = []
    for _ in range(8):
        state, metrics = step(state, plain)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.9 * losses[0]
    assert {leaf.dtype for leaf in jax.tree.leaves(state.parameters)} == {jnp.dtype("float32")}
