"""One step's rows: arrays whose shapes depend on the options only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.loader.errors import BadRow
from trainer.loader.samples import Sample

Tokenize = Callable[[list[str]], tuple[NDArray[np.integer], NDArray[np.bool_]]]
"""Turns B texts into ids [B, L] and a mask [B, L] that is true where there is a token."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """The texts of one role.

    Attributes:
        texts: B texts; empty where the sample has none or is masked.
        present: bool[B], whether the sample has this text.
        tokens: int32[B, L]; None without a tokenizer.
        token_mask: bool[B, L], true where there is a token; None without a tokenizer.
    """

    texts: list[str]
    present: NDArray[np.bool_]
    tokens: NDArray[np.int32] | None
    token_mask: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of a host in one step. A masked row holds zeros and no texts.

    Attributes:
        step: number of the step.
        mask: bool[B], false where the sample is bad; losses leave out that row and column.
        keys: B keys of samples, of bad ones too.
        source: int32[B], position of the source in the manifest.
        query_id, positive_id: uint64[B], equal where the content is; 0 where masked.
        image: uint8[B, S, S, 3], RGB; None where the options ask for no images.
        has_image: bool[B]; a `text_pair` has none, and is not masked for that.
        texts: B primary texts.
        tokens: int32[B, L]; None without a tokenizer.
        token_mask: bool[B, L], true where there is a token; None without a tokenizer.
        extra: further texts by role.
        arrays: float32[B, D] by name.
        bad: what is wrong with the masked rows.
    """

    step: int
    mask: NDArray[np.bool_]
    keys: list[str]
    source: NDArray[np.int32]
    query_id: NDArray[np.uint64]
    positive_id: NDArray[np.uint64]
    image: NDArray[np.uint8] | None
    has_image: NDArray[np.bool_]
    texts: list[str]
    tokens: NDArray[np.int32] | None
    token_mask: NDArray[np.bool_] | None
    extra: dict[str, TextColumn]
    arrays: dict[str, NDArray[np.float32]]
    bad: tuple[BadRow, ...]


def text_column(texts: Sequence[str | None], tokenize: Tokenize | None) -> TextColumn:
    """Returns a column of texts, None where there is none.

    Raises:
        ValueError: the tokenizer does not return two arrays of B rows and equal shapes.
    """
    given = [text or "" for text in texts]
    present = np.array([text is not None for text in texts], np.bool_)
    if tokenize is None:
        return TextColumn(given, present, None, None)
    ids, mask = (np.asarray(array) for array in tokenize(given))
    if ids.ndim != 2 or ids.shape != mask.shape or len(ids) != len(given):
        raise ValueError(
            f"tokenize returned ids {ids.shape} and mask {mask.shape} for {len(given)} texts; "
            "both are [texts, length]"
        )
    # What a tokenizer puts around an absent text is no text.
    kept = mask.astype(np.bool_) & present[:, None]
    return TextColumn(given, present, ids.astype(np.int32), kept)


def assemble(
    step: int,
    rows: Sequence[Sample | BadRow],
    source: NDArray[np.int32],
    image: NDArray[np.uint8] | None,
    *,
    roles: Sequence[str],
    arrays: Mapping[str, int],
    tokenize: Tokenize | None,
) -> Batch:
    """Puts the samples of a step together.

    Args:
        step: number of the step.
        rows: B samples, or what is wrong with them.
        source: int32[B].
        image: uint8[B, S, S, 3], already rendered, zeros where there is no image; or None.
        roles: further roles of texts.
        arrays: dimension by name of the arrays.
        tokenize: the tokenizer; None leaves texts as they are.
    """
    good = [row if isinstance(row, Sample) else None for row in rows]
    primary = text_column([sample.text if sample else None for sample in good], tokenize)
    return Batch(
        step=step,
        mask=np.array([sample is not None for sample in good], np.bool_),
        keys=[row.key for row in rows],
        source=source,
        query_id=np.array([sample.query_id if sample else 0 for sample in good], np.uint64),
        positive_id=np.array([sample.positive_id if sample else 0 for sample in good], np.uint64),
        image=image,
        has_image=np.array([sample is not None and sample.has_image for sample in good], np.bool_),
        texts=primary.texts,
        tokens=primary.tokens,
        token_mask=primary.token_mask,
        extra={
            role: text_column(
                [sample.texts.get(role) if sample else None for sample in good], tokenize
            )
            for role in roles
        },
        arrays={
            name: np.stack(
                [
                    sample.arrays[name] if sample else np.zeros(dimension, np.float32)
                    for sample in good
                ]
            )
            for name, dimension in arrays.items()
        },
        bad=tuple(row for row in rows if isinstance(row, BadRow)),
    )


def to_dict(batch: Batch) -> dict[str, Any]:
    """Returns a batch as a flat dict of arrays and lists of texts, for other frameworks.

    What the options leave out is absent; further roles and arrays have names such as
    `negative/tokens` and `array/siglip`.
    """
    named = {name: getattr(batch, name) for name in _FLAT}
    for role, column in batch.extra.items():
        named |= {f"{role}/{name}": getattr(column, name) for name in TextColumn.__slots__}
    named |= {f"array/{name}": array for name, array in batch.arrays.items()}
    return {name: value for name, value in named.items() if value is not None}


_FLAT = (
    "mask",
    "keys",
    "source",
    "query_id",
    "positive_id",
    "image",
    "has_image",
    "texts",
    "tokens",
    "token_mask",
)
