from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transforms.signals.hashes import dhash, phash, pixel_digest

DEMO = Path(__file__).parents[3] / "examples" / "demo"
FILES = sorted([*DEMO.glob("photos/*.jpg"), *DEMO.glob("clipart/*.webp")])


def oracle(hashed: imagehash.ImageHash) -> int:
    return int(str(hashed), 16)


def test_hashes_of_all_demo_images_are_those_of_imagehash() -> None:
    assert len(FILES) > 400
    for file in FILES:
        image = Image.open(file).convert("RGB")
        assert phash(image) == oracle(imagehash.phash(image)), file.name
        assert dhash(image) == oracle(imagehash.dhash(image)), file.name


@settings(max_examples=100)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1), st.integers(1, 256))
def test_hashes_of_noise_are_those_of_imagehash(
    width: int, height: int, seed: int, levels: int
) -> None:
    pixels = np.random.default_rng(seed).integers(levels, size=(height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert phash(image) == oracle(imagehash.phash(image))
    assert dhash(image) == oracle(imagehash.dhash(image))


def test_luminance_may_be_shared() -> None:
    image = Image.open(FILES[0]).convert("RGB")
    luminance = image.convert("L")
    assert (phash(image), dhash(image)) == (phash(luminance), dhash(luminance))


def test_pixel_digest_depends_on_pixels_size_and_alpha() -> None:
    image = Image.open(FILES[0]).convert("RGB")
    alpha = np.full((image.height, image.width), 200, dtype=np.uint8)
    changed = image.copy()
    changed.putpixel((0, 0), (1, 2, 3))
    reshaped = Image.frombytes("RGB", (image.height, image.width), image.tobytes())
    digests = [
        pixel_digest(image, None),
        pixel_digest(image, alpha),
        pixel_digest(image, alpha + 1),
        pixel_digest(changed, None),
        pixel_digest(reshaped, None),
    ]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 32 and int(digest, 16) >= 0 for digest in digests)


@pytest.mark.parametrize("file", FILES[:3], ids=lambda file: file.name)
def test_pixel_digest_of_a_copy(file: Path) -> None:
    image = Image.open(file).convert("RGB")
    assert pixel_digest(image, None) == pixel_digest(image.copy(), None)
