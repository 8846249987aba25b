"""The signals of images: decoding, measuring, and both for a batch (family `measure/image`).

Images are hostile input. Formats are recognised by content, from a closed list; the announced size
is checked before a pixel is decoded; what a damaged file makes Pillow raise becomes a reason.
Pixels are measured as stored: no EXIF rotation, no colour management.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import AvifImagePlugin, ExifTags, Image, UnidentifiedImageError

from schemas.reasons import OK, Reason
from schemas.signals import ROUND_DECIMALS
from schemas.tables import family_schema
from transforms.signals.formats import FORMATS, describe
from transforms.signals.hashes import dhash, phash, pixel_digest

FAMILY = "measure/image"
IMAGE_COLUMNS = pa.schema([field for field in family_schema(FAMILY) if field.name != "sample_id"])
"""Columns of `measure_images`: every signal, then `status` and `error`."""

# Pillow's own cap on pixels knows nothing of the recipe's, which takes its place.
Image.MAX_IMAGE_PIXELS = None
# Images are decoded side by side; one image needs no threads of its own.
cv2.setNumThreads(1)
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

# What Pillow's decoders let through on damaged bytes, found by feeding them a million mutated
# files of every accepted format. A MemoryError is none of them: it says nothing of the image.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
)
_IGNORE_PILLOW = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


class UnreadableImage(Exception):
    """Bytes that cannot be looked at.

    Attributes:
        reason: `media_unreadable` or `media_too_many_pixels`.
        detail: a sentence for people; equal bytes give equal text.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image, decoded whole; of an animation, the first frame.

    Attributes:
        mime: media type by content.
        size_bytes: size of the encoded image.
        width, height: of `rgb`.
        animated: the file holds more than one frame. The extra views of a multi-picture JPEG, which
            cameras write, are no frames.
        exif_orientation: 1 to 8; 1 where absent or invalid, and for TIFF, which Pillow turns
            upright as it decodes.
        rgb: mode RGB at full resolution, not rotated. Transparent pixels lie on white, as a browser
            shows them and as training views have them.
        alpha: uint8 (H, W), 255 is opaque; None where all pixels are.
    """

    mime: str
    size_bytes: int
    width: int
    height: int
    animated: bool
    exif_orientation: int
    rgb: Image.Image
    alpha: npt.NDArray[np.uint8] | None


class ImageSignals(NamedTuple):
    """The signals of an image in the order of the registry (`schemas.signals`)."""

    mime: str
    width: int
    height: int
    short_side_px: int
    aspect_ratio: float
    megapixels: float
    bytes: int
    entropy: float
    sharpness: float
    luminance: float
    alpha_share: float
    animated: bool
    exif_orientation: int
    phash: int
    dhash: int
    pixel_digest: str


def decode_image(data: bytes, max_pixels: int) -> DecodedImage:
    """Decodes an image whole, at full resolution.

    Args:
        data: the encoded image.
        max_pixels: images that announce more are refused before they are decoded.

    Raises:
        UnreadableImage: the bytes are no image of an accepted format, or damaged, or too many
            pixels.
    """
    if _IGNORE_PILLOW not in warnings.filters:
        # Odd metadata are no news; and whoever turns warnings into errors must not lose images.
        warnings.filterwarnings("ignore", module=_IGNORE_PILLOW[3].pattern)
    try:
        image = Image.open(BytesIO(data), formats=tuple(FORMATS))
    except UnidentifiedImageError:
        # Pillow's own text holds a memory address.
        raise UnreadableImage(Reason.MEDIA_UNREADABLE, describe(data)) from None
    except _DAMAGE as error:
        raise UnreadableImage(Reason.MEDIA_UNREADABLE, f"{describe(data)}: {error}") from error
    width, height = image.size
    if width * height > max_pixels:
        raise UnreadableImage(
            Reason.MEDIA_TOO_MANY_PIXELS,
            f"{width} × {height} = {width * height} pixels, more than max_pixels = {max_pixels}",
        )
    # A JPEG whose further pictures are previews or depth opens as another format.
    image_format = "JPEG" if image.format == "MPO" else str(image.format)
    try:
        image.load()
        rgb, alpha = _to_rgb(image)
        animated = image_format != "JPEG" and bool(getattr(image, "is_animated", False))
    except _DAMAGE as error:
        raise UnreadableImage(
            Reason.MEDIA_UNREADABLE, f"{image_format} that cannot be decoded whole: {error}"
        ) from error
    return DecodedImage(
        mime=FORMATS[image_format],
        size_bytes=len(data),
        width=rgb.width,
        height=rgb.height,
        animated=animated,
        exif_orientation=_orientation(image),
        rgb=rgb,
        alpha=alpha,
    )


def measure_image(image: DecodedImage) -> ImageSignals:
    """Returns the signals of an image; floating values are rounded to 1e-4."""
    luminance = image.rgb.convert("L")
    pixels = np.asarray(luminance)
    histogram = cv2.calcHist([pixels], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    shares = histogram / pixels.size
    occupied = shares[shares > 0]
    # Second derivatives of 8-bit values lie within ±1020: 16 bits hold them exactly.
    _, deviation = cv2.meanStdDev(cv2.Laplacian(pixels, cv2.CV_16S))
    short, long = sorted((image.width, image.height))
    opaque = 1.0 if image.alpha is None else np.count_nonzero(image.alpha == 255) / pixels.size
    return ImageSignals(
        mime=image.mime,
        width=image.width,
        height=image.height,
        short_side_px=short,
        aspect_ratio=_rounded(long / short),
        megapixels=_rounded(image.width * image.height / 1e6),
        bytes=image.size_bytes,
        entropy=_rounded(np.dot(occupied, np.log2(1 / occupied))),
        sharpness=_rounded(deviation[0, 0] ** 2),
        luminance=_rounded(np.dot(shares, np.arange(256))),
        alpha_share=_rounded(1.0 - opaque),
        animated=image.animated,
        exif_orientation=image.exif_orientation,
        phash=phash(luminance),
        dhash=dhash(luminance),
        pixel_digest=pixel_digest(image.rgb, image.alpha),
    )


def measure_images(
    blobs: Sequence[bytes | None], max_pixels: int, pool: Executor | None = None
) -> pa.RecordBatch:
    """Returns the signals of encoded images, one row each, in order.

    Args:
        blobs: encoded images; None where a row has none.
        max_pixels: images that announce more are refused before they are decoded.
        pool: threads that share the work (decoding releases the interpreter lock); the calling
            thread does it where None. The result is the same.

    Returns:
        `IMAGE_COLUMNS`. `status` is `ok`, a reason, or null where there is no image; `error` says
        more about a reason. Signals are null unless the status is `ok`.
    """
    measure = partial(_measure, max_pixels=max_pixels)
    rows = list(map(measure, blobs) if pool is None else pool.map(measure, blobs))
    columns = zip(*rows, strict=True) if rows else [()] * len(IMAGE_COLUMNS)
    arrays = [
        pa.array(column, field.type) for column, field in zip(columns, IMAGE_COLUMNS, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=IMAGE_COLUMNS)


_NO_SIGNALS = (None,) * len(ImageSignals._fields)


def _measure(data: bytes | None, max_pixels: int) -> tuple[object, ...]:
    """Returns a row of `IMAGE_COLUMNS`."""
    if data is None:
        return (*_NO_SIGNALS, None, None)
    try:
        image = decode_image(data, max_pixels)
    except UnreadableImage as refusal:
        return (*_NO_SIGNALS, refusal.reason.value, refusal.detail)
    return (*measure_image(image), OK, None)


def _to_rgb(image: Image.Image) -> tuple[Image.Image, npt.NDArray[np.uint8] | None]:
    """Returns a loaded image as RGB on white, and its alpha unless it is opaque throughout."""
    if image.mode in ("I", "F"):
        raise ValueError(f"32-bit samples (mode {image.mode}) have no agreed range")
    alpha: npt.NDArray[np.uint8] | None = None
    if image.mode.startswith("I;16"):
        pixels = np.asarray(image)
        if (key := image.info.get("transparency")) is not None:
            alpha = np.where(pixels == key, 0, 255).astype(np.uint8)
        # The high byte, which is also what Pillow keeps of 16-bit RGB.
        image = Image.fromarray((pixels >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    if alpha is not None and alpha.min() == 255:
        alpha = None
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if alpha is not None:
        white = Image.new("RGB", rgb.size, "white")
        rgb = Image.composite(rgb, white, Image.fromarray(alpha))
    return rgb, alpha


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        # Broken EXIF is ignored by every viewer.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _rounded(value: float) -> float:
    return round(float(value), ROUND_DECIMALS)
