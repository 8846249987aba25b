from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from trainer.loader.errors import BadSampleError, Defect
from trainer.loader.images import NO_CHANCE, UNIFORMS, choose_crop, exif_orientation, render
from trainer.loader.options import ImageOptions


def rendered(
    data: bytes, random: Sequence[float] = NO_CHANCE, **options: Any
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    made = ImageOptions(**{"size": 32} | options)
    out = np.zeros((made.size, made.size, 3), np.uint8)
    render(data, made, random, out)
    return out


def encode(image: Image.Image, kind: str, **save: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **save)
    return sink.getvalue()


def quadrants(width: int = 96, height: int = 96) -> Image.Image:
    """Red, green / blue, white."""
    image = Image.new("RGB", (width, height), "white")
    image.paste("red", (0, 0, width // 2, height // 2))
    image.paste("lime", (width // 2, 0, width, height // 2))
    image.paste("blue", (0, height // 2, width // 2, height))
    return image


def corners(pixels: np.ndarray[Any, Any]) -> list[list[int]]:
    """The colours of the four quadrants, rounded to 0 or 1."""
    size = len(pixels)
    places = [(size // 4, size // 4), (size // 4, -size // 4), (-size // 4, size // 4)]
    return [(pixels[place] > 127).astype(int).tolist() for place in places]


RED, GREEN, BLUE, WHITE = [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("fast", [True, False])
def test_formats_come_out_alike(kind: str, fast: bool) -> None:
    pixels = rendered(encode(quadrants(), kind), fast_decode=fast)
    assert corners(pixels) == [RED, GREEN, BLUE]


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "LA", "1", "I;16"])
def test_modes_become_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((40, 40), 40_000, np.uint16))
        data = encode(image, "PNG")
    else:
        kind = "JPEG" if mode in ("L", "CMYK") else "PNG"
        data = encode(Image.new("RGB", (40, 40), (200, 200, 200)).convert(mode), kind)
    grey = rendered(data).mean()
    assert grey == pytest.approx(
        {"1": 200, "I;16": 156}.get(mode, 200), abs=4 if mode != "1" else 60
    )


def test_white_shows_through_transparency() -> None:
    assert rendered(encode(Image.new("RGBA", (40, 40), (0, 0, 0, 0)), "PNG")).min() == 255


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [RED, GREEN, BLUE]),
        (2, [GREEN, RED, WHITE]),
        (3, [WHITE, BLUE, GREEN]),
        (4, [BLUE, WHITE, RED]),
        (5, [RED, BLUE, GREEN]),
        (6, [BLUE, RED, WHITE]),
        (7, [WHITE, GREEN, BLUE]),
        (8, [GREEN, WHITE, RED]),
    ],
)
def test_exif_orientation_is_applied(orientation: int, expected: list[list[int]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(quadrants(), "JPEG", exif=exif)
    assert exif_orientation(data) == orientation
    assert corners(rendered(data)) == expected
    # Pillow, which reads everything but ordinary JPEG, turns images alike.
    assert corners(rendered(encode(quadrants(), "PNG", exif=exif))) == expected
    assert corners(rendered(encode(quadrants().convert("CMYK"), "JPEG", exif=exif))) == expected


@given(st.binary(max_size=200))
def test_no_exif_header_breaks_the_parser(tail: bytes) -> None:
    for order in (b"II*\0", b"MM\0*", b""):
        assert 1 <= exif_orientation(b"\xff\xd8\xff\xe1Exif\0\0" + order + tail) <= 8


def test_the_centre_is_cut_out_of_a_wide_image() -> None:
    image = Image.new("RGB", (300, 100), "black")
    image.paste("white", (100, 0, 200, 100))
    assert rendered(encode(image, "PNG")).min() == 255
    assert rendered(encode(image, "JPEG", quality=95))[:, 2:-2].min() > 240
    assert rendered(encode(image.transpose(Image.Transpose.ROTATE_90), "PNG")).min() == 255


def test_resize_before_the_crop_zooms_out() -> None:
    image = Image.new("RGB", (200, 200), "black")
    image.paste("white", (50, 50, 150, 150))
    assert rendered(encode(image, "PNG"), resize=64).min() == 255
    assert rendered(encode(image, "PNG"), resize=32).mean() == pytest.approx(255 / 4, abs=3)


def test_fast_decoding_is_close_to_exact(jpeg: Callable[..., bytes]) -> None:
    data = jpeg(1, 640, 512)
    fast, exact = rendered(data), rendered(data, fast_decode=False)
    assert np.abs(fast.astype(int) - exact).mean() < 1.5
    reference = Image.open(io.BytesIO(data)).resize(
        (32, 32), Image.Resampling.BOX, box=(64, 0, 576, 512)
    )
    assert np.abs(exact.astype(int) - np.asarray(reference)).mean() < 1.5


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    crop=st.sampled_from(["center", "random", "resized"]),
    random=st.lists(st.floats(0, 1, exclude_max=True), min_size=UNIFORMS, max_size=UNIFORMS),
)
def test_crops_lie_inside(height: int, width: int, crop: Any, random: list[float]) -> None:
    options = ImageOptions(size=224, resize=256, crop=crop, scale=(0.1, 1.0), flip=0.5)
    found = choose_crop(height, width, options, random)
    assert 0 <= found.top <= height - found.height + 1e-6
    assert 0 <= found.left <= width - found.width + 1e-6
    assert found.height > 0
    assert found.width > 0
    assert found.mirrored == (random[4] < 0.5)
    pixels = np.zeros((max(1, height // 3), max(1, width // 3), 3), np.uint8)
    assert min(found.cut(pixels, height, width).shape[:2]) >= 1


def test_a_resized_crop_has_the_area_that_was_drawn() -> None:
    options = ImageOptions(crop="resized", scale=(0.2, 0.6))
    for uniform in (0.0, 0.5, 0.999):
        crop = choose_crop(1000, 1000, options, [uniform, 0.3, 0.5, 0.5, 0.9])
        assert crop.height * crop.width / 1e6 == pytest.approx(0.2 + 0.4 * uniform)


def test_flipping_mirrors() -> None:
    data = encode(quadrants(), "JPEG")
    chance = (0.5, 0.5, 0.5, 0.5, 0.4)
    assert_array_equal(rendered(data, chance, flip=0.5), rendered(data)[:, ::-1])
    assert_array_equal(rendered(data, chance, flip=0.3), rendered(data))


def test_a_tiny_image_is_enlarged() -> None:
    assert rendered(encode(Image.new("RGB", (1, 1), "white"), "JPEG")).min() > 250


def test_stray_bytes_do_no_harm(jpeg: Callable[..., bytes]) -> None:
    data = jpeg(5, 64, 64)
    assert_array_equal(rendered(data[:-2] + b"stray" + data[-2:]), rendered(data))
    assert_array_equal(rendered(data + b"more"), rendered(data))


def break_middle(data: bytes) -> bytes:
    middle = len(data) // 2
    return (
        data[:middle]
        + bytes(byte ^ 0x5A for byte in data[middle : middle + 300])
        + data[middle + 300 :]
    )


def bomb() -> bytes:
    """A PNG of 100,000 × 100,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


@pytest.mark.parametrize(
    "make",
    [
        lambda jpeg: b"",
        lambda jpeg: b"<svg></svg>",
        lambda jpeg: b"\xff\xd8",
        lambda jpeg: b"\xff\xd8" + b"x" * 500,
        lambda jpeg: jpeg(1, 400, 300)[:4000],
        lambda jpeg: break_middle(jpeg(1, 400, 300)),
        lambda jpeg: encode(quadrants(), "PNG")[:150],
        lambda jpeg: encode(quadrants(), "WEBP")[:60],
    ],
)
def test_damaged_images_are_refused(
    make: Callable[[Callable[..., bytes]], bytes], jpeg: Callable[..., bytes]
) -> None:
    with pytest.raises(BadSampleError) as caught:
        rendered(make(jpeg))
    assert caught.value.defect is Defect.IMAGE_UNREADABLE


def test_a_decompression_bomb_is_too_large() -> None:
    with pytest.raises(BadSampleError) as caught:
        rendered(bomb())
    assert caught.value.defect is Defect.IMAGE_TOO_LARGE


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_too_many_pixels_are_refused_before_decoding(kind: str) -> None:
    data = encode(Image.new("RGB", (200, 100)), kind)
    with pytest.raises(BadSampleError, match="200 × 100 pixels, more than 19999") as caught:
        rendered(data, max_pixels=19_999)
    assert caught.value.defect is Defect.IMAGE_TOO_LARGE
    rendered(data, max_pixels=20_000)


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
)
def test_no_bytes_crash_the_decoder(tail: bytes, magic: bytes) -> None:
    try:
        rendered(magic + tail)
    except BadSampleError as error:
        assert error.defect in (Defect.IMAGE_UNREADABLE, Defect.IMAGE_TOO_LARGE)
