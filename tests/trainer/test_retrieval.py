import jax
import numpy as np
import pytest

from trainer import evaluation
from trainer.embedder import Embedder
from trainer.inputs import InputError, make_tokenizer, open_inputs
from trainer.retrieval import PRIMARY, embed_mixture
from trainer.towers.apply import Towers

TEXT = {"kind": "text", "size": "mu", "length": 24, "vocabulary_size": 400}


@pytest.fixture(scope="module")
def make_model(make_recipe, tmp_path_factory):
    """Makes a model that has not been trained; keyword arguments change its recipe."""

    def make(**changes):
        recipe = make_recipe(**changes)
        tokenizer = make_tokenizer(recipe, open_inputs(recipe), tmp_path_factory.mktemp("model"))
        parameters = Towers(recipe.model).initial_parameters(jax.random.key(0))
        return Embedder(recipe, parameters, tokenizer)

    return make


@pytest.fixture(scope="module")
def texts_only(make_model):
    """German asks for English, in one tower."""
    return make_model(
        model={"query": TEXT, "positive": TEXT, "width": 32, "sharing": "sde"},
        inputs={"query_text": "reference"},
    )


def test_queries_of_text_ask_for_positives(texts_only, work):
    data = embed_mixture(texts_only, str(work), "held_out")
    assert data.retrieval.directions == ("query_to_text", "text_to_query")
    assert set(data.retrieval.languages) == {"en"}
    assert data.items.shape == data.texts.shape == (48, 32)
    report = evaluation.retrieval_report(data.retrieval, data.items, data.texts, [32])
    assert report["32"]["query_to_text"]["all"]["queries"] == 48
    assert 1 <= report["32"]["query_to_text"]["all"]["mean_rank"] <= 48


def test_a_text_finds_itself_first(texts_only, work):
    data = embed_mixture(texts_only, str(work), "held_out", ("reference",))
    np.testing.assert_allclose(data.items, data.texts, atol=1e-6)
    report = evaluation.retrieval_report(data.retrieval, data.items, data.texts, [32])
    for directions in report["32"].values():
        assert directions["all"] == {
            "R@1": 1,
            "R@5": 1,
            "R@10": 1,
            "mean_rank": 1,
            "queries": 48,
        }


def test_primary_texts_are_those_that_samples_are_trained_with(make_model, work):
    data = embed_mixture(make_model(), str(work), "held_out", (PRIMARY,))
    assert data.retrieval.directions == ("image_to_text", "text_to_image")
    assert set(data.retrieval.languages) == {"en"}
    assert len(data.texts) == len(data.items) == 48


def test_a_mixture_without_pairs_is_refused(texts_only, work):
    with pytest.raises(InputError, match="holds no pair that the model can read"):
        embed_mixture(texts_only, str(work), "held_out", ("caption",))
