"""Memory-lean objectives equal the reference: values, gradients, odd sizes, masks, devices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainer.objectives import compose
from trainer.objectives.blocks import Blocking
from trainer.objectives.pairs import Pairs, split_ids
from trainer.objectives.reference import reference_loss
from trainer.objectives.settings import (
    Matching,
    Sigmoid,
    SimilarityMatching,
    Softmax,
    SpreadOut,
)

OBJECTIVES = {
    "align": Softmax(kind="softmax", smoothing=0.1, scale=3.0),
    "clip": Softmax(kind="softmax", reduction="mean", scale=1 / 0.07),
    "samtone": Softmax(
        kind="softmax", scale=5.0, same_tower_negatives=True, mask_duplicates=True, smoothing=0.1
    ),
    "gemma": Softmax(
        kind="softmax",
        directions="query",
        scale=20.0,
        learn_scale=False,
        mask_duplicates=True,
        hard_negatives=True,
        hardness=5.0,
        widths=(12, 5),
        width_weights=(1.0, 0.5),
    ),
    "siglip": Sigmoid(kind="sigmoid", widths=(12, 4)),
    "siglip_duplicates": Sigmoid(kind="sigmoid", mask_duplicates=True),
    "spread_out": SpreadOut(kind="spread_out"),
    "matching": Matching(kind="matching"),
    "matching_squared": Matching(kind="matching", distance="squared"),
    "similarity": SimilarityMatching(kind="similarity_matching", teacher_scale=20.0),
}


def random_pairs(size, *, width=12, negatives=2, teacher=7, seed=0):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    def ids():
        return jnp.asarray(split_ids(rng.integers(0, size, size).astype(np.uint64) << 31))

    mask = rng.random(size) < 0.8
    mask[0] = True
    return Pairs(
        query=normal(size, width),
        positive=normal(size, width),
        mask=jnp.asarray(mask),
        query_id=ids(),
        positive_id=ids(),
        negatives=normal(size, negatives, width),
        negative_mask=jnp.asarray(rng.random((size, negatives)) < 0.7),
        teacher_query=normal(size, teacher),
        teacher_positive=normal(size, teacher),
        teacher_negatives=normal(size, negatives, teacher),
        teacher_mask=jnp.asarray(rng.random(size) < 0.9).at[0].set(True),
    )


def mesh_of(devices):
    if devices == 1:
        return None
    return jax.make_mesh(
        (devices,),
        ("data",),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:devices],
    )


SIZE = 13
SHARDED = ["samtone", "gemma", "siglip", "similarity"]


@functools.cache
def compiled(name, devices):
    """Value and gradients of an objective; `devices` 0 is the reference."""
    objective = OBJECTIVES[name]
    blocking = Blocking(rows=3, mesh=mesh_of(devices)) if devices else None

    def of(query, positive, negatives, parameters, pairs):
        changed = dataclasses.replace(pairs, query=query, positive=positive, negatives=negatives)
        if blocking is None:
            return reference_loss(objective, changed, parameters)
        return compose.loss_of(objective, changed, parameters, blocking)

    return jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2, 3)))


def value_and_gradients(name, devices, pairs):
    objective = OBJECTIVES[name]
    parameters = compose.initial_parameters([objective], 12, 7, jax.random.key(1))
    return compiled(name, devices)(
        pairs.query, pairs.positive, pairs.negatives, parameters[objective.label], pairs
    )


@pytest.mark.parametrize(
    ("name", "devices"),
    [
        *((name, 1) for name in OBJECTIVES),
        *((name, 8) for name in SHARDED),
        *(("samtone", devices) for devices in (2, 4)),
    ],
)
def test_blocks_and_devices_change_nothing(name, devices):
    pairs = random_pairs(SIZE)
    got = value_and_gradients(name, devices, pairs)
    expected = value_and_gradients(name, 0, pairs)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize(("size", "rows"), [(1, 3), (16, 5)])
def test_block_sizes_change_nothing(size, rows):
    objective = OBJECTIVES["gemma"]
    pairs = random_pairs(size)
    expected = jax.jit(lambda p: reference_loss(objective, p, {}))(pairs)
    got = jax.jit(lambda p: compose.loss_of(objective, p, {}, Blocking(rows=rows)))(pairs)
    assert float(got) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_masked_rows_change_nothing(name):
    pairs = random_pairs(SIZE)
    noise = jnp.where(pairs.mask[:, None], 0.0, 100.0)
    louder = dataclasses.replace(pairs, query=pairs.query + noise, positive=pairs.positive - noise)
    value, _ = value_and_gradients(name, 1, pairs)
    other, gradients = value_and_gradients(name, 1, louder)
    assert float(value) == float(other)
    assert not np.any(np.asarray(gradients[0])[~np.asarray(pairs.mask)])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_without_a_good_row_has_no_loss_and_no_gradient(name):
    empty = dataclasses.replace(
        random_pairs(SIZE),
        mask=jnp.zeros(SIZE, bool),
        query=jnp.zeros((SIZE, 12)),
        negative_mask=jnp.zeros((SIZE, 2), bool),
    )
    value, gradients = value_and_gradients(name, 1, empty)
    assert float(value) == 0
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_order_of_the_batch_does_not_matter(name):
    pairs = random_pairs(SIZE)
    order = np.random.default_rng(3).permutation(SIZE)
    shuffled = jax.tree.map(lambda leaf: leaf[order], pairs)
    values = [float(value_and_gradients(name, 1, p)[0]) for p in (pairs, shuffled)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_softmax_of_a_large_batch_fits_into_a_gibibyte():
    size, width = 32_768, 768
    objective = Softmax(kind="softmax", smoothing=0.1)
    vector = jax.ShapeDtypeStruct((size, width), jnp.float32)
    ids = jax.ShapeDtypeStruct((size, 2), jnp.uint32)
    mask = jax.ShapeDtypeStruct((size,), jnp.bool_)

    def gradients(query, positive, mask, ids, log_scale):
        def of(query, positive, log_scale):
            pairs = Pairs(query, positive, mask, ids, ids)
            return compose.loss_of(objective, pairs, {"log_scale": log_scale}, Blocking())

        return jax.value_and_grad(of, argnums=(0, 1, 2))(query, positive, log_scale)

    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    compiled = jax.jit(gradients).lower(vector, vector, mask, ids, scalar).compile()
    assert compiled.memory_analysis().temp_size_in_bytes <= 1 << 30
