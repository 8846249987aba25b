import time

import numpy as np
import pytest

from trainer.tokens import Tokenizer, train_tokenizer, with_prompts

CAPTIONS = [
    f"a {colour} {shape} on the {side}"
    for colour in ("red", "green", "blue", "yellow")
    for shape in ("circle", "square", "star")
    for side in ("left", "right", "top")
] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(train_tokenizer(CAPTIONS, 340), 12)


def test_equal_captions_give_equal_bytes(tokenizer):
    assert train_tokenizer(iter(CAPTIONS), 340) == tokenizer.model
    assert len(tokenizer.digest) == 64


def test_shapes_padding_and_cut(tokenizer):
    ids, mask = tokenizer(["a red circle", "", "a red circle on the left " * 9])
    assert ids.shape == mask.shape == (3, 12)
    assert ids.dtype == np.int32
    assert mask.dtype == bool
    assert 3 <= mask[0].sum() < 12
    assert not mask[1].any()
    assert mask[2].all()
    assert not ids[~mask].any()
    assert ids.max() < tokenizer.vocabulary_size


def test_case_is_folded_and_no_character_is_unknown(tokenizer):
    ids, mask = tokenizer(["A Red CIRCLE", "a red circle", "日本", "🦜"])
    np.testing.assert_array_equal(ids[0], ids[1])
    assert not np.any(ids[mask] == 1)
    # Three bytes a character, and the marker of a word's start.
    assert mask[2].sum() == 7


def test_a_text_of_megabytes_costs_no_more_than_a_line(tokenizer):
    huge = "a red circle " * 800_000
    began = time.perf_counter()
    ids, _ = tokenizer([huge])
    assert time.perf_counter() - began < 0.5
    np.testing.assert_array_equal(ids, tokenizer(["a red circle " * 40])[0])


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match="no SentencePiece model"):
        Tokenizer(b"PK\x03\x04", 8)


def test_a_tokenizer_of_nothing_is_refused():
    with pytest.raises(ValueError, match="give it captions"):
        train_tokenizer([], 400)
    with pytest.raises(ValueError, match="a larger vocabulary_size"):
        train_tokenizer(CAPTIONS, 100)


def test_prompts_by_source():
    prompts = ["task: search result | query: {text}", ""]
    texts = with_prompts(["one", "two", ""], np.array([0, 1, 0], np.int32), prompts)
    assert texts == ["task: search result | query: one", "two", ""]
