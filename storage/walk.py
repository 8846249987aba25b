"""Walks a directory tree in byte order of the names, and never out of it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from storage.errors import OutsideFolderError, StorageError
from storage.names import TEMPORARY_PREFIX, Entry, check_name

if TYPE_CHECKING:
    from collections.abc import Iterator

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Error numbers that mean that there is no such file."""


def walk_files(root: str, directory: str, prefix: str, start: str) -> Iterator[Entry]:
    """Yields the regular files below `directory`, sorted by the UTF-8 bytes of their names.

    Holds one sorted directory per level of depth. A directory that is not there has no files.

    Args:
        root: no symbolic link may lead out of here.
        directory: where to begin.
        prefix: what the names begin with: empty, or ending in `/`.
        start: what the names of the files and directories directly in `directory` begin with.

    Raises:
        StorageError: a link leads out of `root`, or a file has a name that `check_name` refuses.
    """
    levels = [_children(directory, prefix, start)]
    while levels:
        child = next(levels[-1], None)
        if child is None:
            levels.pop()
            continue
        name, found = child
        if found.is_dir(follow_symlinks=False):
            levels.append(_children(found.path, f"{name}/", ""))
        elif (size := _file_size(root, found)) is not None:
            yield Entry(_checked(name, found.path), size, None)


def check_inside(root: str, path: str) -> None:
    """Refuses a path that symbolic links lead out of `root`.

    Args:
        root: absolute path; it may itself be, or lie behind, a link.
        path: absolute path below `root` by name. Need not exist.

    Raises:
        OutsideFolderError: `path` resolves to a place outside what `root` resolves to.
    """
    real = os.path.realpath(path)
    if real == path:
        return
    inside = os.path.realpath(root)
    if real != inside and not real.startswith(f"{inside.rstrip('/')}/"):
        raise OutsideFolderError(
            f"{path!r} is a symbolic link, or lies behind one, to {real!r}, outside {root!r}; put "
            "a copy there instead, or open the folder that the link leads to"
        )


def _children(directory: str, prefix: str, start: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Returns the names and entries of a directory, in the order of the files below them."""
    try:
        with os.scandir(directory) as scanned:
            entries = [
                entry
                for entry in scanned
                if entry.name.startswith(start) and not entry.name.startswith(TEMPORARY_PREFIX)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return iter(())
    entries.sort(key=_order)
    return ((prefix + entry.name, entry) for entry in entries)


def _order(entry: os.DirEntry[str]) -> bytes:
    # `a.txt` comes before `a/b`, since `.` is less than `/`: a directory sorts by its name and `/`.
    slash = b"/" if entry.is_dir(follow_symlinks=False) else b""
    return os.fsencode(entry.name) + slash


def _file_size(root: str, entry: os.DirEntry[str]) -> int | None:
    """Returns the bytes of a regular file, behind a link or not; None for anything else."""
    if entry.is_symlink():
        check_inside(root, entry.path)
    try:
        return entry.stat().st_size if entry.is_file() else None
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise


def _checked(name: str, path: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise StorageError(f"{path!r}: {error}; rename the file") from error
