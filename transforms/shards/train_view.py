"""The train view: an image re-encoded to what a trainer decodes, in place of the original bytes.

Exact within one locked environment: another Pillow or codec may give other bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from schemas.recipe import TrainView
from transforms.signals.image import DecodedImage, decode_image

# What turns each EXIF orientation upright; 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# `measure` has refused images of too many pixels before this stage sees them.
_ANY_PIXELS = 1 << 62


@dataclass(frozen=True, slots=True)
class View:
    """A re-encoded image: its bytes, and its size in pixels."""

    data: bytes
    width: int
    height: int


def make_train_view(data: bytes, settings: TrainView) -> View:
    """Returns an image upright, in RGB, scaled down, without metadata.

    EXIF orientation is applied. Transparent pixels lie on white, as `decode_image` has them. Of an
    animation the first frame is taken. LANCZOS scales the short side down to `settings.short_side`;
    smaller images keep their size. Colour profiles are dropped, not applied: values count as sRGB,
    as they do for trainers.

    Args:
        data: an encoded image.
        settings: the view of the recipe.

    Raises:
        UnreadableImage: `data` cannot be decoded.
    """
    image = _upright(decode_image(data, _ANY_PIXELS))
    short_side = min(image.size)
    if short_side > settings.short_side:
        width, height = (round(side * settings.short_side / short_side) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    # Encoders would write what Pillow remembers of the original (comment, profile, EXIF).
    image.info.clear()
    sink = io.BytesIO()
    if settings.format == "jpeg":
        image.save(sink, "JPEG", quality=settings.quality, subsampling="4:2:0", optimize=True)
    else:
        image.save(sink, "WEBP", quality=settings.quality, method=4)
    return View(sink.getvalue(), *image.size)


def _upright(decoded: DecodedImage) -> Image.Image:
    image = decoded.rgb
    if decoded.exif_orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[decoded.exif_orientation])
    return image
