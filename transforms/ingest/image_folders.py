"""Reads images of a folder with their sidecar texts: `name.jpg` beside `name.txt`, `name.json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.recipe import Ingest
from schemas.samples import RawSample
from storage.folders import Entry, Folder
from transforms.ingest.ahead import map_ahead
from transforms.ingest.inputs import stem
from transforms.ingest.media import read_media
from transforms.ingest.sidecars import (
    Sidecar,
    bytes_to_read,
    is_sidecar,
    read_sidecar,
    sample_of,
)


def read_images(folder: Folder, files: Sequence[Entry], limits: Ingest) -> Iterator[RawSample]:
    """Yields the sample of each image; texts are not cleaned yet.

    Locators are the names of the images. Two images that differ in their extension alone share
    their sidecars.

    Args:
        folder: the root of the source.
        files: images and their sidecars.
        limits: largest media and texts.
    """
    beside: dict[str, list[Entry]] = {}
    for file in files:
        if is_sidecar(file.name):
            beside.setdefault(stem(file.name), []).append(file)

    def read(file: Entry) -> RawSample:
        texts = _read_beside(folder, beside.get(stem(file.name), []), limits)
        media = read_media(folder, file.name, limits.max_media_bytes)
        return sample_of(texts, file.name, media, {})

    yield from map_ahead(read, (file for file in files if not is_sidecar(file.name)))


def _read_beside(folder: Folder, files: Sequence[Entry], limits: Ingest) -> Sidecar:
    plain: list[bytes] = []
    json: bytes | None = None
    json_size = 0
    for file in files:
        extension = file.name.rpartition(".")[2].lower()
        data = folder.read_range(file.name, 0, bytes_to_read(extension, file.size, limits))
        if extension == "json":
            json, json_size = data, file.size
        else:
            plain.append(data)
    return read_sidecar(plain, json, json_size)
