"""Keyed hashes of many ids at once."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def _prefixed(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def keyed_hashes(seed: int, purpose: str, keys: pa.Array) -> npt.NDArray[np.uint64]:
    """Returns `schemas.digests.keyed_hash(seed, purpose, key)` for every key.

    Args:
        seed: seed of the recipe.
        purpose: what the hashes are for; different purposes are independent.
        keys: strings, no nulls.

    Returns:
        Array of shape (keys,), uniform over [0, 2**64).
    """
    prefix = _prefixed(str(seed).encode()) + _prefixed(purpose.encode())
    digests = b"".join(
        hashlib.blake2b(prefix + len(key).to_bytes(8, "little") + key, digest_size=8).digest()
        for key in keys.cast(pa.binary()).to_pylist()
    )
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)
