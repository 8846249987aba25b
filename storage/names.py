"""Names of files in a folder: relative, `/` between segments, the same on every kind of folder."""

from __future__ import annotations

import re
from dataclasses import dataclass

TEMPORARY_PREFIX = ".tmp-mixwright-"
"""A segment that begins with this is a file that nobody has committed: never listed or read."""

MAX_NAME_BYTES = 1024
"""The limit of Cloud Storage for a whole object name, in UTF-8 bytes."""

_FORBIDDEN_CHARACTER = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a folder.

    Attributes:
        name: relative to the folder.
        size: bytes.
        checksum: `crc32c:` and 8 hex digits where the store knows it without reading the content
            (`gs://`); None elsewhere. `Folder.checksum` computes what is missing.
    """

    name: str
    size: int
    checksum: str | None


def check_name(name: str) -> str:
    """Returns `name` if it may name a file of a folder.

    Raises:
        ValueError: `name` is empty, absolute, longer than 1,024 bytes or not UTF-8; has an empty
            segment, a `.` or `..`, a backslash or a control character; or is a temporary name.
    """
    if problem := _problem(name):
        raise ValueError(
            f"file name {name!r} {problem}; a name is relative to its folder, with `/` between "
            "segments, such as 'ingest/web/part.v1.parquet'"
        )
    return name


def check_prefix(prefix: str) -> str:
    """Returns `prefix` if it may begin the names of a listing: empty, or a name, or a name and `/`.

    Raises:
        ValueError: as `check_name`.
    """
    if prefix:
        check_name(prefix.removesuffix("/") or prefix)
    return prefix


def join(prefix: str, name: str) -> str:
    """Returns `name` below `prefix`; an empty prefix adds nothing."""
    return f"{prefix}/{name}" if prefix else name


def _problem(name: str) -> str | None:
    """Returns what is wrong with a name, as the end of a sentence, or None."""
    if not name:
        return "is empty"
    if name.startswith("/"):
        return "is absolute"
    if found := _FORBIDDEN_CHARACTER.search(name):
        return f"holds {found.group()!r}"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if size > MAX_NAME_BYTES:
        return f"has {size} bytes, more than {MAX_NAME_BYTES}"
    return next(filter(None, map(_segment_problem, name.split("/"))), None)


def _segment_problem(segment: str) -> str | None:
    if not segment:
        return "has an empty segment"
    if segment in (".", ".."):
        return f"has the segment {segment!r}"
    if segment.startswith(TEMPORARY_PREFIX):
        return f"is kept for temporary files ({TEMPORARY_PREFIX}…)"
    return None
