from __future__ import annotations

import hashlib
import io

import imagehash
import numpy as np
import pytest
from PIL import Image

from schemas import recipe
from transforms.ingest.blocklist import load_block_list
from transforms.ingest.inputs import SourceError


def load(tmp_path, radius=4, **lists):
    paths = {}
    for kind, lines in lists.items():
        path = tmp_path / f"{kind}.txt"
        path.write_text("\n".join(lines))
        paths[kind] = (str(path),)
    settings = recipe.BlockList(phash_radius=radius, **paths)
    return load_block_list(settings, max_pixels=10_000)


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_digests_of_the_bytes(tmp_path, algorithm):
    made = [hashlib.new(algorithm, bytes([n])).hexdigest() for n in range(100)]
    made.sort(key=lambda digest: digest[5:])
    lines = ["# a list", "", *made[:50], f"  {made[50].upper()}  # with a comment", made[0]]
    block = load(tmp_path, **{algorithm: lines})
    blocked = [n for n in range(100) if block.match(bytes([n]))]
    expected = [
        n for n in range(100) if hashlib.new(algorithm, bytes([n])).hexdigest() in made[:51]
    ]
    assert blocked == expected
    digest = hashlib.new(algorithm, bytes([blocked[0]])).hexdigest()
    assert block.match(bytes([blocked[0]])) == f"{algorithm} {digest} is blocked"


def test_digests_that_share_their_beginning(tmp_path):
    digest = hashlib.sha256(b"x").hexdigest()
    near = [digest[:-1] + end for end in "0123456789abcdef" if end != digest[-1]]
    assert load(tmp_path, sha256=near).match(b"x") is None
    assert load(tmp_path, sha256=[*near, digest]).match(b"x") is not None


def picture(seed: int) -> tuple[bytes, str]:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue(), str(imagehash.phash(image))


def test_perceptual_hashes_within_the_radius(tmp_path):
    data, printed = picture(1)
    for bits in (0, 3, 4, 5, 8):
        flipped = f"{int(printed, 16) ^ ((1 << bits) - 1) << 7:016x}"
        match = load(tmp_path, phash=[flipped, picture(2)[1]]).match(data)
        assert (match is not None) == (bits <= 4)
    assert load(tmp_path, phash=[printed]).match(data) == (
        f"pHash {printed} is 0 bits from a blocked one"
    )
    assert load(tmp_path, radius=0, phash=[printed]).match(data)


def test_what_cannot_be_decoded_has_no_perceptual_hash(tmp_path):
    block = load(tmp_path, phash=["0" * 16])
    assert block.match(b"not an image") is None
    sink = io.BytesIO()
    Image.new("RGB", (200, 200)).save(sink, "PNG")
    assert block.match(sink.getvalue()) is None


def test_nothing_is_decoded_without_perceptual_hashes(tmp_path, monkeypatch):
    monkeypatch.setattr("transforms.ingest.blocklist.decode_image", None)
    assert load(tmp_path).match(b"x") is None
    assert load(tmp_path, md5=["0" * 32]).match(b"x") is None


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("sha256", "0" * 63),
        ("sha256", "0" * 32),
        ("md5", "x" * 32),
        ("phash", "0" * 17),
        ("md5", "é" * 16),
        ("phash", "0x00000000000000"),
    ],
)
def test_a_line_that_is_no_hash_is_named(tmp_path, kind, line):
    with pytest.raises(
        SourceError, match=rf"{kind}\.txt, line 3: .* hex digits; correct or remove"
    ):
        load(tmp_path, **{kind: ["# comment", "", line]})


def test_a_list_that_is_not_there(tmp_path):
    settings = recipe.BlockList(md5=(str(tmp_path / "nope.txt"),))
    with pytest.raises(SourceError, match=r"nope\.txt: no such file; correct its path"):
        load_block_list(settings, 1)
