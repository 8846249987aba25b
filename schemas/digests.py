"""Digests: ids, fingerprints and keyed hashes. Pure functions of their arguments.

Every digest is taken over length-prefixed parts, so that `("ab", "c")` and `("a", "bc")` differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

SAMPLE_ID_HEX = 32
"""Length of a `sample_id` in hex digits (128 bits)."""


def digest(*parts: str | bytes, size: int = 16) -> bytes:
    """Returns blake2b of the length-prefixed parts.

    Args:
        *parts: text (taken as UTF-8) or bytes.
        size: bytes of the result, 1 to 64.
    """
    hasher = hashlib.blake2b(digest_size=size)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.digest()


def hex_digest(*parts: str | bytes, size: int = 16) -> str:
    """Returns `digest` as lower-case hex, 2 × `size` characters."""
    return digest(*parts, size=size).hex()


def sample_id(source: str, locator: str, text: str | bytes | None) -> str:
    """Returns the id of a sample: 32 hex digits of (source, locator, digest of the text).

    Args:
        source: name of the source in the recipe.
        locator: where the sample is, relative to the root of its source.
        text: the primary text as received; None where there is none.
    """
    text_digest = b"" if text is None else digest(text)
    return hex_digest(source, locator, text_digest, size=SAMPLE_ID_HEX // 2)


def media_id(data: bytes) -> str:
    """Returns the id of media: sha256 of the bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def keyed_hash(seed: int, purpose: str, key: str | bytes) -> int:
    """Returns an unsigned 64-bit hash of `key` under (seed, purpose), uniform over keys.

    Sampling, ordering and tie-breaking use it instead of a random generator, each under a purpose
    of its own so that they are independent of one another.
    """
    return int.from_bytes(digest(str(seed), purpose, key, size=8), "big")


def canonical_json(value: Any) -> str:
    """Returns JSON with sorted keys and no white space: equal values give equal text."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def fingerprint(name: str, version: int, settings: Any, inputs: Iterable[str] = ()) -> str:
    """Returns the fingerprint of a column family or stage output: 16 hex digits.

    Args:
        name: the family, for example `measure/image`.
        version: version number of the code that computes it; raised when its values change.
        settings: the slice of the recipe that it depends on, as plain JSON values.
        inputs: fingerprints of what it is computed from; order does not matter.
    """
    return hex_digest(name, str(version), canonical_json(settings), *sorted(inputs), size=8)


def set_digest(members: Iterable[bytes]) -> str:
    """Returns an order-free digest of a multiset of 32-byte digests: their sum modulo 2**256.

    Partial sums of disjoint subsets add up (`combine_set_digests`), so workers can share the work.
    """
    total = sum(int.from_bytes(member, "big") for member in members) % (1 << 256)
    return f"{total:064x}"


def combine_set_digests(digests: Iterable[str]) -> str:
    """Adds up set digests of disjoint subsets into the digest of their union."""
    return f"{sum(int(one, 16) for one in digests) % (1 << 256):064x}"
