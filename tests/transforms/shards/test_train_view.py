from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from schemas.recipe import TrainView
from transforms.shards.train_view import make_train_view
from transforms.signals.image import UnreadableImage


def encode(image, name="PNG", **options):
    sink = io.BytesIO()
    image.save(sink, name, **options)
    return sink.getvalue()


def decode(view):
    image = Image.open(io.BytesIO(view.data))
    image.load()
    return image


def smooth(width, height):
    across = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    down = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return Image.fromarray(np.stack([across, down, 255 - across], -1).astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((100, 50), 25, (50, 25)),
        ((50, 101), 25, (25, 50)),
        ((1000, 17), 16, (941, 16)),
        ((40, 30), 64, (40, 30)),
        ((64, 64), 64, (64, 64)),
    ],
)
def test_the_short_side_comes_down_and_never_up(size, short_side, expected):
    view = make_train_view(encode(smooth(*size)), TrainView(short_side=short_side))
    assert (view.width, view.height) == expected
    assert decode(view).size == expected


@pytest.mark.parametrize(("name", "magic"), [("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF")])
def test_two_views_of_an_image_are_the_same_bytes(name, magic):
    data = encode(smooth(60, 40))
    settings = TrainView(short_side=32, format=name)
    first = make_train_view(data, settings)
    assert first == make_train_view(data, settings)
    assert first.data.startswith(magic)
    better = make_train_view(data, TrainView(short_side=32, format=name, quality=100))
    assert len(better.data) > len(first.data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_view_is_upright(orientation):
    upright = smooth(48, 32)
    # What a camera held that way stores: the inverse of what a viewer does.
    inverse = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if inverse is None else upright.transpose(inverse)
    view = make_train_view(encode(stored, exif=exif), TrainView(short_side=32, quality=100))
    assert (view.width, view.height) == (48, 32)
    error = np.abs(np.asarray(decode(view), int) - np.asarray(upright, int))
    assert error.mean() < 3


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_no_metadata_are_left(name):
    exif = Image.Exif()
    exif[0x010E] = "a secret"
    data = encode(smooth(40, 40), "JPEG", exif=exif, comment=b"a secret", dpi=(300, 300))
    view = decode(make_train_view(data, TrainView(short_side=32, format=name)))
    assert not {"exif", "icc_profile", "comment", "dpi"} & view.info.keys()
    assert b"secret" not in make_train_view(data, TrainView(short_side=32, format=name)).data


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_lie_on_white(mode):
    image = Image.new("RGBA", (32, 32), (200, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 16, 32))
    view = make_train_view(
        encode(image.quantize() if mode == "P" else image.convert(mode)),
        TrainView(short_side=32, quality=100),
    )
    pixels = np.asarray(decode(view), int)
    assert pixels[:, :8].max() < 16
    assert pixels[:, 24:].min() > 239


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(mode):
    if mode == "I;16":
        grey = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
        data = encode(Image.fromarray(grey))
    else:
        data = encode(smooth(32, 32).convert(mode), "TIFF")
    image = decode(make_train_view(data, TrainView(short_side=32)))
    assert image.mode == "RGB"
    assert 60 < np.asarray(image).mean() < 200


@pytest.mark.parametrize("data", [b"", b"no image", encode(smooth(64, 64), "JPEG")[:-200]])
def test_broken_bytes_are_named(data):
    with pytest.raises(UnreadableImage):
        make_train_view(data, TrainView(short_side=32))
