"""Train views: a re-encoded image in a shard is that of the stored media of its sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from schemas.recipe import TrainView
from storage.errors import StorageError
from storage.folders import Folder
from transforms.shards.commit import shard_name
from transforms.shards.gather import ByteRange, Unreadable, gather
from transforms.shards.train_view import make_train_view
from transforms.signals.image import UnreadableImage, decode_image
from transforms.verifying.findings import RUN_AGAIN, Check, Problem, Tally

SAME_IMAGE_LEVELS = 4.0
"""Mean difference, of 255 levels, up to which two encodings are of one image.

Another version of a codec gives other bytes for the same pixels; at quality 90 these differ by
less than two levels on average, and other images by dozens.
"""


_ANY_PIXELS = 1 << 62
"""`measure` has refused images of too many pixels."""


def check_views(
    media: Folder,
    shards: Folder,
    shown: Sequence[tuple[np.void, ByteRange]],
    view: TrainView,
    pool: Executor,
    tally: Tally,
) -> None:
    """Encodes stored media again, and compares them with the members of shards.

    Args:
        media: folder of the media tars.
        shards: folder of the series.
        shown: samples in shards (`transforms.verifying.tars.HELD`), and where their media lie.
        view: how images were re-encoded.
        pool: threads that read and encode.
        tally: counts of `Check.PAIRS`, one for each image.
    """

    def compare(index: int, data: bytes) -> str:
        """Returns what is wrong with a member; empty where nothing is."""
        sample = shown[index][0]
        try:
            made = make_train_view(data, view).data
        except UnreadableImage as error:
            return f"has an image, but its media cannot be decoded: {error.detail}"
        if hashlib.sha256(made).digest() == bytes(sample["media"]).ljust(32, b"\0"):
            return ""
        member = (
            f"{shard_name(int(sample['shard']))}.tar",
            int(sample["offset"]),
            int(sample["length"]),
        )
        try:
            same = _same_image(made, shards.read_range(*member))
        except (StorageError, UnreadableImage) as error:
            return f"has an image that cannot be compared: {error}"
        return "" if same else "has another image than the one of its media"

    ranges = [place for _, place in shown]
    for (sample, _), wrong in zip(shown, gather(media, ranges, compare, pool), strict=True):
        message = wrong.detail if isinstance(wrong, Unreadable) else wrong
        if not message:
            tally.good(Check.PAIRS)
            continue
        at = shards.locate(f"{shard_name(int(sample['shard']))}.tar")
        key = bytes(sample["id"]).ljust(16, b"\0").hex()
        wanted = "the train view of its media"
        tally.bad(Check.PAIRS, Problem(at, f"sample {key} {message}", wanted, RUN_AGAIN))


def _same_image(one: bytes, other: bytes) -> bool:
    """Returns whether two encodings show the same pixels, but for what encoding changes.

    Args:
        one: made here.
        other: read from a shard: it is refused if it announces more pixels.

    Raises:
        UnreadableImage: one of them cannot be decoded.
    """
    first = decode_image(one, _ANY_PIXELS).rgb
    second = decode_image(other, first.width * first.height).rgb
    if first.size != second.size:
        return False
    pixels = [np.asarray(image, dtype=np.int16) for image in (first, second)]
    return bool(np.abs(pixels[0] - pixels[1]).mean() <= SAME_IMAGE_LEVELS)
