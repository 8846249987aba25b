"""A keyed permutation of the numbers below n, computed one by one: a shuffle without a table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from schemas.digests import digest

ROUNDS = 8
"""Rounds of the Feistel network: twice the four that make it a pseudo-random permutation."""

_MULTIPLIERS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)
_SHIFTS = np.array([30, 27, 31], np.uint64)


@dataclass(frozen=True)
class Permutation:
    """A bijection of [0, size) under a key.

    An alternating Feistel network over the bits of `size - 1` permutes the next power of two; what
    falls outside is sent through again until it falls inside (cycle-walking, Black and Rogaway,
    "Ciphers with Arbitrary Finite Domains", CT-RSA 2002), less than once on average.

    Attributes:
        size: how many numbers are permuted, 1 to 2**63.
        key: 64 bytes, the round keys; `keyed` derives them.
    """

    size: int
    key: bytes

    @classmethod
    def keyed(cls, size: int, *parts: str) -> Permutation:
        """Returns the permutation of [0, size) that `parts` name."""
        return cls(size, digest(*parts, size=8 * ROUNDS))

    def __call__(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the images of `index`, int64 of the same shape, all in [0, size)."""
        images = self._encrypt(index.astype(np.uint64))
        outside = np.flatnonzero(images >= self.size)
        while outside.size:
            images[outside] = self._encrypt(images[outside])
            outside = outside[images[outside] >= self.size]
        return images.astype(np.int64)

    @cached_property
    def _round_keys(self) -> NDArray[np.uint64]:
        return np.frombuffer(self.key, "<u8").astype(np.uint64)

    def _encrypt(self, value: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Permutes [0, 2**bits), where 2**bits is the first power of two that holds `size`."""
        bits = (self.size - 1).bit_length()
        low_bits = np.uint64(bits // 2)
        low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
        high_mask = (np.uint64(1) << np.uint64(bits - bits // 2)) - np.uint64(1)
        low, high = value & low_mask, value >> low_bits
        for even, odd in self._round_keys.reshape(-1, 2):
            high = high ^ (_mix(low, even) & high_mask)
            low = low ^ (_mix(high, odd) & low_mask)
        return (high << low_bits) | low


def _mix(value: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """Returns 64 well-mixed bits per value: the finaliser of SplitMix64 after the key."""
    value = value ^ key
    value = (value ^ (value >> _SHIFTS[0])) * _MULTIPLIERS[0]
    value = (value ^ (value >> _SHIFTS[1])) * _MULTIPLIERS[1]
    return value ^ (value >> _SHIFTS[2])
