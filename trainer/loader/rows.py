"""Turns places in shards into samples and pixels: what a decoding thread does."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.digests import digest
from schemas.shards import Shard
from trainer.loader.errors import BadRow, BadSampleError
from trainer.loader.images import NO_CHANCE, UNIFORMS, render
from trainer.loader.mixture import Mixture
from trainer.loader.options import LoaderOptions
from trainer.loader.reader import ShardReader
from trainer.loader.sampler import Rows
from trainer.loader.samples import Sample, SampleParser, image_extension


class _Read(NamedTuple):
    """A sample that was read: where from, and what it holds."""

    at: int
    source: int
    shard: Shard
    key: str
    content: tuple[Sample, bytes | None] | BadSampleError


class RowLoader:
    """Loads rows of a batch. Has no state of its own: threads share it."""

    def __init__(
        self, mixture: Mixture, options: LoaderOptions, reader: ShardReader, seed: int, first: int
    ) -> None:
        """Sets up a row loader.

        Args:
            mixture: what is loaded.
            options: how.
            reader: reads the shards.
            seed: seed of every random choice.
            first: position of this host's first row in the global batch.
        """
        self._mixture = mixture
        self._options = options
        self._reader = reader
        self._seed = seed
        self._first = first
        self._parser = SampleParser(options, plain=mixture.plain, seed=seed)

    def load(
        self, step: int, rows: Rows, chunk: range, image: NDArray[np.uint8] | None
    ) -> list[Sample | BadRow]:
        """Loads some rows of a host, and renders their images into `image`.

        Args:
            step: number of the step.
            rows: all rows of the host.
            chunk: which of them to load.
            image: uint8[B, S, S, 3] of zeros; a bad row stays zero. None for no images.

        Raises:
            ShardError: a shard is missing, truncated or altered.
        """
        # All are read before any is decoded: a decoder evicts the interpreter from the processor's
        # caches, which would cost as much again as reading itself.
        read = [self._read(step, rows, at) for at in chunk]
        return [self._finish(step, one, image) for one in read]

    def _read(self, step: int, rows: Rows, at: int) -> _Read:
        source, row = int(rows.source[at]), int(rows.row[at])
        shard = self._reader.shard(source, int(rows.shard[at]))
        index = self._reader.index(shard)
        key = index.key(row)
        content: tuple[Sample, bytes | None] | BadSampleError
        try:
            members = self._parser.choose(index.members(row))
            data = self._reader.read(shard, index, members)
            name = image_extension(data)
            content = self._parser.parse(key, step, data), data[name] if name else None
        except BadSampleError as error:
            content = error
        return _Read(at, source, shard, key, content)

    def _finish(self, step: int, read: _Read, image: NDArray[np.uint8] | None) -> Sample | BadRow:
        if isinstance(read.content, BadSampleError):
            return self._bad(read, read.content)
        sample, encoded = read.content
        if encoded is not None and image is not None and self._options.image is not None:
            try:
                render(encoded, self._options.image, self._chance(step, read.key), image[read.at])
            except BadSampleError as error:
                image[read.at] = 0
                return self._bad(read, error)
        return sample

    def _bad(self, read: _Read, error: BadSampleError) -> BadRow:
        return BadRow(
            row=self._first + read.at,
            source=self._mixture.manifest.sources[read.source].name,
            shard=read.shard.path,
            key=read.key,
            defect=error.defect,
            detail=error.detail,
        )

    def _chance(self, step: int, key: str) -> Sequence[float]:
        options = self._options.image
        by_chance = options is not None and (options.crop != "center" or options.flip)
        return uniforms(self._seed, step, key) if by_chance else NO_CHANCE


def uniforms(seed: int, step: int, key: str) -> list[float]:
    """Returns the chances of a sample at a step: five numbers, uniform in [0, 1)."""
    bits = digest(str(seed), "loader/image", str(step), key, size=8 * UNIFORMS)
    return [(number >> 11) * 2.0**-53 for number in struct.unpack(f"<{UNIFORMS}Q", bits)]
