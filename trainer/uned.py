"""UnED: retrieval over eight domains with one index (2309.01858), from its TFRecord files.

Its layout (nikosips/Universal-Image-Embeddings) is `DOMAIN/SPLIT/DOMAIN.SPLIT.tfrecord`, with any
suffix, of Examples with `image_bytes`, `key` and `class_id`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer import metrics
from trainer.embedder import Embedder, Side
from trainer.inputs import InputError
from trainer.loader.errors import BadSampleError
from trainer.loader.images import NO_CHANCE, render
from trainer.loader.options import ImageOptions
from trainer.tfrecord import RecordError, parse_example, read_records

Split = Literal["val", "test"]

DOMAINS = ("cars", "sop", "inshop", "inat", "met", "gldv2", "food2k", "rp2k")

INDEX = {
    ("inshop", "test"): "index",
    ("met", "test"): "index",
    ("met", "val"): "small_index",
    ("gldv2", "test"): "index",
}
"""Split that is searched, where it is not the one that asks (`dataset_infos.py`)."""

DEPTH = 5
"""Of mMP@5."""

_CHUNK = 256
"""Images that are held at once."""


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The images of a split under a model.

    Attributes:
        embeddings: float32 [N, D].
        classes: N tuples of labels; queries of gldv2 may have several.
        skipped: images that cannot be decoded.
    """

    embeddings: NDArray[np.float32]
    classes: list[tuple[int, ...]]
    skipped: int


@dataclasses.dataclass(frozen=True)
class _Image:
    pixels: NDArray[np.uint8] | None
    classes: tuple[int, ...]


def uned_report(
    model: Embedder, side: Side, resolution: int, folder: Path, split: Split
) -> dict[str, Any]:
    """Returns R@1 and mMP@5 by domain, and their means, against the index of all domains present.

    A hit needs label and domain. An image that is in the index itself is no answer to its own
    query. Of equal scores, misses come first.

    Args:
        model: with an image tower.
        side: the image tower.
        resolution: its side in pixels.
        folder: of UnED.
        split: which queries ask.

    Raises:
        InputError: the folder holds no domain, a domain lacks a split, or a file is damaged.
    """
    domains = [name for name in DOMAINS if (folder / name).is_dir()]
    if not domains:
        raise InputError(f"{folder} holds no domain of UnED; they are {', '.join(DOMAINS)}")
    embed = _Splits(model, side, resolution, folder)
    index = [embed(domain, INDEX.get((domain, split), split)) for domain in domains]
    groups: dict[tuple[str, int], int] = {}
    numbered = [
        groups.setdefault((domain, labels[0]), len(groups))
        for domain, one in zip(domains, index, strict=True)
        for labels in one.classes
    ]
    items = metrics.normalise(np.concatenate([one.embeddings for one in index]))
    starts = np.cumsum([0, *(len(one.classes) for one in index)])
    report: dict[str, Any] = {}
    for domain, start in zip(domains, starts.tolist(), strict=False):
        asks_itself = (domain, split) not in INDEX
        queries = embed(domain, split)
        wanted = _numbers(domain, queries.classes, groups)
        own = np.arange(len(wanted)) + start if asks_itself else np.full(len(wanted), -1)
        report[domain] = domain_report(
            metrics.normalise(queries.embeddings), items, wanted, np.array(numbered), own
        ) | {"skipped": queries.skipped}
    means = {
        name: float(np.mean([report[domain][name] for domain in domains]))
        for name in ("R@1", f"mMP@{DEPTH}")
    }
    return {"split": split, "index": len(items), "domains": report, "mean": means}


def domain_report(
    queries: NDArray[np.float32],
    items: NDArray[np.float32],
    wanted: NDArray[np.int64],
    groups: NDArray[np.int64],
    own: NDArray[np.int64],
) -> dict[str, float]:
    """Returns R@1 and mMP@5 of the queries of a domain that have an answer in the index.

    Args:
        queries: float32 [Q, D], unit norm.
        items: float32 [N, D], the merged index, unit norm.
        wanted: int64 [Q, L], groups of each query; -1 where it has fewer.
        groups: int64 [N], group of each item: label and domain.
        own: int64 [Q], position of the query among the items; -1 where it is not there.
    """
    hits, relevant = metrics.best_relevance(queries, items, wanted, groups, DEPTH, own)
    asked = relevant > 0
    if not asked.any():
        return {"R@1": 0.0, f"mMP@{DEPTH}": 0.0, "queries": 0}
    precision = metrics.mean_modified_precision(hits[asked], relevant[asked], DEPTH)
    recall = float(np.mean(hits[asked, 0]))
    return {"R@1": recall, f"mMP@{DEPTH}": precision, "queries": int(asked.sum())}


def _numbers(
    domain: str, classes: list[tuple[int, ...]], groups: dict[tuple[str, int], int]
) -> NDArray[np.int64]:
    """Returns int64 [Q, L] groups; -1 for labels that the index lacks, and for padding."""
    most = max(map(len, classes), default=1)
    numbers = np.full((len(classes), most), -1, np.int64)
    for row, labels in enumerate(classes):
        numbers[row, : len(labels)] = [groups.get((domain, label), -1) for label in labels]
    return numbers


class _Splits:
    """Embeds splits, each once."""

    def __init__(self, model: Embedder, side: Side, resolution: int, folder: Path) -> None:
        self._model = model
        self._side = side
        self._options = ImageOptions(size=resolution, fast_decode=False)
        self._folder = folder
        self._done: dict[tuple[str, str], Labelled] = {}

    def __call__(self, domain: str, split: str) -> Labelled:
        """Returns a split under the model.

        Raises:
            InputError: it is missing, empty, or damaged.
        """
        if (domain, split) not in self._done:
            self._done[domain, split] = self._embed(domain, split)
        return self._done[domain, split]

    def _embed(self, domain: str, split: str) -> Labelled:
        stem = f"{domain}.{split}.tfrecord"
        files = sorted((self._folder / domain / split).glob(f"{stem}*"))
        vectors: list[NDArray[np.float32]] = []
        classes: list[tuple[int, ...]] = []
        skipped = 0
        records = itertools.chain.from_iterable(_records(path) for path in files)
        with ThreadPoolExecutor(2, "uned") as pool:
            while chunk := list(itertools.islice(records, _CHUNK)):
                images = list(pool.map(self._image, chunk))
                good = [(one.pixels, one.classes) for one in images if one.pixels is not None]
                skipped += len(images) - len(good)
                classes += [labels for _, labels in good]
                vectors.append(self._model.images(self._side, [pixels for pixels, _ in good]))
        if not classes:
            raise InputError(f"no image in {self._folder / domain / split}/{stem}*")
        return Labelled(np.concatenate(vectors), classes, skipped)

    def _image(self, record: tuple[Path, bytes]) -> _Image:
        path, data = record
        try:
            example = parse_example(data)
        except RecordError as error:
            raise InputError(f"{path}: {error}") from error
        encoded = [one for one in example.get("image_bytes", ()) if isinstance(one, bytes)]
        labels = [one for one in example.get("class_id", ()) if isinstance(one, int)]
        if not encoded or not labels:
            raise InputError(f"{path}: a record lacks image_bytes or class_id; it is not UnED's")
        pixels = np.zeros((self._options.size, self._options.size, 3), np.uint8)
        try:
            render(encoded[0], self._options, NO_CHANCE, pixels)
        except BadSampleError:
            return _Image(None, ())
        return _Image(pixels, tuple(labels))


def _records(path: Path) -> Iterator[tuple[Path, bytes]]:
    try:
        with path.open("rb") as file:
            for data in read_records(file):
                yield path, data
    except (OSError, RecordError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
