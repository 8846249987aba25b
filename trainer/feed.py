"""From the loader's batches to arrays on devices, one batch ahead of the step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from trainer.loader.batch import Batch
from trainer.mesh import to_devices
from trainer.objectives.pairs import split_ids
from trainer.recipe import RecipeError, TrainRecipe
from trainer.step import Features, Side
from trainer.tokens import Tokenizer, with_prompts
from trainer.towers.settings import ImageTower, TextTower


@dataclasses.dataclass(frozen=True)
class Fed:
    """A batch on devices, and what people ask about it.

    Attributes:
        features: global arrays.
        keys: keys of this host's rows.
    """

    features: Features
    keys: list[str]


class Preparation:
    """Makes features of batches: task prompts, tokens, masks."""

    def __init__(
        self, recipe: TrainRecipe, tokenizer: Tokenizer | None, sources: Sequence[str]
    ) -> None:
        """Checks that the recipe's prompts name sources of the mixture.

        Args:
            recipe: the run's.
            tokenizer: its model is used at each text tower's length; None without a text tower.
            sources: names of the sources, in the manifest's order.

        Raises:
            RecipeError: a prompt is for an unknown source, or ids exceed a tower's vocabulary.
        """
        inputs = recipe.inputs
        unknown = sorted({*inputs.prompts, *inputs.positive_prompts} - set(sources))
        if unknown:
            raise RecipeError(
                f"a prompt is for the unknown source {unknown[0]!r}; sources are "
                f"{', '.join(sources)}"
            )
        self._recipe = recipe
        self._query_prompts = [inputs.prompts.get(name, "") for name in sources]
        self._positive_prompts = [inputs.positive_prompts.get(name, "") for name in sources]
        self._query = _tokenizer_of(recipe.model.query, tokenizer)
        self._positive = _tokenizer_of(recipe.model.positive, tokenizer)

    def features(self, batch: Batch) -> Features:
        """Returns the features of this host's rows, numpy arrays.

        A row whose text has no token, or that lacks what a tower takes, is masked.
        """
        inputs = self._recipe.inputs
        query, has_query = self._side(batch, self._query, inputs.query_text, self._query_prompts)
        positive, has_positive = self._side(
            batch, self._positive, inputs.positive_text, self._positive_prompts
        )
        negative, has_negative = None, None
        if inputs.negative_text:
            negative, has_negative = self._side(
                batch, self._positive, inputs.negative_text, self._positive_prompts
            )
        return Features(
            query=query,
            positive=positive,
            mask=np.asarray(batch.mask & has_query & has_positive),
            source=batch.source,
            query_id=split_ids(batch.query_id),
            positive_id=split_ids(batch.positive_id),
            negative=negative,
            negative_mask=has_negative,
            teacher_query=batch.arrays.get(inputs.teacher_query),
            teacher_positive=batch.arrays.get(inputs.teacher_positive),
        )

    def _side(
        self, batch: Batch, tokenizer: Tokenizer | None, role: str, prompts: Sequence[str]
    ) -> tuple[Side, NDArray[np.bool_]]:
        """Returns what a tower takes, and bool [B], whether the row has it."""
        if tokenizer is None:
            if batch.image is None:
                raise ValueError(f"the batch of step {batch.step} holds no images")
            return Side(batch.image), batch.has_image
        texts = batch.extra[role].texts if role else batch.texts
        ids, mask = tokenizer(with_prompts(texts, batch.source, prompts))
        return Side(ids, mask), np.any(mask, axis=1, keepdims=True)[:, 0]


def _tokenizer_of(tower: ImageTower | TextTower, tokenizer: Tokenizer | None) -> Tokenizer | None:
    if isinstance(tower, ImageTower):
        return None
    if tokenizer is None:
        raise ValueError("a text tower needs a tokenizer")
    if tokenizer.vocabulary_size > tower.vocabulary_size:
        raise RecipeError(
            f"the tokenizer has {tokenizer.vocabulary_size} pieces, above vocabulary_size "
            f"{tower.vocabulary_size} of the text tower; raise that"
        )
    return Tokenizer(tokenizer.model, tower.length)


class Feed:
    """Iterates over batches on devices. One thread prepares the next while a step runs."""

    def __init__(self, batches: Iterator[Batch], preparation: Preparation, mesh: Mesh) -> None:
        self._batches = batches
        self._preparation = preparation
        self._mesh = mesh
        self._thread = ThreadPoolExecutor(1, "feed")
        self._next: Future[Fed | None] = self._thread.submit(self._prepare)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Fed:
        """Returns the next batch; raises what the loader raises."""
        fed = self._next.result()
        if fed is None:
            raise StopIteration
        self._next = self._thread.submit(self._prepare)
        return fed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        close: Any = getattr(self._batches, "close", None)
        if close is not None:
            close()

    def _prepare(self) -> Fed | None:
        batch = next(self._batches, None)
        if batch is None:
            return None
        features = self._preparation.features(batch)
        return Fed(to_devices(features, self._mesh), batch.keys)
