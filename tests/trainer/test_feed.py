import jax
import numpy as np
import pytest

from trainer.feed import Feed, Preparation
from trainer.loader.batch import Batch, TextColumn
from trainer.mesh import make_mesh
from trainer.recipe import RecipeError
from trainer.tokens import Tokenizer, train_tokenizer

CAPTIONS = [f"a {c} {s}" for c in ("red", "green", "blue") for s in ("disc", "box", "star")] * 4


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(train_tokenizer(CAPTIONS, 310), 24)


def batch(step=0, **changes):
    size = 4
    values = {
        "step": step,
        "mask": np.array([True, True, True, False]),
        "keys": [f"k{step}{n}" for n in range(size)],
        "source": np.array([0, 1, 0, 1], np.int32),
        "query_id": np.arange(size, dtype=np.uint64),
        "positive_id": np.arange(size, dtype=np.uint64),
        "image": np.zeros((size, 32, 32, 3), np.uint8),
        "has_image": np.array([True, True, False, False]),
        "texts": ["a red disc", "", "a blue box", ""],
        "tokens": None,
        "token_mask": None,
        "extra": {},
        "arrays": {},
        "bad": (),
    }
    return Batch(**(values | changes))


def test_rows_without_what_a_tower_takes_are_masked(make_recipe, tokenizer):
    features = Preparation(make_recipe(), tokenizer, ["web", "wiki"]).features(batch())
    # Row 1 has no text, row 2 no image, row 3 is bad.
    assert features.mask.tolist() == [True, False, False, False]
    assert features.positive.values.shape == (4, 24)
    assert features.query_id.shape == (4, 2)
    assert features.negative is None


def test_prompts_and_hard_negatives_reach_the_towers(make_recipe, tokenizer):
    objective = {"kind": "softmax", "hard_negatives": True, "learn_scale": False}
    inputs = {"negative_text": "negative", "positive_prompts": {"web": "a box: {text}"}}
    recipe = make_recipe(preset="", objectives=[objective], inputs=inputs)
    column = TextColumn(["a star", "", "a disc", ""], np.array([1, 0, 1, 0], bool), None, None)
    features = Preparation(recipe, tokenizer, ["web", "wiki"]).features(
        batch(extra={"negative": column})
    )
    expected, _ = tokenizer(["a box: a star", "", "a box: a disc", ""])
    np.testing.assert_array_equal(features.negative.values, expected)
    assert features.negative_mask.tolist() == [True, False, True, False]
    np.testing.assert_array_equal(
        features.positive.values[0], tokenizer(["a box: a red disc"])[0][0]
    )


def test_teacher_vectors_reach_the_objective(make_recipe, tokenizer):
    inputs = {"teacher_query": "clip", "teacher_width": 3}
    recipe = make_recipe(preset="", objectives=[{"kind": "matching"}], inputs=inputs)
    vectors = np.ones((4, 3), np.float32)
    features = Preparation(recipe, tokenizer, ["web", "wiki"]).features(
        batch(arrays={"clip": vectors})
    )
    np.testing.assert_array_equal(features.teacher_query, vectors)
    assert features.teacher_positive is None


def test_a_prompt_for_an_unknown_source_is_refused(make_recipe, tokenizer):
    recipe = make_recipe(inputs={"prompts": {"wikipedia": "query: {text}"}})
    with pytest.raises(RecipeError, match="unknown source 'wikipedia'; sources are web, wiki"):
        Preparation(recipe, tokenizer, ["web", "wiki"])


def test_a_tokenizer_beyond_the_towers_vocabulary_is_refused(make_recipe):
    larger = Tokenizer(train_tokenizer([f"{n} zebras" for n in range(999)] * 3, 340), 12)
    assert larger.vocabulary_size > 300
    tower = {"kind": "text", "size": "mu", "length": 12, "vocabulary_size": 300}
    recipe = make_recipe(model=make_recipe().model.model_dump() | {"positive": tower})
    with pytest.raises(RecipeError, match="above vocabulary_size 300"):
        Preparation(recipe, larger, ["web"])


def test_a_feed_yields_every_batch_on_devices_and_closes_its_source(make_recipe, tokenizer):
    closed = []

    def batches():
        try:
            yield from (batch(step) for step in range(3))
        finally:
            closed.append(True)

    preparation = Preparation(make_recipe(), tokenizer, ["web", "wiki"])
    mesh = make_mesh(jax.devices()[:2])
    with Feed(batches(), preparation, mesh) as feed:
        fed = next(feed)
        assert fed.keys == ["k00", "k01", "k02", "k03"]
        assert fed.features.mask.tolist() == [True, False, False, False]
        assert fed.features.source.tolist() == [0, 1, 0, 1]
        assert len(fed.features.query.values.sharding.device_set) == 2
    assert closed


def test_a_feed_raises_what_its_source_raises(make_recipe, tokenizer):
    def batches():
        yield batch()
        raise OSError("shard gone")

    preparation = Preparation(make_recipe(), tokenizer, ["web", "wiki"])
    with Feed(batches(), preparation, make_mesh(jax.devices()[:1])) as feed:
        next(feed)
        with pytest.raises(OSError, match="shard gone"):
            next(feed)
