"""Reads WebDataset tars: the members of a key become a raw sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from schemas.reasons import Reason
from schemas.recipe import Ingest
from schemas.samples import RawSample, RawText, TextRole
from storage.folders import Entry, Folder
from transforms.ingest.fields import plain_meta
from transforms.ingest.groups import Group, group_members, is_media, split_name
from transforms.ingest.media import Refused, too_large
from transforms.ingest.sidecars import (
    PLAIN_EXTENSIONS,
    Sidecar,
    bytes_to_read,
    is_plain,
    read_sidecar,
    sample_of,
)
from transforms.ingest.tars import TarMembers

TextMembers = tuple[tuple[TextRole, str], ...]
"""Role and extension of the members that are texts, in order; recognised where empty."""


def read_tar(
    folder: Folder, tar: Entry, limits: Ingest, texts: Mapping[TextRole, str] | None = None
) -> Iterator[tuple[str, RawSample]]:
    """Yields the samples of a tar as a stream, each with its key; texts are not cleaned yet.

    Locators are `<name of the tar>/<key>`; see `Group.locator` for a key that is repeated. A tar
    that breaks off gives the samples before the break, and one more, `container_truncated` and
    without a key, that says why; so does a tar without any sample.

    Args:
        folder: the root of the source.
        tar: name and size of the tar.
        limits: largest media and texts.
        texts: extension by role of the members that are texts; recognised where empty.
    """
    named = tuple((role, name.removeprefix(".").lower()) for role, name in (texts or {}).items())
    read = 0
    with folder.open(tar.name) as file:
        members = TarMembers(file, tar.size, partial(_bytes_wanted, named, limits))
        for group in group_members(members):
            locator = f"{tar.name}/{group.locator}"
            sample = _read_group(group, locator, named, limits.max_media_bytes)
            if members.broken and not group.complete:
                error = "the tar breaks off before the rest of this sample"
                sample = replace(sample, reason=Reason.CONTAINER_TRUNCATED, error=error)
            read += 1
            yield group.key, sample
    error = members.broken or ("" if read else "the tar holds no sample")
    if error:
        yield "", RawSample(tar.name, reason=Reason.CONTAINER_TRUNCATED, error=error)


def _read_group(group: Group, locator: str, named: TextMembers, max_media_bytes: int) -> RawSample:
    """Returns the raw sample of a group: its first image, its texts, small members as `meta`."""
    members, images = group.members, group.images
    used = {*images, "json", *(name for _, name in named)}
    if not named:
        used.update(filter(is_plain, members))
    meta = plain_meta({name: members[name].data for name in sorted(members.keys() - used)})
    if len(images) > 1:
        meta["other_images"] = images[1:]
    media: bytes | Refused | None = None
    if images:
        image = members[images[0]]
        media = too_large(image.name, image.size, max_media_bytes) or image.data
    return sample_of(_texts_of(group, named), locator, media, meta)


def _bytes_wanted(named: TextMembers, limits: Ingest, name: str, size: int) -> int:
    """Returns how many bytes of a member are needed, by its name and size."""
    parts = split_name(name)
    if parts is None:
        return 0
    if is_media(parts[1]):
        return size if size <= limits.max_media_bytes else 0
    if any(parts[1] == text for _, text in named):
        return min(size, limits.max_text_bytes + 1)
    return bytes_to_read(parts[1], size, limits)


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
