"""Hashes of decoded pixels: perceptual ones (by imagehash), and an exact digest.

Perceptual hashes hold for one decode: Pillow, full resolution, no draft mode. A JPEG decoded at a
reduced scale moves by up to 6 bits of 64.
"""

from __future__ import annotations

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from schemas.digests import hex_digest


def phash(image: Image.Image) -> int:
    """Returns the DCT hash of an image, 64 bits: `imagehash.phash(image)` as an integer.

    Args:
        image: RGB, or its luminance (mode L, by `convert("L")`).
    """
    return _to_int(imagehash.phash(image).hash)


def dhash(image: Image.Image) -> int:
    """Returns the difference hash of an image, 64 bits: `imagehash.dhash(image)` as an integer.

    Args:
        image: RGB, or its luminance (mode L, by `convert("L")`).
    """
    return _to_int(imagehash.dhash(image).hash)


def pixel_digest(rgb: Image.Image, alpha: npt.NDArray[np.uint8] | None) -> str:
    """Returns 32 hex digits over mode, size and pixels, whatever the file format was.

    Args:
        rgb: mode RGB.
        alpha: uint8 (H, W); None where the image is opaque.
    """
    planes = [rgb.tobytes()] if alpha is None else [rgb.tobytes(), alpha.tobytes()]
    mode = "RGB" if alpha is None else "RGBA"
    return hex_digest(mode, f"{rgb.width}x{rgb.height}", *planes)


def _to_int(bits: npt.NDArray[np.bool_]) -> int:
    """Returns bits in row order as an integer, the first bit the most significant."""
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
