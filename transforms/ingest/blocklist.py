"""Block lists: media that are never stored, by digest of their bytes or by perceptual hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from schemas import recipe
from storage.folders import open_folder
from transforms.ingest.inputs import SourceError
from transforms.signals.hashes import phash
from transforms.signals.image import UnreadableImage, decode_image

_PHASH_BYTES = 8
_WORD = np.dtype(">u8")

Words = npt.NDArray[np.uint64]
"""Hashes as rows of big-endian 64-bit words, sorted: shape (hashes, bytes / 8)."""


class BlockList:
    """Hashes of media that are never stored: 32, 16 and 8 bytes for each sha256, md5 and pHash."""

    def __init__(
        self, sha256: Words, md5: Words, phashes: Words, phash_radius: int, max_pixels: int
    ) -> None:
        """Keeps sorted hashes; see `load_block_list`."""
        self._digests = {"sha256": sha256, "md5": md5}
        self._phashes = phashes.ravel()
        self._radius = phash_radius
        self._max_pixels = max_pixels

    def match(self, data: bytes) -> str | None:
        """Returns which hash of the media is blocked, for people; None where none is.

        An image is decoded only where there are pHashes; one that cannot be decoded has none.
        """
        for name, blocked in self._digests.items():
            if len(blocked):
                digest = hashlib.new(name, data, usedforsecurity=False)
                if _contains(blocked, digest.digest()):
                    return f"{name} {digest.hexdigest()} is blocked"
        return self._match_phash(data) if len(self._phashes) else None

    def _match_phash(self, data: bytes) -> str | None:
        try:
            image = decode_image(data, self._max_pixels)
        except UnreadableImage:
            return None
        own = phash(image.rgb)
        distances = np.bitwise_count(self._phashes ^ np.uint64(own))
        nearest = int(distances.min())
        if nearest > self._radius:
            return None
        return f"pHash {own:016x} is {nearest} bits from a blocked one"


def load_block_list(settings: recipe.BlockList, max_pixels: int) -> BlockList:
    """Reads the files of a block list.

    Args:
        settings: paths or `gs://` URIs of the files, and the radius of pHashes.
        max_pixels: images with more pixels are not decoded, and match no pHash.

    Raises:
        SourceError: a line is not a hash of its kind; or there is no such file.
    """
    return BlockList(
        sha256=_load(settings.sha256, hashlib.sha256().digest_size),
        md5=_load(settings.md5, hashlib.md5(usedforsecurity=False).digest_size),
        phashes=_load(settings.phash, _PHASH_BYTES),
        phash_radius=settings.phash_radius,
        max_pixels=max_pixels,
    )


def _load(paths: Iterable[str], size: int) -> Words:
    hashes = bytearray()
    for path in paths:
        for number, line in enumerate(_lines(path), start=1):
            written = line.partition(b"#")[0].strip()
            if not written:
                continue
            one = _unhex(written)
            if len(one) != size:
                raise SourceError(
                    f"block list {path}, line {number}: {written[:80]!r} is not {2 * size} hex "
                    "digits; correct or remove the line"
                )
            hashes += one
    words = np.frombuffer(bytes(hashes), _WORD).reshape(-1, size // _WORD.itemsize)
    words = words.astype(np.uint64)
    return words[np.lexsort(words.T[::-1])]


def _lines(path: str) -> Iterator[bytes]:
    parent, slash, name = path.rpartition("/")
    try:
        with open_folder(parent or slash or ".").open(name) as file:
            yield from file
    except FileNotFoundError as error:
        raise SourceError(f"block list {path}: no such file; correct its path") from error


def _unhex(written: bytes) -> bytes:
    try:
        return bytes.fromhex(written.decode("ascii"))
    except ValueError:
        return b""


def _contains(blocked: Words, digest: bytes) -> bool:
    words = np.frombuffer(digest, _WORD).astype(np.uint64)
    first = blocked[:, 0]
    low = np.searchsorted(first, words[0], "left")
    high = np.searchsorted(first, words[0], "right")
    return bool((blocked[low:high] == words).all(axis=1).any())
