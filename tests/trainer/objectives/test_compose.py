import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from trainer.objectives import compose
from trainer.objectives.blocks import Blocking
from trainer.objectives.pairs import Pairs, split_ids
from trainer.objectives.settings import Matching, Softmax


def pairs(**rest):
    ids = jnp.asarray(split_ids(np.arange(2, dtype=np.uint64)))
    return Pairs(jnp.eye(2), jnp.eye(2), jnp.ones(2, bool), ids, ids, **rest)


def test_hard_negatives_that_are_absent_fail():
    objective = Softmax(kind="softmax", learn_scale=False, hard_negatives=True)
    with pytest.raises(ValueError, match="hard_negatives = true, but the batches hold none"):
        compose.loss_of(objective, pairs(), {}, Blocking())


def test_hard_negatives_that_nobody_uses_fail():
    with pytest.raises(ValueError, match="no objective uses them"):
        compose.check_batch([Softmax(kind="softmax")], pairs(negatives=jnp.ones((2, 1, 2))))


def test_teacher_vectors_that_are_absent_fail():
    with pytest.raises(ValueError, match="stored teacher vectors, but the batches hold none"):
        compose.loss_of(Matching(kind="matching"), pairs(), {}, Blocking())
    with pytest.raises(ValueError, match="set teacher_width"):
        compose.initial_parameters([Matching(kind="matching")], 2, None, jax.random.key(0))


def test_a_matryoshka_width_above_the_embedding_fails():
    with pytest.raises(ValueError, match="width 4 is above the embedding's 2"):
        compose.initial_parameters(
            [Softmax(kind="softmax", widths=(4, 2))], 2, None, jax.random.key(0)
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hardness": 5.0}, "set hard_negatives = true"),
        ({"widths": (8, 4), "width_weights": (1.0,)}, "1 values for 2 widths"),
        ({"scale": 200.0}, "above max_scale"),
        ({"smoothing": 1.0}, "less than 1"),
        ({"temperature": 1.0}, "Extra inputs"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Softmax(kind="softmax", **settings)


def test_ids_keep_all_their_bits():
    ids = np.array([1, 1 << 32, (1 << 32) + 1], np.uint64)
    assert len(np.unique(split_ids(ids), axis=0)) == 3
    with pytest.raises(TypeError, match="uint64"):
        split_ids(np.array([1, 2]))
