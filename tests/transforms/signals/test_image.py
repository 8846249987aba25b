import io
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageFile

from schemas.reasons import Reason
from schemas.signals import family_signals
from transforms.signals.image import (
    IMAGE_COLUMNS,
    DecodedImage,
    ImageSignals,
    UnreadableImage,
    decode_image,
    measure_image,
    measure_images,
)

DEMO = Path(__file__).parents[3] / "examples" / "demo"
MAX_PIXELS = 100_000_000


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(DEMO / "photos" / "categorization_IndiaGate.jpg").convert("RGB")


@pytest.fixture(scope="module")
def demo_blobs() -> list[bytes]:
    files = [*DEMO.glob("photos/*.jpg"), *DEMO.glob("clipart/*.webp")]
    return [file.read_bytes() for file in sorted(files)]


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def decode(data: bytes) -> DecodedImage:
    return decode_image(data, MAX_PIXELS)


def measure(data: bytes) -> ImageSignals:
    return measure_image(decode(data))


def png(width: int, height: int, bits: int, colour_type: int, body: bytes, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = [b"IHDR" + header, *extra, b"IDAT" + body, b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def test_signals_are_those_of_the_registry_in_its_order() -> None:
    names = [signal.name for signal in family_signals("measure/image")]
    assert [f"image.{field}" for field in ImageSignals._fields] == names
    assert IMAGE_COLUMNS.names == [*names, "status", "error"]


def test_a_photo_is_measured(photo: Image.Image) -> None:
    data = encode(photo, "PNG")
    signals = measure(data)
    luminance = np.asarray(photo.convert("L"))
    shares = np.bincount(luminance.ravel(), minlength=256) / luminance.size
    padded = np.pad(luminance.astype(int), 1, mode="reflect")
    laplacian = (
        padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    ) - 4 * padded[1:-1, 1:-1]
    assert (signals.width, signals.height) == photo.size
    assert signals.short_side_px == min(photo.size)
    assert signals.aspect_ratio == round(max(photo.size) / min(photo.size), 4)
    assert signals.megapixels == round(photo.width * photo.height / 1e6, 4)
    assert signals.bytes == len(data)
    assert signals.luminance == pytest.approx(luminance.mean(), abs=1e-4)
    assert signals.entropy == pytest.approx(
        -sum(share * np.log2(share) for share in shares if share), abs=1e-4
    )
    assert signals.sharpness == pytest.approx(laplacian.var(), abs=1e-3)
    assert (signals.alpha_share, signals.animated, signals.exif_orientation) == (0.0, False, 1)


def test_one_colour_has_no_information() -> None:
    signals = measure(encode(Image.new("RGB", (300, 100), (255, 255, 255)), "PNG"))
    assert (signals.entropy, signals.sharpness, signals.luminance) == (0.0, 0.0, 255.0)
    assert str(signals.entropy) == "0.0"
    assert signals.aspect_ratio == 3.0


@pytest.mark.parametrize(("width", "height", "ratio"), [(603, 201, 3.0), (201, 600, 2.9851)])
def test_aspect_ratio_is_free_of_orientation(width: int, height: int, ratio: float) -> None:
    signals = measure(encode(Image.new("RGB", (width, height)), "PNG"))
    assert (signals.aspect_ratio, signals.short_side_px) == (ratio, 201)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 2)])
def test_tiny_images_are_measured(size: tuple[int, int]) -> None:
    signals = measure(encode(Image.new("RGB", size, (200, 10, 10)), "PNG"))
    assert (signals.width, signals.height) == size
    assert (signals.entropy, signals.sharpness) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("image_format", "mime"),
    [
        ("AVIF", "image/avif"),
        ("BMP", "image/bmp"),
        ("GIF", "image/gif"),
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("TIFF", "image/tiff"),
        ("WEBP", "image/webp"),
    ],
)
def test_accepted_formats(photo: Image.Image, image_format: str, mime: str) -> None:
    decoded = decode(encode(photo, image_format))
    assert decoded.mime == mime
    assert (decoded.rgb.mode, decoded.rgb.size) == ("RGB", photo.size)
    assert not decoded.animated
    assert decoded.alpha is None


def test_rewrapped_copies_have_the_same_pixels(photo: Image.Image) -> None:
    opaque = photo.copy()
    opaque.putalpha(255)
    copies = [
        encode(photo, "PNG"),
        encode(photo, "PNG", compress_level=0),
        encode(photo, "BMP"),
        encode(photo, "TIFF", compression="tiff_lzw"),
        encode(photo, "WEBP", lossless=True),
        encode(opaque, "PNG"),
    ]
    signals = [measure(copy) for copy in copies]
    assert len({(s.pixel_digest, s.phash, s.dhash, s.entropy) for s in signals}) == 1
    assert len({s.bytes for s in signals}) == len(copies)


def test_grey_cmyk_and_palette_are_measured_like_rgb(photo: Image.Image) -> None:
    rgb = measure(encode(photo, "PNG"))
    grey = measure(encode(photo.convert("L"), "PNG"))
    assert (grey.phash, grey.luminance, grey.sharpness) == (rgb.phash, rgb.luminance, rgb.sharpness)
    cmyk = measure(encode(photo.convert("CMYK"), "JPEG", quality=95))
    assert cmyk.luminance == pytest.approx(rgb.luminance, abs=2)
    assert (cmyk.phash ^ rgb.phash).bit_count() <= 4
    palette = measure(encode(photo.quantize(256), "PNG"))
    assert palette.luminance == pytest.approx(rgb.luminance, abs=2)
    bilevel = measure(encode(photo.convert("1"), "PNG"))
    assert 0 < bilevel.entropy <= 1


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_16_bits_are_scaled_to_8(image_format: str) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (64, 1))
    signals = measure(encode(Image.fromarray(ramp), image_format))
    assert (signals.entropy, signals.luminance) == (8.0, 127.5)
    same = measure(encode(Image.fromarray((ramp // 257).astype(np.uint8)), "PNG"))
    assert signals.pixel_digest == same.pixel_digest


def test_16_bit_transparent_colour_is_alpha() -> None:
    rows = b"".join(b"\0" + struct.pack(">4H", 0, 1000, 1000, 65535) for _ in range(3))
    key = b"tRNS" + struct.pack(">H", 1000)
    assert measure(png(4, 3, 16, 0, zlib.compress(rows), key)).alpha_share == 0.5


def test_32_bit_samples_are_refused() -> None:
    with pytest.raises(UnreadableImage, match="no agreed range") as refusal:
        decode(encode(Image.new("F", (4, 4), 0.5), "TIFF"))
    assert refusal.value.reason is Reason.MEDIA_UNREADABLE


def test_alpha_is_the_share_of_pixels_not_opaque(photo: Image.Image) -> None:
    alpha = np.full((photo.height, photo.width), 255, dtype=np.uint8)
    alpha[: photo.height // 3] = 128
    transparent = photo.copy()
    transparent.putalpha(Image.fromarray(alpha))
    signals = measure(encode(transparent, "PNG"))
    assert signals.alpha_share == round((photo.height // 3) / photo.height, 4)
    seen = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), transparent)
    on_white = measure(encode(seen.convert("RGB"), "PNG"))
    assert (signals.phash, signals.luminance) == (on_white.phash, on_white.luminance)
    assert signals.pixel_digest != on_white.pixel_digest
    grey = measure(encode(transparent.convert("LA"), "PNG"))
    assert grey.alpha_share == signals.alpha_share


def test_palette_transparency_is_alpha() -> None:
    indices = Image.fromarray(np.tile(np.arange(4, dtype=np.uint8), (8, 2)))
    indices.putpalette([0, 0, 0, 90, 90, 90, 180, 180, 180, 255, 255, 255])
    assert measure(encode(indices, "PNG", transparency=bytes([0, 128]))).alpha_share == 0.5
    assert measure(encode(indices, "PNG", transparency=2)).alpha_share == 0.25
    assert measure(encode(indices, "GIF", transparency=1)).alpha_share == 0.25
    assert measure(encode(indices, "PNG")).alpha_share == 0.0


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_first_frame_of_an_animation(photo: Image.Image, image_format: str) -> None:
    frames = {"save_all": True, "append_images": [photo.rotate(180)]}
    animated = measure(encode(photo, image_format, **frames))
    still = measure(encode(photo, image_format))
    assert animated.animated
    assert not still.animated
    assert (animated.phash ^ still.phash).bit_count() <= 4


def test_previews_in_a_jpeg_are_no_animation(photo: Image.Image) -> None:
    data = encode(photo, "MPO", save_all=True, append_images=[photo.resize((32, 32))])
    signals = measure(data)
    assert (signals.mime, signals.animated) == ("image/jpeg", False)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_exif_orientation_is_told_not_applied(photo: Image.Image, image_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encode(photo, image_format, exif=exif))
    assert decoded.exif_orientation == 6
    assert decoded.rgb.size == (decoded.width, decoded.height) == photo.size


def test_pillow_turns_tiffs_upright(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encode(photo, "TIFF", exif=exif))
    assert decoded.exif_orientation == 1
    assert decoded.rgb.size == (decoded.width, decoded.height) == photo.size[::-1]


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage that is no TIFF",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x05\0\xff\xff\0\0\xff\xff\0\0",
    ],
    ids=["no-tiff", "out-of-range", "truncated"],
)
def test_broken_exif_neither_harms_nor_warns(photo: Image.Image, exif: bytes) -> None:
    # Warnings are errors under pytest: Pillow's, of such EXIF, must not reach the caller.
    data = encode(photo, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    decoded = decode(data[:2] + segment + data[2:])
    assert decoded.exif_orientation == 1
    assert measure_image(decoded).pixel_digest == measure(data).pixel_digest


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no bytes"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC image"),
        (b"just text", r"starts with hex 6a75737420746578"),
        (b"\xff\xd8\xff\xe0", "a JPEG with a damaged header"),
        (b"\x89PNG\r\n\x1a\n", "a PNG with a damaged header"),
        (b"RIFF\x04\0\0\0WEBPVP8 \0\0\0\0", "a WebP with a damaged header"),
    ],
)
def test_what_is_no_image_is_told(data: bytes, said: str) -> None:
    with pytest.raises(UnreadableImage, match=said) as refusal:
        decode(data)
    assert refusal.value.reason is Reason.MEDIA_UNREADABLE
    assert "0x" not in refusal.value.detail


@pytest.mark.parametrize("image_format", ["AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_images_are_refused(photo: Image.Image, image_format: str, share: float) -> None:
    data = encode(photo, image_format)
    with pytest.raises(UnreadableImage) as refusal:
        decode(data[: int(len(data) * share)])
    assert refusal.value.reason is Reason.MEDIA_UNREADABLE
    assert not re.search(r"0x[0-9a-f]{6}", refusal.value.detail)


def test_truncated_images_are_not_completed() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_damaged_images_are_refused_or_measured(photo: Image.Image) -> None:
    rng = np.random.default_rng(0)
    small = photo.resize((40, 30))
    for image_format in ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"):
        whole = np.frombuffer(encode(small, image_format), dtype=np.uint8)
        for _ in range(30):
            data = whole.copy()
            data[rng.integers(len(data), size=3)] = rng.integers(256, size=3)
            batch = measure_images([data.tobytes()], 1_000_000)
            assert batch["status"][0].as_py() in {"ok", "media_unreadable", "media_too_many_pixels"}


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    bomb = png(30_000, 30_000, 1, 0, zlib.compress(bytes(3751)))
    with pytest.raises(UnreadableImage, match="900000000 pixels") as refusal:
        decode(bomb)
    assert refusal.value.reason is Reason.MEDIA_TOO_MANY_PIXELS


def test_a_frame_larger_than_its_gif_is_refused() -> None:
    screen = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0, 0, 0)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0x80) + bytes(6)
    with pytest.raises(UnreadableImage) as refusal:
        decode(screen + frame + b"\x02\x02L\x01\x00;")
    assert refusal.value.reason is Reason.MEDIA_TOO_MANY_PIXELS


def test_the_cap_of_pixels_is_inclusive() -> None:
    data = encode(Image.new("RGB", (40, 25)), "PNG")
    assert decode_image(data, 1000).width == 40
    with pytest.raises(UnreadableImage, match=r"40 × 25 = 1000 pixels, more than max_pixels = 999"):
        decode_image(data, 999)


def test_the_cap_may_exceed_that_of_pillow() -> None:
    # Pillow refuses from 178,956,970 pixels on.
    data = png(20_000, 9_000, 1, 0, zlib.compress(b""))
    with pytest.raises(UnreadableImage) as refusal:
        decode_image(data, 200_000_000)
    assert refusal.value.reason is Reason.MEDIA_UNREADABLE


def test_a_batch_keeps_its_rows(photo: Image.Image) -> None:
    batch = measure_images([encode(photo, "PNG"), None, b"", encode(photo, "BMP")], MAX_PIXELS)
    assert batch.schema == IMAGE_COLUMNS
    assert batch["status"].to_pylist() == ["ok", None, "media_unreadable", "ok"]
    assert batch["error"].to_pylist() == [None, None, "no bytes", None]
    assert batch["image.mime"].to_pylist() == ["image/png", None, None, "image/bmp"]
    assert batch["image.phash"].type == pa.uint64()
    for name in batch.schema.names[:-2]:
        assert batch[name].null_count == 2


def test_an_empty_batch() -> None:
    assert measure_images([], MAX_PIXELS).schema == IMAGE_COLUMNS
    assert measure_images([], MAX_PIXELS).num_rows == 0


def test_threads_change_nothing(demo_blobs: list[bytes]) -> None:
    blobs = [*demo_blobs[::4], None, b"broken", *demo_blobs[1::8]]
    alone = measure_images(blobs, MAX_PIXELS)
    with ThreadPoolExecutor(3) as pool:
        assert measure_images(blobs, MAX_PIXELS, pool).equals(alone)
    assert measure_images(blobs, MAX_PIXELS).equals(alone)
    assert set(alone["status"].to_pylist()) == {"ok", None, "media_unreadable"}
