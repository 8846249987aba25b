"""A folder on a local or network file system.

Commits are hard links: a file is written whole and synced under a temporary name, then linked to
its final one, which fails if that exists. Readers therefore see all of a file or nothing, and of
many writers exactly one wins, on NFS too.

Symbolic links never lead out: the folder that was opened may be a link, but what lies below it is
refused with `StorageError` where it resolves to a place outside, by name and in listings. A link to
a file inside is read like that file. A link to a directory inside is not followed by listings,
since what it shows is listed under its own name; so loops end. Dangling links are not files.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat as modes
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from storage import temporaries
from storage.errors import StorageError, no_such_file
from storage.names import Entry, check_name, check_prefix, join
from storage.publish import publish, sync, write_synced
from storage.readers import LocalReader
from storage.walk import ABSENT, check_inside, walk_files

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

CHECKSUM_BYTES = 16
"""Bytes of the blake2b digest that `LocalFolder.checksum` gives."""


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A directory; see `storage.folders.Folder` for the contract of each method.

    Attributes:
        root: absolute path of the directory that was opened: nothing below resolves outside it.
        prefix: this folder relative to `root`; empty for the root itself. Need not exist yet.
    """

    root: str
    prefix: str = ""

    @property
    def uri(self) -> str:
        """Absolute path of the folder."""
        return str(Path(self.root, self.prefix))

    def child(self, name: str) -> LocalFolder:
        """Returns the folder `name` below this one."""
        return LocalFolder(self.root, join(self.prefix, check_name(name)))

    def locate(self, name: str) -> str:
        """Returns the absolute path of `name`, for messages."""
        return str(Path(self.uri, check_name(name)))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Lists files by name; sizes are known, checksums are not."""
        parent, slash, start = check_prefix(prefix).rpartition("/")
        directory = self.child(parent) if parent else self
        return walk_files(self.root, directory._inside(), f"{parent}{slash}", start)

    def exists(self, name: str) -> bool:
        """Returns whether `name` is a regular file."""
        return self.stat(name) is not None

    def stat(self, name: str) -> Entry | None:
        """Returns size and name of a regular file, or None."""
        try:
            status = self._resolve(name).stat()
        except OSError as error:
            if error.errno in ABSENT:
                return None
            raise
        return Entry(name, status.st_size, None) if modes.S_ISREG(status.st_mode) else None

    def read(self, name: str) -> bytes:
        """Returns the whole content."""
        with self.open_reader(name) as reader:
            return reader.read_at(0, reader.size)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns exactly `length` bytes from `offset`."""
        with self.open_reader(name) as reader:
            return reader.read_at(offset, length)

    def open(self, name: str) -> io.BufferedReader:
        """Opens a file for buffered reading."""
        return open(self._descriptor(name), "rb")  # noqa: PTH123 - a descriptor, not a path

    def open_reader(self, name: str) -> LocalReader:
        """Opens a file for reads by position."""
        file: io.FileIO = open(self._descriptor(name), "rb", buffering=0)  # noqa: PTH123, SIM115
        return LocalReader(file, self.locate(name))

    def checksum(self, name: str) -> str:
        """Returns `blake2b:` and 32 hex digits, reading the content."""
        with self.open(name) as file:
            hasher = partial(hashlib.blake2b, digest_size=CHECKSUM_BYTES)
            return f"blake2b:{hashlib.file_digest(file, hasher).hexdigest()}"

    def create(self, name: str, data: bytes | Path) -> bool:
        """Commits `data` as `name` unless that exists; of many callers one gets True."""
        target = self._resolve(name)
        if target.is_file():
            return False
        wanted = data.stat().st_size if isinstance(data, Path) else len(data)
        with temporaries.explain_full_disk(target, wanted):
            _make_directory(target.parent)
            if isinstance(data, Path) and temporaries.is_temporary(data):
                # Only our own temporaries are linked as they are: the owner of any other file
                # could change it in place after the commit.
                sync(data)
                try:
                    return publish(data, target)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
            with temporaries.temporary_file(target.parent) as path:
                write_synced(path, data)
                return publish(path, target)

    def replace(self, name: str, data: bytes) -> None:
        """Writes `data` as `name`, in the place of what was there, atomically."""
        target = self._resolve(name)
        with temporaries.explain_full_disk(target, len(data)):
            _make_directory(target.parent)
            with temporaries.temporary_file(target.parent) as path:
                write_synced(path, data)
                path.replace(target)
            sync(target.parent)

    def delete(self, name: str) -> None:
        """Removes a file; one that is not there is fine. Directories stay."""
        if self.exists(name):
            self._resolve(name).unlink(missing_ok=True)

    @contextmanager
    def temporary_file(self) -> Iterator[Path]:
        """Yields a scratch file in this folder, which `create` commits without copying."""
        directory = Path(self._inside())
        with temporaries.explain_full_disk(directory / "temporary file"):
            _make_directory(directory)
            with temporaries.temporary_file(directory) as path:
                yield path

    def sweep(self, older_than_s: float) -> int:
        """Removes left-over temporaries anywhere below this folder."""
        return temporaries.sweep((path for path, _, _ in os.walk(self._inside())), older_than_s)

    def _inside(self) -> str:
        """Returns the path of this folder, which no symbolic link leads out of the root."""
        check_inside(self.root, self.uri)
        return self.uri

    def _resolve(self, name: str) -> Path:
        """Returns the path of `name`, which no symbolic link leads out of the root."""
        path = self.locate(name)
        check_inside(self.root, path)
        return Path(path)

    def _descriptor(self, name: str) -> int:
        """Returns a descriptor of a regular file, open for reading."""
        path = self._resolve(name)
        try:
            # Without O_NONBLOCK, opening a named pipe would wait for a writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in ABSENT:
                raise no_such_file(str(path)) from error
            raise
        if not modes.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise no_such_file(str(path))
        return descriptor


def _make_directory(directory: Path) -> None:
    """Makes a directory and its parents, so that they outlast a power cut."""
    levels = (directory, *directory.parents)
    missing = list(takewhile(lambda level: not level.exists(), levels))
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(level for level in levels if level.exists())
        raise StorageError(f"{directory}: {file} is a file, not a directory; move it") from error
    for level in missing:
        sync(level.parent)
