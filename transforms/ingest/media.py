"""Reads the media that a table names by path, and nothing outside the folder that they lie in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from schemas.reasons import Reason
from storage.errors import OutsideFolderError
from storage.folders import Folder, check_name

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|data:|file:|[A-Za-z]:[\\/]")


@dataclass(frozen=True, slots=True)
class Refused:
    """Media that were not read.

    Attributes:
        reason: the word for it.
        error: what happened, for people.
    """

    reason: Reason
    error: str


def resolve(path: str | bytes, below: str = "") -> str | Refused:
    """Returns the name of a file in a folder, from a path that a table gives.

    Args:
        path: relative, with `/` between segments; `./` and empty segments are dropped.
        below: sub-folder that the path is relative to; empty for the folder itself.

    Returns:
        The name; or a refusal: `media_missing` for an empty path, `media_refused_path` for an
        absolute one, another scheme, `..`, a backslash, control characters, or bytes that are not
        UTF-8.
    """
    if isinstance(path, bytes):
        try:
            path = path.decode()
        except UnicodeDecodeError:
            return Refused(Reason.MEDIA_REFUSED_PATH, f"path {path[:200]!r} is not UTF-8")
    path = path.strip()
    if not path:
        return Refused(Reason.MEDIA_MISSING, "the path is empty")
    if _SCHEME.match(path) or path.startswith("/"):
        error = f"path {path[:200]!r} is not relative to the folder of the media"
        return Refused(Reason.MEDIA_REFUSED_PATH, error)
    segments = [segment for segment in path.split("/") if segment not in ("", ".")]
    name = "/".join(([below] if below else []) + segments)
    try:
        return check_name(name)
    except ValueError as error:
        return Refused(Reason.MEDIA_REFUSED_PATH, str(error))


def read_media(folder: Folder, name: str, max_bytes: int) -> bytes | Refused:
    """Returns the bytes of a media file; a refusal where it is missing or larger than `max_bytes`.

    A file that is too large is not read.
    """
    try:
        reader = folder.open_reader(name)
    except FileNotFoundError:
        return Refused(Reason.MEDIA_MISSING, f"{name!r} is not there")
    except OutsideFolderError:
        error = f"{name!r} is, or lies behind, a link that leads out of the folder of the media"
        return Refused(Reason.MEDIA_REFUSED_PATH, error)
    with reader:
        return too_large(name, reader.size, max_bytes) or reader.read_at(0, reader.size)


def too_large(name: str, size: int, max_bytes: int) -> Refused | None:
    """Returns the refusal of media of `size` bytes where that is more than `max_bytes`."""
    if size <= max_bytes:
        return None
    error = f"{name!r} has {size} bytes, more than {max_bytes}"
    return Refused(Reason.MEDIA_TOO_LARGE, error)
