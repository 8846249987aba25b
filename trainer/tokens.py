"""Captions to token ids: SentencePiece with byte fallback, trained on the mixture or given."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence

import numpy as np
import sentencepiece
from numpy.typing import NDArray

PADDING = 0
"""Id of padding; there are no begin and end tokens (as in TIPS)."""

MAX_PIECE = 16
"""Characters that one piece spans at most (SentencePiece's default)."""


class Tokenizer:
    """A SentencePiece model that cuts and pads to a fixed length. Case is folded (NFKC)."""

    def __init__(self, model: bytes, length: int) -> None:
        """Loads a model.

        Args:
            model: a serialised SentencePiece model.
            length: tokens per text.

        Raises:
            ValueError: the bytes are no model.
        """
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise ValueError(
                f"{len(model)} bytes are no SentencePiece model ({error}); name the .model file "
                "that training wrote"
            ) from error
        self.model = model
        self.length = length

    @property
    def vocabulary_size(self) -> int:
        """Number of pieces: ids are below it."""
        return int(self._processor.get_piece_size())

    @property
    def digest(self) -> str:
        """Returns sha256 of the model, 64 hex digits."""
        return hashlib.sha256(self.model).hexdigest()

    def __call__(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Returns ids int32 [B, length] and mask bool [B, length], True where there is a token.

        Only the characters that `length` pieces can span are read, so that a text of megabytes
        costs no more than one of a line. An empty text has no token.
        """
        limit = MAX_PIECE * self.length
        # Threads inside would compete with those that decode images.
        encoded = self._processor.encode([text[:limit] for text in texts], num_threads=1)
        ids = np.full((len(texts), self.length), PADDING, np.int32)
        mask = np.zeros((len(texts), self.length), np.bool_)
        for row, tokens in enumerate(encoded):
            kept = tokens[: self.length]
            ids[row, : len(kept)] = kept
            mask[row, : len(kept)] = True
        return ids, mask


def train_tokenizer(captions: Iterable[str], vocabulary_size: int) -> bytes:
    """Returns a serialised unigram model: equal captions in equal order give equal bytes.

    Characters that the captions lack are spelt in UTF-8 bytes, so that no text is out of
    vocabulary. The model holds fewer pieces where the captions do not support as many.

    Args:
        captions: the texts to learn from; those above 4,192 bytes are left out.
        vocabulary_size: number of pieces, bytes included.

    Raises:
        ValueError: there are no captions, or the vocabulary is too small for their characters.
    """
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(captions),
            model_writer=written,
            vocab_size=vocabulary_size,
            model_type="unigram",
            byte_fallback=True,
            character_coverage=0.9995,
            max_sentencepiece_length=MAX_PIECE,
            normalization_rule_name="nmt_nfkc_cf",
            pad_id=PADDING,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            hard_vocab_limit=False,
            shuffle_input_sentence=False,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(
            f"cannot train a tokenizer of {vocabulary_size} pieces: {error}; give it captions, "
            "or a larger vocabulary_size"
        ) from error
    return written.getvalue()


def with_prompts(
    texts: Sequence[str], sources: NDArray[np.int32], prompts: Sequence[str]
) -> list[str]:
    """Returns the texts in the task prompts of their sources.

    Args:
        texts: B texts.
        sources: int32 [B], position of each text's source.
        prompts: by source, a string with `{text}` in it, such as
            `task: search result | query: {text}` (EmbeddingGemma); empty for the text alone. An
            empty text stays empty: a prompt about nothing is no caption.
    """
    return [
        prompts[source].replace("{text}", text) if text and prompts[source] else text
        for text, source in zip(texts, sources.tolist(), strict=True)
    ]
