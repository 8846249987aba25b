"""Hashes of decoded pixels: perceptual ones (bit-identical to imagehash 4.3), and an exact digest.

Perceptual hashes hold for one decode: Pillow, full resolution, no draft mode. A JPEG decoded at a
reduced scale moves by up to 6 bits of 64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.fftpack
from PIL import Image

from schemas.digests import hex_digest

_HASH_SIDE = 8
_DCT_SIDE = 32


def phash(image: Image.Image) -> int:
    """Returns the DCT hash of an image, 64 bits: `imagehash.phash(image)` as an integer.

    Args:
        image: RGB, or its luminance (mode L, by `convert("L")`).
    """
    small = _luminance(image).resize((_DCT_SIDE, _DCT_SIDE), Image.Resampling.LANCZOS)
    dct = scipy.fftpack.dct(scipy.fftpack.dct(np.asarray(small), axis=0), axis=1)
    low = dct[:_HASH_SIDE, :_HASH_SIDE].ravel()
    # The median of an even count, as numpy.median computes it, which costs more than the DCT.
    middle = low.size // 2
    ordered = np.partition(low, (middle - 1, middle))
    return _to_int(low > (ordered[middle - 1] + ordered[middle]) / 2)


def dhash(image: Image.Image) -> int:
    """Returns the difference hash of an image, 64 bits: `imagehash.dhash(image)` as an integer.

    Args:
        image: RGB, or its luminance (mode L, by `convert("L")`).
    """
    small = _luminance(image).resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.LANCZOS)
    pixels = np.asarray(small)
    return _to_int(pixels[:, 1:] > pixels[:, :-1])


def pixel_digest(rgb: Image.Image, alpha: npt.NDArray[np.uint8] | None) -> str:
    """Returns 32 hex digits over mode, size and pixels, whatever the file format was.

    Args:
        rgb: mode RGB.
        alpha: uint8 (H, W); None where the image is opaque.
    """
    planes = [rgb.tobytes()] if alpha is None else [rgb.tobytes(), alpha.tobytes()]
    mode = "RGB" if alpha is None else "RGBA"
    return hex_digest(mode, f"{rgb.width}x{rgb.height}", *planes)


def _luminance(image: Image.Image) -> Image.Image:
    return image if image.mode == "L" else image.convert("L")


def _to_int(bits: npt.NDArray[np.bool_]) -> int:
    """Returns bits in row order as an integer, the first bit the most significant."""
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
