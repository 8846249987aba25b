"""Groups the members of a tar into samples: consecutive members with equal keys, and a little more.

WebDataset asks for members of a sample to be contiguous. Tars made by other tools keep to it only
nearly, so a group that lacks its media or its text waits a while for the rest of its members.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from schemas.digests import digest, hex_digest
from schemas.shards import split_member
from transforms.ingest.fields import IMAGE_EXTENSIONS
from transforms.ingest.tars import Member

MAX_WAITING = 256
MAX_WAITING_BYTES = 64 << 20
"""So many groups and bytes at most wait for the rest of their members; the oldest gives way."""

MAX_MEMBERS = 256
"""A sample has no more members than this; what follows begins another."""

TEXT_EXTENSIONS = ("txt", "caption", "text", "json")


@dataclass(slots=True)
class Group:
    """The members of one sample.

    Attributes:
        key: what their names share, before the first dot of the last segment.
        members: by extension, in lower case.
        repeated: an earlier group of the tar had the same key.
    """

    key: str
    members: dict[str, Member] = field(default_factory=dict)
    repeated: bool = False

    @property
    def images(self) -> list[str]:
        """Extensions of the images, the one that is the sample's first: `jpg`, `thumb.jpg`."""
        return sorted(filter(is_media, self.members), key=lambda name: (name.count("."), name))

    def add(self, extension: str, member: Member) -> None:
        """Adds a member; of several images only the sample's keeps its bytes."""
        self.members[extension] = member
        if is_media(extension):
            for other in self.images[1:]:
                self.members[other] = replace(self.members[other], data=b"")

    @property
    def bytes(self) -> int:
        """Bytes in hand."""
        return sum(len(member.data) for member in self.members.values())

    @property
    def complete(self) -> bool:
        """True where there are media and a text."""
        return any(map(is_media, self.members)) and any(map(is_text, self.members))

    @property
    def locator(self) -> str:
        """The key; where that is repeated, also a digest of the members: never their position."""
        if not self.repeated:
            return self.key
        parts = [part for name in sorted(self.members) for part in (name, self.members[name].data)]
        return f"{self.key}#{hex_digest(*parts, size=8)}"


def is_media(extension: str) -> bool:
    """Returns whether a member of this extension is an image: `jpg`, `left.png`, `img`."""
    last = extension.rpartition(".")[2]
    return last in IMAGE_EXTENSIONS or last in ("img", "image")


def is_text(extension: str) -> bool:
    """Returns whether a member of this extension may hold a text: `txt`, `en.txt`, `json`."""
    return extension.rpartition(".")[2] in TEXT_EXTENSIONS


def split_name(name: str) -> tuple[str, str] | None:
    """Splits a member's name into (key, lower-case extension); None for what is no member.

    No members are names without an extension, hidden files, and WebDataset's own `__…__` entries.
    """
    parts = split_member(name.removeprefix("./"))
    if parts is None or (parts[0].startswith("__") and parts[0].endswith("__")):
        return None
    return parts[0], parts[1].lower()


def group_members(members: Iterable[Member]) -> Iterator[Group]:
    """Yields the samples of a tar.

    A group ends where the key changes. If it lacks media or text it waits, among at most
    `MAX_WAITING` others, for members of its key that come later. A member whose extension its group
    has already, or whose group is full or gone, begins a group of its own. Keys that were seen are
    remembered by a 64-bit digest, some 100 bytes each.
    """
    waiting: dict[str, Group] = {}
    seen: set[bytes] = set()
    current: Group | None = None
    for member in members:
        parts = split_name(member.name)
        if parts is None:
            continue
        key, extension = parts
        if current is not None and current.key != key:
            if current.complete:
                yield _leave(current, seen)
            else:
                waiting[current.key] = current
                yield from (_leave(group, seen) for group in _crowded_out(waiting))
            current = None
        if current is None:
            current = waiting.pop(key, None) or Group(key)
        if extension in current.members or len(current.members) == MAX_MEMBERS:
            yield _leave(current, seen)
            current = Group(key)
        current.add(extension, member)
    if current is not None:
        waiting[current.key] = current
    for group in waiting.values():
        yield _leave(group, seen)


def _crowded_out(waiting: dict[str, Group]) -> Iterator[Group]:
    held = sum(group.bytes for group in waiting.values())
    while len(waiting) > MAX_WAITING or held > MAX_WAITING_BYTES:
        group = waiting.pop(next(iter(waiting)))
        held -= group.bytes
        yield group


def _leave(group: Group, seen: set[bytes]) -> Group:
    name = digest(group.key, size=8)
    group.repeated = name in seen
    seen.add(name)
    return group
