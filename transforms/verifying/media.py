"""Media of parts: the bytes of every reference are those that its id names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from functools import partial

import pyarrow.compute as pc

from storage.folders import Folder
from transforms.parts.tables import PartFile, read_table
from transforms.verifying.ahead import map_ahead
from transforms.verifying.findings import Check, Problem, Tally
from transforms.verifying.hashing import hash_file

_RESTORE = "restore the tar, or take its inputs in again as a new intake"
_PLACE = ["part_tar", "offset", "length", "media_id"]
_DIGEST_HEX = 32


def check_media(ingest: Folder, files: Iterable[PartFile], pool: Executor) -> Tally:
    """Reads the media tars of parts whole, each once and in one pass.

    Args:
        ingest: the `ingest` folder.
        files: the parts.
        pool: threads that read and hash, a tar each.

    Returns:
        The counts of `Check.MEDIA`: one for each stored media file, and one for each tar.
    """
    tally = Tally()
    for one in map_ahead(pool, partial(_check_part, ingest), files):
        tally.add(one)
    return tally


def _check_part(ingest: Folder, file: PartFile) -> Tally:
    tally = Tally()
    folder = ingest.child(f"{file.part.source}/{file.part.intake}")
    with tally.reading(Check.MEDIA, ingest.locate(file.name), _RESTORE):
        for tar, media in _stored_media(ingest, file):
            with tally.reading(Check.MEDIA, folder.locate(tar), _RESTORE):
                _check_tar(folder, tar, media, tally)
    return tally


def _stored_media(
    ingest: Folder, file: PartFile
) -> Iterator[tuple[str, list[tuple[int, int, str]]]]:
    """Yields (tar, sorted (offset, length, media_id)) for each tar that a part refers to."""
    fields = [f"media.list.element.{name}" for name in _PLACE]
    media = read_table(ingest, file.name, fields)["media"].combine_chunks()
    places = pc.list_flatten(media).flatten()
    names = [field.name for field in media.type.value_type]
    columns = dict(zip(names, places, strict=True))
    rows = sorted(set(zip(*(columns[name].to_pylist() for name in _PLACE), strict=True)))
    for tar in dict.fromkeys(row[0] for row in rows):
        yield tar, [row[1:] for row in rows if row[0] == tar]


def _check_tar(folder: Folder, tar: str, media: list[tuple[int, int, str]], tally: Tally) -> None:
    at = folder.locate(tar)

    def bad(found: str, expected: str) -> None:
        tally.bad(Check.MEDIA, Problem(at, found, expected, _RESTORE))

    with folder.open(tar) as handle:
        hashed = hash_file(handle, [(offset, length) for offset, length, _ in media])
    named = tar.removesuffix(".tar").rpartition(".")[2]
    if hashed.sha256[:_DIGEST_HEX] == named:
        tally.good(Check.MEDIA)
    else:
        bad(
            f"its {hashed.size} bytes have the sha256 {hashed.sha256}",
            f"{named}…, as its name says",
        )
    for (offset, length, media_id), digest in zip(media, hashed.ranges, strict=True):
        if digest == media_id:
            tally.good(Check.MEDIA)
        elif digest is None:
            bad(f"has no {length} bytes of their own at {offset}", f"the media {media_id}")
        else:
            bad(f"bytes {offset} to {offset + length} have the sha256 {digest}", media_id)
