"""A mixture under a model: its items, its texts, and which belong together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.digests import hex_digest
from schemas.shards import ShardSample, ShardText
from storage.errors import StorageError
from trainer import evaluation
from trainer.corpus import Corpus, Item, Skipped
from trainer.embedder import Embedder, Side
from trainer.evaluation import Retrieval
from trainer.inputs import InputError
from trainer.loader.mixture import Mixture, open_mixture
from trainer.towers.settings import ImageTower

PRIMARY = "primary"
"""In place of a role: the text that a sample is trained with unless the recipe says otherwise."""

_ITEMS = 1024
"""Images that are held at once."""


class Sides(NamedTuple):
    """Which tower embeds what.

    Attributes:
        item: the tower for images, or for queries where neither takes images.
        text: the other one.
        resolution: of images; None where neither tower takes any.
    """

    item: Side
    text: Side
    resolution: int | None

    @property
    def kind(self) -> Literal["image", "query"]:
        """What the items are."""
        return "query" if self.resolution is None else "image"


@dataclasses.dataclass(frozen=True)
class Embedded:
    """A mixture under a model.

    Attributes:
        samples: N samples, without their images.
        items: float32 [N, D]: their images, or the texts of their queries.
        texts: float32 [P, D]: all their texts, or those of their positives.
        retrieval: which belong together.
        skipped: samples that could not be used, by defect.
    """

    samples: list[ShardSample]
    items: NDArray[np.float32]
    texts: NDArray[np.float32]
    retrieval: Retrieval
    skipped: dict[str, int]


def sides(model: Embedder) -> Sides:
    """Returns which tower of a model embeds what."""
    query, positive = model.recipe.model.query, model.recipe.model.positive
    if isinstance(query, ImageTower):
        return Sides("query", "positive", query.resolution)
    if isinstance(positive, ImageTower):
        return Sides("positive", "query", positive.resolution)
    return Sides("query", "positive", None)


def embed_mixture(model: Embedder, work: str, name: str, roles: Sequence[str] = ()) -> Embedded:
    """Embeds every pair of a mixture; images are held a chunk at a time.

    Args:
        model: of an image tower and a text tower, or of two text towers.
        work: work directory.
        name: of the mixture.
        roles: roles of the texts that count, `PRIMARY` among them; where empty, all texts of an
            image, or the role that the recipe names for the positives of queries.

    Raises:
        InputError: the mixture is missing, or no sample of it is a pair.
    """
    side = sides(model)
    inputs = model.recipe.inputs
    prompts = {"query": inputs.prompts, "positive": inputs.positive_prompts}
    if side.resolution is None and not roles:
        roles = (inputs.positive_text or PRIMARY,)
    samples: list[ShardSample] = []
    texts: list[str] = []
    languages: list[str] = []
    owners: list[int] = []
    skipped: Counter[str] = Counter()
    pending = _Pending(model, side.item)
    for item in Corpus(_open(work, name), side.resolution).items():
        if isinstance(item, Skipped):
            skipped[item.defect.value] += 1
            continue
        asks = _item(item, side, inputs.query_text or PRIMARY, prompts[side.item])
        said = _texts(item.sample, roles)
        if asks is None or not said:
            continue
        prompt = prompts[side.text].get(item.sample.source, "{text}")
        for one in said:
            texts.append(prompt.replace("{text}", one.text))
            languages.append(one.lang or "")
            owners.append(len(samples))
        samples.append(item.sample)
        pending.add(asks)
    if not samples:
        raise InputError(f"mixture {name!r} in {work} holds no pair that the model can read")
    groups = _groups(samples, texts, owners)
    return Embedded(
        samples=samples,
        items=pending.all(),
        texts=model.texts(side.text, texts),
        retrieval=Retrieval(groups, groups[owners], languages, side.kind),
        skipped=dict(skipped),
    )


class _Pending:
    """Items that wait until there are enough to embed."""

    def __init__(self, model: Embedder, side: Side) -> None:
        self._model = model
        self._side = side
        self._images: list[NDArray[np.uint8]] = []
        self._texts: list[str] = []
        self._embedded: list[NDArray[np.float32]] = []

    def add(self, item: NDArray[np.uint8] | str) -> None:
        """Takes one more; a model's items are all of one type."""
        if isinstance(item, str):
            self._texts.append(item)
        else:
            self._images.append(item)
        if len(self._images) + len(self._texts) == _ITEMS:
            self._embed()

    def all(self) -> NDArray[np.float32]:
        """Returns float32 [N, D] of everything added."""
        self._embed()
        return np.concatenate(self._embedded)

    def _embed(self) -> None:
        if self._images:
            self._embedded.append(self._model.images(self._side, self._images))
        if self._texts:
            self._embedded.append(self._model.texts(self._side, self._texts))
        self._images.clear()
        self._texts.clear()


def _item(
    item: Item, side: Sides, role: str, prompts: dict[str, str]
) -> NDArray[np.uint8] | str | None:
    """Returns what asks: the image, or the text of the query; None where there is none."""
    if side.resolution is not None:
        return item.image
    said = _texts(item.sample, (role,))
    prompt = prompts.get(item.sample.source, "{text}")
    return prompt.replace("{text}", said[0].text) if said else None


def _texts(sample: ShardSample, roles: Sequence[str]) -> list[ShardText]:
    """Returns the texts of a sample that count; all where there are no roles."""
    return [
        one
        for number, one in enumerate(sample.texts)
        if one.text.strip()
        and (not roles or one.role in roles or (number == 0 and PRIMARY in roles))
    ]


def _groups(
    samples: Sequence[ShardSample], texts: Sequence[str], owners: Sequence[int]
) -> NDArray[np.int64]:
    identities = [[f"query {sample.query_id}"] for sample in samples]
    for owner, text in zip(owners, texts, strict=True):
        identities[owner].append(f"text {hex_digest(text)}")
    return evaluation.group_by_content(identities)


def _open(work: str, name: str) -> Mixture:
    try:
        return open_mixture(work, name)
    except (FileNotFoundError, StorageError, ValueError) as error:
        raise InputError(f"mixture {name!r} in {work}: {error}") from error
