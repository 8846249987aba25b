import sentencepiece

from trainer.inputs import make_tokenizer, open_inputs


def test_a_tokenizer_learns_from_a_mixture_of_unequal_weights(make_recipe, tmp_path):
    # A source of 192 samples cannot give 95 % of all 384 at once.
    recipe = make_recipe(data={"weights": {"web": 0.95, "wiki": 0.05}})
    tokenizer = make_tokenizer(recipe, open_inputs(recipe), tmp_path)
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    pieces = processor.encode("a yellow disc at the bottom", out_type=str)
    # Spelt in pieces of the captions, not in bytes.
    assert not any(piece.startswith("<0x") for piece in pieces)
    assert (tmp_path / "tokenizer.model").read_bytes() == tokenizer.model
