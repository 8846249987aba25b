"""Folders: the one way in which mixwright lists, reads and commits files.

A folder is a directory on a file system or a prefix of a bucket. It is a small frozen value, so it
travels inside pickled pipelines; clients and descriptors are made where they are used.

Files are immutable once created, and `create` is the commit: content appears whole or not at all,
and the first of several writers wins. The few mutable files (a lock, `runs/*.json`) use `replace`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from storage.errors import StorageError
from storage.local import LocalFolder
from storage.names import Entry, check_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from storage.readers import Reader

__all__ = ["Entry", "Folder", "check_name", "open_folder"]

# One slash is enough to tell a scheme: `gs:/bucket` is a slip, not a folder called `gs:`.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/(/?)(.*)", re.DOTALL)


class Folder(Protocol):
    """Files under relative names with `/` between segments (`storage.names.check_name`).

    A name that is refused raises `ValueError`, and a file that is not there `FileNotFoundError`,
    before anything is read or written. What the store itself refuses raises `StorageError`.
    """

    @property
    def uri(self) -> str:
        """Absolute path or `gs://` URI; `open_folder(folder.uri)` opens the folder again."""
        ...

    def child(self, name: str) -> Folder:
        """Returns the folder `name` below this one. Folders need not exist to be written to."""
        ...

    def locate(self, name: str) -> str:
        """Returns the full path or URI of `name`, for messages."""
        ...

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yields every file, of sub-folders too, sorted by the UTF-8 bytes of the names.

        A folder that is not there has no files. Temporary files are never listed.

        Args:
            prefix: only names that begin with this, by character: `a/b` matches `a/bc` too.

        Raises:
            StorageError: a file has a name that could not be read back, or lies outside.
        """
        ...

    def exists(self, name: str) -> bool:
        """Returns whether there is a file `name`."""
        ...

    def stat(self, name: str) -> Entry | None:
        """Returns size and known checksum of `name`, or None where there is no such file."""
        ...

    def read(self, name: str) -> bytes:
        """Returns the whole content."""
        ...

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns exactly `length` bytes from `offset`.

        Raises:
            StorageError: the file ends before `offset + length`.
        """
        ...

    def open(self, name: str) -> BinaryIO:
        """Opens a file for buffered, seekable reading, as pyarrow and tarfile want it."""
        ...

    def open_reader(self, name: str) -> Reader:
        """Opens a file for many reads by position, from many threads."""
        ...

    def checksum(self, name: str) -> str:
        """Returns a digest of the content with its kind: `crc32c:…` on `gs://`, or `blake2b:…`."""
        ...

    def create(self, name: str, data: bytes | Path) -> bool:
        """Commits content under `name` unless that exists: whole or not at all, the first wins.

        Args:
            name: the file to create; parents are made.
            data: the content, or a local file that has it and stays as it is. A file from
                `temporary_file` of a local folder is committed without copying: never write to
                it again.

        Returns:
            True if this call created the file, False if it existed before.

        Raises:
            StorageError: no space, no permission, no bucket, no answer, or no hard links.
        """
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Writes `name` whether or not it exists; readers see the old content or the new."""
        ...

    def delete(self, name: str) -> None:
        """Removes `name`; one that is not there is fine."""
        ...

    def temporary_file(self) -> AbstractContextManager[Path]:
        """Lends an empty local file to build content for `create` in; removes it afterwards."""
        ...

    def sweep(self, older_than_s: float) -> int:
        """Removes temporaries that dead processes left; returns how many.

        Args:
            older_than_s: seconds since the last write to it; choose hours.
        """
        ...


def open_folder(uri: str) -> Folder:
    """Returns the folder at `uri`, which need not exist yet.

    Args:
        uri: a local path (`~` is expanded, relative ones are made absolute) or `gs://bucket/prefix`.

    Raises:
        ValueError: `uri` is empty, has another scheme, or names no valid bucket or prefix.
        StorageError: `gs://` without the `gcp` extra.
    """
    scheme = _SCHEME.fullmatch(uri)
    if scheme is None:
        if not uri or "\0" in uri:
            raise ValueError(f"folder {uri!r} is not a path; write a path or gs://bucket/prefix")
        return LocalFolder(os.path.normpath(Path(uri).expanduser().absolute()))
    if scheme[1] != "gs" or not scheme[2]:
        raise ValueError(
            f"folder {uri!r}: scheme {scheme[1]!r} is not supported; write a local path or "
            "gs://bucket/prefix"
        )
    try:
        # An extra, and slow to import: only for those who name a bucket.
        from storage.cloud import CloudFolder  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StorageError(
            f"folder {uri!r} needs the gcp extra (no module {error.name!r} here): "
            "pip install 'mixwright[gcp]'"
        ) from error
    bucket, _, prefix = scheme[3].partition("/")
    return CloudFolder(bucket, prefix.removesuffix("/"))
