"""From the bytes of an image to a square of pixels.

JPEG goes through libjpeg-turbo (simplejpeg), which reports damaged data and can decode at eighths
of the size; all else through Pillow.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, log, sqrt

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from trainer.loader.errors import BadSampleError, Defect
from trainer.loader.options import ImageOptions

UNIFORMS = 5
"""Random numbers that rendering an image takes."""

NO_CHANCE = (0.5,) * UNIFORMS
"""Enough where the options leave nothing to chance."""

_JPEG = b"\xff\xd8"
_HARMLESS = "extraneous bytes before marker"
"""The one complaint of libjpeg that leaves no trace in the pixels: bytes that belong to nothing."""

_LINEAR_SHRINK = 2.0
"""Bilinear sampling reads every pixel up to this factor; beyond it, areas must be averaged."""

_PILLOW_REFUSES = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
)
_PILLOW_FEARS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_ORIENTATION_TAG = 0x0112
_EXIF_WITHIN = 4096
_MAX_EXIF_ENTRIES = 64


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle of an image, in its pixels, and whether it is mirrored."""

    top: float
    left: float
    height: float
    width: float
    mirrored: bool

    def cut(
        self, pixels: NDArray[np.uint8], full_height: int, full_width: int
    ) -> NDArray[np.uint8]:
        """Returns the rectangle of an image that was decoded at any scale, as a view."""
        down, across = pixels.shape[0] / full_height, pixels.shape[1] / full_width
        height = min(max(1, round(self.height * down)), pixels.shape[0])
        width = min(max(1, round(self.width * across)), pixels.shape[1])
        top = min(round(self.top * down), pixels.shape[0] - height)
        left = min(round(self.left * across), pixels.shape[1] - width)
        return pixels[top : top + height, left : left + width]


def render(
    data: bytes, options: ImageOptions, random: Sequence[float], out: NDArray[np.uint8]
) -> None:
    """Decodes, crops and scales an image.

    Args:
        data: the encoded image.
        options: what to make of it.
        random: UNIFORMS numbers in [0, 1); what chance decides depends on nothing else.
        out: uint8[size, size, 3], contiguous; is filled with RGB.

    Raises:
        BadSampleError: the image is damaged, of an unknown format or too large.
    """
    header = _jpeg_header(data) if data.startswith(_JPEG) else None
    if header is None:
        pixels = _decode_other(data, options)
        height, width = pixels.shape[:2]
        crop = choose_crop(height, width, options, random)
    else:
        height, width = header
        _check_size(height, width, options)
        crop = choose_crop(height, width, options, random)
        pixels = _decode_jpeg(data, _bounds(height, width, crop, options))
    _resize(crop.cut(pixels, height, width), options, out)
    if crop.mirrored:
        out[:] = out[:, ::-1].copy()
    if header is not None and (orientation := exif_orientation(data)) != 1:
        out[:] = _oriented(out, orientation)


def choose_crop(height: int, width: int, options: ImageOptions, random: Sequence[float]) -> Crop:
    """Returns the part of an image that is used.

    A `resized` crop draws its area evenly from `scale` and its ratio log-evenly from `ratio`; sides
    that are longer than the image are cut to it.
    """
    if options.crop == "resized":
        area = height * width * _between(options.scale, random[0])
        low, high = options.ratio
        ratio = exp(_between((log(low), log(high)), random[1]))
        box = (min(sqrt(area / ratio), height), min(sqrt(area * ratio), width))
    else:
        side = min(height, width) * options.size / (options.resize or options.size)
        box = (side, side)
    across, down = (0.5, 0.5) if options.crop == "center" else (random[2], random[3])
    return Crop(
        top=(height - box[0]) * down,
        left=(width - box[1]) * across,
        height=box[0],
        width=box[1],
        mirrored=random[4] < options.flip,
    )


def exif_orientation(data: bytes) -> int:
    """Returns the orientation that a JPEG's Exif header asks for, 1 to 8; 1 where it asks none."""
    at = data.find(b"Exif\0\0", 0, _EXIF_WITHIN)
    if at < 0:
        return 1
    tiff = data[at + 6 : at + 6 + (1 << 16)]
    if tiff.startswith(b"II*\0"):
        order = "<"
    elif tiff.startswith(b"MM\0*"):
        order = ">"
    else:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(min(count, _MAX_EXIF_ENTRIES)):
            tag, value = struct.unpack_from(f"{order}H6xH", tiff, start + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        # The header ends before its own offsets.
        return 1
    return 1


def _jpeg_header(data: bytes) -> tuple[int, int] | None:
    """Returns (height, width) of a JPEG that libjpeg-turbo turns into RGB; None for any other."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):
        # Damaged, or subsampled in a rare way: Pillow tells which.
        return None
    return (height, width) if space in ("RGB", "YCbCr", "Gray") else None


def _bounds(height: int, width: int, crop: Crop, options: ImageOptions) -> dict[str, int]:
    """Returns the least size to decode at, as arguments of `simplejpeg.decode_jpeg`."""
    least = options.size / min(crop.height, crop.width)
    if not options.fast_decode or least >= 1:
        return {}
    return {"min_height": ceil(height * least), "min_width": ceil(width * least)}


def _decode_jpeg(data: bytes, bounds: dict[str, int]) -> NDArray[np.uint8]:
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", **bounds)
    except ValueError as error:
        if _HARMLESS not in str(error):
            raise BadSampleError(Defect.IMAGE_UNREADABLE, str(error)) from error
        pixels = simplejpeg.decode_jpeg(data, "RGB", strict=False, **bounds)
    return pixels


def _decode_other(data: bytes, options: ImageOptions) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_size(image.height, image.width, options)
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except _PILLOW_FEARS as error:
        raise BadSampleError(Defect.IMAGE_TOO_LARGE, str(error)) from error
    except _PILLOW_REFUSES as error:
        raise BadSampleError(Defect.IMAGE_UNREADABLE, str(error)) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Returns 8-bit RGB: the high byte of 16-bit grey, and white behind what is transparent."""
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image, np.int64), 0, 65535) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        front = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", front.size, "white"), front).convert("RGB")
    return image.convert("RGB")


def _check_size(height: int, width: int, options: ImageOptions) -> None:
    if height * width > options.max_pixels:
        raise BadSampleError(
            Defect.IMAGE_TOO_LARGE, f"{width} × {height} pixels, more than {options.max_pixels}"
        )


def _resize(pixels: NDArray[np.uint8], options: ImageOptions, out: NDArray[np.uint8]) -> None:
    shrink = max(pixels.shape[:2]) / options.size
    if pixels.shape == out.shape:
        out[:] = pixels
        return
    averaged = shrink > (_LINEAR_SHRINK if options.fast_decode else 1)
    method = cv2.INTER_AREA if averaged else cv2.INTER_LINEAR
    cv2.resize(pixels, (options.size, options.size), dst=out, interpolation=method)


def _between(bounds: tuple[float, float], uniform: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * uniform


def _oriented(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Returns a copy of a square image turned upright (Exif 2.3, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels.copy()
