"""Builds one shard from its records: gathers media, verifies them, writes the tar."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from schemas.reasons import Reason, Stage
from schemas.recipe import TrainView
from storage.folders import Folder
from transforms.shards.commit import BuiltShard, Refusal, sha256_of
from transforms.shards.gather import ByteRange, Unreadable, gather
from transforms.shards.members import Member, ShardRecord, text_members
from transforms.shards.train_view import make_train_view
from transforms.shards.write import write_shard
from transforms.signals.image import UnreadableImage


def build_shard(
    records: Sequence[ShardRecord],
    media: Folder,
    view: TrainView | None,
    out: Path,
    pool: Executor | None = None,
) -> BuiltShard:
    """Writes the shard of `records` to `out`, in their order.

    A sample whose media cannot be read, are not the bytes that `media_id` names, or cannot be
    re-encoded is left out; the shard is that much smaller.

    Args:
        records: samples of the shard, by rank.
        media: folder of the media tars.
        view: how images are re-encoded; None for original bytes.
        out: local file to write.
        pool: threads that read, verify and re-encode ahead of the writer.
    """
    refusals: list[Refusal] = []

    def samples() -> Iterator[tuple[str, list[Member]]]:
        for record, image in zip(records, _gather_media(records, media, view, pool), strict=True):
            if isinstance(image, Unreadable):
                refusals.append(_refuse(record, image.detail))
            else:
                yield record.key, [*text_members(record), *([image] if image else [])]

    return BuiltShard(write_shard(samples(), out), tuple(refusals))


def adopt_shard(
    tar: BinaryIO, records: Sequence[ShardRecord], view: TrainView | None, scratch: Path
) -> BuiltShard | None:
    """Describes a committed tar of `records` as `build_shard` did when it wrote it.

    Args:
        tar: the committed tar; may lack samples that could not be read at the time.
        records: samples of the shard, by rank.
        view: how images were re-encoded; None for original bytes.
        scratch: local file, overwritten.

    Returns:
        What the tar holds, or None where it was not written from these records.
    """
    committed = sha256_of(tar)
    by_key = {record.key: record for record in records}
    try:
        written = write_shard(_read_samples(tar, by_key, view), scratch)
    except tarfile.ReadError:
        return None
    if written.sha256 != committed:
        return None
    kept = set(written.index["key"].to_pylist())
    missing = (record for record in records if record.key not in kept)
    return BuiltShard(
        written, tuple(_refuse(one, "could not be read when committed") for one in missing)
    )


def _gather_media(
    records: Sequence[ShardRecord], media: Folder, view: TrainView | None, pool: Executor | None
) -> Iterator[Member | Unreadable | None]:
    """Yields the media member of each record; None for text pairs."""
    wanted = [(record, record.media) for record in records if record.media is not None]
    ranges = [ByteRange(place.part_tar, place.offset, place.length) for _, place in wanted]

    def prepare(index: int, data: bytes) -> Member | Unreadable:
        record, place = wanted[index]
        if hashlib.sha256(data).hexdigest() != place.media_id:
            at = f"{place.part_tar} at {place.offset}"
            return Unreadable(f"{at}: the bytes are not those of {place.media_id}")
        return _media_member(record, data, place.media_id, view)

    gathered = gather(media, ranges, prepare, pool)
    for record in records:
        yield None if record.media is None else next(gathered)


def _media_member(
    record: ShardRecord, data: bytes, media_id: str, view: TrainView | None
) -> Member | Unreadable:
    if view is None:
        size = record.sample.get("width"), record.sample.get("height")
        return Member(record.media_extension, data, media_id, *size)
    try:
        image = make_train_view(data, view)
    except UnreadableImage as error:
        return Unreadable(f"{media_id} cannot be re-encoded: {error.detail}")
    return Member(record.media_extension, image.data, None, image.width, image.height)


def _read_samples(
    file: BinaryIO, by_key: dict[str, ShardRecord], view: TrainView | None
) -> Iterator[tuple[str, list[Member]]]:
    """Yields those samples of a tar that are in `by_key`, with what an index says of them."""
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for key, infos in groupby(tar, lambda info: info.name.partition(".")[0]):
            if key in by_key:
                yield (
                    key,
                    [
                        _describe(by_key[key], info.name.partition(".")[2], stream.read(), view)
                        for info in infos
                        if (stream := tar.extractfile(info))
                    ],
                )


def _describe(record: ShardRecord, extension: str, data: bytes, view: TrainView | None) -> Member:
    if extension == "txt":
        return Member(extension, data, caption_tokens=record.caption_tokens)
    if extension not in record.sample.get("media", {}):
        return Member(extension, data)
    if view is None:
        size = record.sample.get("width"), record.sample.get("height")
    else:
        with Image.open(io.BytesIO(data)) as image:
            size = image.size
    return Member(extension, data, None, *size)


def _refuse(record: ShardRecord, detail: str) -> Refusal:
    return Refusal(record.key, Stage.SHARD, Reason.MEDIA_READ_FAILED, detail)
