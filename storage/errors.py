"""What can go wrong with a folder, as errors that name the file, the value and the remedy."""

from __future__ import annotations

import errno


class StorageError(OSError):
    """A folder cannot do what was asked.

    A file that is simply not there raises the built-in `FileNotFoundError` instead, locally and on
    `gs://` alike.
    """


class OutsideFolderError(StorageError):
    """A name leads, by a symbolic link, to a place outside the folder that was opened."""


def no_such_file(location: str) -> FileNotFoundError:
    """Returns the error for a file that is not there.

    Args:
        location: full path or URI.
    """
    return FileNotFoundError(errno.ENOENT, "No such file", location)


def short_read(location: str, offset: int, length: int, size: int) -> StorageError:
    """Returns the error for a range that reaches past the end of a file of `size` bytes."""
    return StorageError(
        f"{location}: bytes {offset} to {offset + length} were asked for, but the file ends at "
        f"{size}; it is truncated, or the reference belongs to another file: run `mixwright verify`"
    )
