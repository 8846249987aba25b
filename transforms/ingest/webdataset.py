"""Reads WebDataset tars: the members of a key become a raw sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from schemas.reasons import Reason
from schemas.recipe import Ingest, WebDatasetSource
from schemas.samples import Kind, MediaRole, RawMedia, RawSample, RawText, TextRole
from storage.folders import Entry, Folder
from transforms.ingest.fields import plain_meta
from transforms.ingest.groups import Group, group_members, is_media, split_name
from transforms.ingest.sidecars import (
    PLAIN_EXTENSIONS,
    Sidecar,
    bytes_to_read,
    is_plain,
    read_sidecar,
)
from transforms.ingest.tars import TarMembers

TextMembers = tuple[tuple[TextRole, str], ...]
"""Role and extension of the members that are texts, in order; recognised where empty."""


def read_tar(
    folder: Folder, tar: Entry, source: WebDatasetSource, limits: Ingest
) -> Iterator[RawSample]:
    """Yields the samples of a tar as a stream; texts are not cleaned yet.

    Locators are `<name of the tar>/<key>`; see `Group.locator` for a key that is repeated. A tar that
    breaks off gives the samples before the break, and one more `container_truncated` that says why;
    so does a tar without any sample.

    Args:
        folder: the root of the source.
        tar: name and size of the tar.
        source: which members are texts.
        limits: largest media and texts.
    """
    named = tuple((role, name.removeprefix(".").lower()) for role, name in source.texts.items())
    read = 0
    with folder.open(tar.name) as file:
        members = TarMembers(file, tar.size, partial(_bytes_wanted, named, limits))
        for group in group_members(members):
            sample = sample_of(group, f"{tar.name}/{group.locator}", named, limits)
            if members.broken and not group.complete:
                sample = replace(
                    sample,
                    reason=Reason.CONTAINER_TRUNCATED,
                    error="the tar breaks off before the rest of this sample",
                )
            read += 1
            yield sample
    error = members.broken or ("" if read else "the tar holds no sample")
    if error:
        yield RawSample(tar.name, reason=Reason.CONTAINER_TRUNCATED, error=error)


def sample_of(group: Group, locator: str, named: TextMembers, limits: Ingest) -> RawSample:
    """Returns the raw sample of a group: its first image, its texts, and small members as `meta`.

    The first image is the one with the shortest extension: `jpg` before `thumb.jpg`.
    """
    members = group.members
    images = sorted(filter(is_media, members), key=lambda name: (name.count("."), name))
    sidecar = _texts_of(group, named)
    used = {*images, "json", *(name for _, name in named)}
    if not named:
        used.update(filter(is_plain, members))
    meta = plain_meta({name: members[name].data for name in sorted(members.keys() - used)})
    if len(images) > 1:
        meta["other_images"] = images[1:]
    sample = RawSample(
        locator=locator,
        kind=sidecar.kind,
        texts=sidecar.texts,
        error=sidecar.fault,
        licence=sidecar.licence,
        attribution=sidecar.attribution,
        meta=meta | sidecar.meta,
    )
    if sidecar.fault and not sidecar.texts:
        return replace(sample, reason=Reason.ROW_MALFORMED)
    if not images or sidecar.kind is Kind.TEXT_PAIR:
        return sample
    image = members[images[0]]
    if image.size > limits.max_media_bytes:
        error = f"{image.name} has {image.size} bytes, more than {limits.max_media_bytes}"
        return replace(sample, reason=Reason.MEDIA_TOO_LARGE, error=error)
    return replace(sample, media=(RawMedia(MediaRole.IMAGE, image.data),))


def _texts_of(group: Group, named: TextMembers) -> Sidecar:
    members = group.members
    plain = sorted(filter(is_plain, members), key=_plainness)
    json = members.get("json")
    sidecar = read_sidecar(
        [members[name].data for name in plain],
        json.data if json else None,
        json.size if json else 0,
    )
    if not named:
        return sidecar
    texts = tuple(RawText(role, members[name].data) for role, name in named if name in members)
    return replace(sidecar, texts=texts)


def _plainness(extension: str) -> tuple[int, int, str]:
    """Orders plain texts: `txt` before `caption` before `en.txt`."""
    last = extension.rpartition(".")[2]
    return extension.count("."), PLAIN_EXTENSIONS.index(last), extension


def _bytes_wanted(named: TextMembers, limits: Ingest, name: str, size: int) -> int:
    parts = split_name(name)
    if parts is None:
        return 0
    if is_media(parts[1]):
        return size if size <= limits.max_media_bytes else 0
    if any(parts[1] == text for _, text in named):
        return min(size, limits.max_text_bytes + 1)
    return bytes_to_read(parts[1], size, limits)
