"""Values computed by hand from the papers' formulas, on inputs small enough to check."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainer.objectives import compose
from trainer.objectives.blocks import Blocking
from trainer.objectives.pairs import Pairs, split_ids
from trainer.objectives.reference import reference_loss
from trainer.objectives.settings import PRESETS, Matching, Sigmoid, Softmax, SpreadOut
from trainer.objectives.softmax import hardness_weight
from trainer.objectives.spread import second_moment

X = np.eye(2, dtype=np.float32)
Y = np.array([[1, 0], [0.6, 0.8]], np.float32)


def pairs_of(query, positive, *, query_id=None, positive_id=None, **rest):
    size = len(query)
    unique = np.arange(size, dtype=np.uint64)
    return Pairs(
        query=jnp.asarray(query, jnp.float32),
        positive=jnp.asarray(positive, jnp.float32),
        mask=jnp.ones(size, bool),
        query_id=jnp.asarray(split_ids(unique if query_id is None else query_id)),
        positive_id=jnp.asarray(split_ids(unique if positive_id is None else positive_id)),
        **rest,
    )


def loss(objective, pairs):
    parameters = compose.initial_parameters([objective], pairs.width, None, jax.random.key(0))
    of = jax.jit(lambda p, w: compose.loss_of(objective, p, w, Blocking(rows=1)))
    return float(of(pairs, parameters[objective.label]))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.897758),
        ({"directions": "query"}, 0.442058),
        ({"reduction": "mean"}, 0.897758 / 2),
        ({"smoothing": 0.1}, 0.957758),
        ({"same_tower_negatives": True, "directions": "query"}, 0.676607),
    ],
)
def test_softmax_over_two_pairs(changes, expected):
    assert loss(Softmax(kind="softmax", **changes), pairs_of(X, Y)) == pytest.approx(
        expected, abs=1e-6
    )


def test_align_from_text_to_image():
    assert loss(Softmax(kind="softmax", directions="query"), pairs_of(Y, X)) == pytest.approx(
        0.455700, abs=1e-6
    )


def test_align_at_its_converged_temperature():
    objective = Softmax(kind="softmax", scale=64.0)
    assert loss(objective, pairs_of(X, Y)) == pytest.approx(1.38039e-6, rel=1e-4)


@pytest.mark.parametrize(("masked", "expected"), [(True, 0.487615), (False, 0.816575)])
def test_repeated_positives_are_no_negatives(masked, expected):
    pairs = pairs_of(
        [[1, 0], [0.8, 0.6], [0, 1]],
        [[1, 0], [1, 0], [0, 1]],
        positive_id=np.array([7, 7, 8], np.uint64),
    )
    objective = Softmax(kind="softmax", directions="query", mask_duplicates=masked)
    assert loss(objective, pairs) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("size", "expected"), [(4, 0.693283), (1024, 0.739590)])
def test_sigmoid_at_its_start_with_orthonormal_pairs(size, expected):
    pairs = pairs_of(np.eye(size), np.eye(size))
    assert loss(Sigmoid(kind="sigmoid"), pairs) == pytest.approx(expected, abs=2e-6)


def test_sigmoid_at_its_start_with_unrelated_pairs():
    half = np.eye(2048, dtype=np.float32)
    pairs = pairs_of(half[:1024], half[1024:])
    assert loss(Sigmoid(kind="sigmoid"), pairs) == pytest.approx(10.046488, abs=1e-5)


def test_hardness_weight():
    np.testing.assert_allclose(
        hardness_weight(jnp.array([0.5, -0.2]), 5.0), [12.182494, 0.367879], atol=1e-6
    )


def test_hardness_weight_carries_no_gradient():
    settings = Softmax(
        kind="softmax", directions="query", learn_scale=False, hard_negatives=True, hardness=5.0
    )
    negatives = np.array([[[0.6, 0.8]], [[0.8, 0.6]]], np.float32)
    present = jnp.ones((2, 1), bool)
    pairs = pairs_of(X, Y, negatives=jnp.asarray(negatives), negative_mask=present)
    similarities = np.array([0.6, 0.6])

    def frozen(query):
        unit = query / jnp.linalg.norm(query, axis=-1, keepdims=True)
        scores = unit @ Y.T
        hard = jnp.exp(5.0 * similarities) * jnp.exp((unit * negatives[:, 0]).sum(-1))
        return jnp.mean(jnp.log(jnp.exp(scores).sum(1) + hard) - jnp.diagonal(scores))

    def weighted(query):
        return compose.loss_of(settings, dataclasses.replace(pairs, query=query), {}, Blocking())

    query = jnp.asarray(X)
    assert float(weighted(query)) == pytest.approx(float(frozen(query)), rel=1e-6)
    gradient = np.asarray(jax.jit(jax.grad(weighted))(query))
    for i in range(2):
        for j in range(2):
            step = np.zeros((2, 2), np.float32)
            step[i, j] = 1e-2
            difference = (float(frozen(query + step)) - float(frozen(query - step))) / 2e-2
            assert gradient[i, j] == pytest.approx(difference, abs=2e-4)


def test_spread_out_of_one_side():
    vectors = jnp.array([[1, 0], [0, 1], [0.6, 0.8]], jnp.float32)
    assert float(second_moment(vectors, jnp.ones(3, bool))) == pytest.approx(1 / 3, abs=1e-6)


def test_spread_out_of_one_row_is_zero():
    assert float(second_moment(jnp.ones((3, 4)), jnp.array([True, False, False]))) == 0


def test_matryoshka_at_the_full_width_only_is_the_plain_loss():
    pairs = pairs_of(X, Y)
    plain = loss(Softmax(kind="softmax"), pairs)
    assert loss(Softmax(kind="softmax", widths=(2,)), pairs) == plain


def test_matryoshka_sums_over_normalised_prefixes():
    pairs = pairs_of(X, Y)
    # Prefixes of one dimension: queries 1 and 0, positives 1 and 1 after normalisation.
    scores = np.array([[1.0, 1.0], [0.0, 0.0]])
    forward = np.mean(np.log(np.exp(scores).sum(1)) - np.diag(scores))
    backward = np.mean(np.log(np.exp(scores).sum(0)) - np.diag(scores))
    plain = loss(Softmax(kind="softmax"), pairs)
    both = loss(Softmax(kind="softmax", widths=(2, 1), width_weights=(1.0, 0.5)), pairs)
    assert both == pytest.approx(plain + 0.5 * (forward + backward), abs=1e-6)


def test_matching_is_zero_where_the_student_is_the_teacher():
    pairs = pairs_of(3 * X, 2 * Y, teacher_query=jnp.asarray(X), teacher_positive=jnp.asarray(Y))
    assert float(
        compose.loss_of(Matching(kind="matching"), pairs, {}, Blocking())
    ) == pytest.approx(0, abs=1e-6)


def test_matching_by_hand():
    pairs = pairs_of(X, Y, teacher_query=jnp.asarray(Y))
    cosine = compose.loss_of(Matching(kind="matching"), pairs, {}, Blocking())
    assert float(cosine) == pytest.approx((0 + 0.2) / 2, abs=1e-6)
    squared = Matching(kind="matching", distance="squared")
    assert float(compose.loss_of(squared, pairs, {}, Blocking())) == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("name", ["align", "clip", "siglip"])
def test_presets_agree_with_the_reference(name):
    pairs = pairs_of(X, Y)
    for objective in PRESETS[name]:
        parameters = compose.initial_parameters([objective], 2, None, jax.random.key(0))
        expected = float(reference_loss(objective, pairs, parameters[objective.label]))
        assert loss(objective, pairs) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_spread_out_takes_both_sides():
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    assert loss(SpreadOut(kind="spread_out"), pairs_of(vectors, vectors)) == pytest.approx(2 / 3)
