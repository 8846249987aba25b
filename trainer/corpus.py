"""Every sample of a mixture, once and in order: what evaluation embeds."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas.shards import Shard, ShardSample
from trainer.loader.errors import BadSampleError, Defect
from trainer.loader.images import UNIFORMS, render
from trainer.loader.mixture import Mixture
from trainer.loader.options import ImageOptions
from trainer.loader.reader import ShardReader
from trainer.loader.samples import IMAGE_EXTENSIONS

_CENTRE = (0.5,) * UNIFORMS


@dataclasses.dataclass(frozen=True)
class Item:
    """One sample.

    Attributes:
        sample: its `json` member.
        image: uint8 [S, S, 3]; None where it has none, or none was asked for.
    """

    sample: ShardSample
    image: NDArray[np.uint8] | None


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A sample that cannot be used.

    Attributes:
        key: of the sample.
        defect, detail: what is wrong with it.
    """

    key: str
    defect: Defect
    detail: str


class Corpus:
    """Reads a mixture in the manifest's order. Evaluation images are cut in the middle."""

    def __init__(self, mixture: Mixture, side: int | None, threads: int = 2) -> None:
        """Sets up a reader.

        Args:
            mixture: what to read.
            side: of images, in pixels; None reads texts only.
            threads: that decode.
        """
        self._mixture = mixture
        self._reader = ShardReader(mixture, None)
        self._image = None if side is None else ImageOptions(size=side, fast_decode=False)
        self._threads = threads

    def items(self) -> Iterator[Item | Skipped]:
        """Yields every sample.

        Raises:
            ShardError: a shard is missing or altered.
        """
        with ThreadPoolExecutor(self._threads, "corpus") as pool:
            for chunk in _chunks(self._rows(), 16 * self._threads):
                yield from pool.map(self._read, chunk)
        self._reader.close()

    def _rows(self) -> Iterator[tuple[Shard, int]]:
        for source in self._mixture.manifest.sources:
            for shard in source.shards:
                for row in range(shard.samples):
                    yield shard, row

    def _read(self, place: tuple[Shard, int]) -> Item | Skipped:
        shard, row = place
        index = self._reader.index(shard)
        members = index.members(row)
        key = index.key(row)
        image = next((name for name in IMAGE_EXTENSIONS if name in members), None)
        wanted = ["json"] if image is None or self._image is None else ["json", image]
        if "json" not in members:
            return Skipped(key, Defect.METADATA_INVALID, "no json member")
        data = self._reader.read(shard, index, {name: members[name] for name in wanted})
        try:
            sample = ShardSample.model_validate_json(data["json"])
        except ValidationError as error:
            return Skipped(key, Defect.METADATA_INVALID, str(error.errors()[0]["msg"]))
        if image is None or self._image is None:
            return Item(sample, None)
        pixels = np.zeros((self._image.size, self._image.size, 3), np.uint8)
        try:
            render(data[image], self._image, _CENTRE, pixels)
        except BadSampleError as error:
            return Skipped(key, error.defect, error.detail)
        return Item(sample, pixels)


def _chunks(items: Iterator[Any], size: int) -> Iterator[Sequence[Any]]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk
