"""Temporary files: built under a name that no reader matches, then committed or swept away."""

from __future__ import annotations

import errno
import itertools
import os
import re
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import StorageError
from storage.names import TEMPORARY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HOST = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:64]
_serial = itertools.count()


@contextmanager
def temporary_file(directory: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yields the path of a new, empty file in `directory`, and removes that path afterwards.

    The name carries host, process and a serial number and is made with `O_EXCL`: it is unique
    between threads, processes and the machines that share a network file system.

    Args:
        directory: an existing directory.
        mode: permission bits, before the umask.
    """
    path = _create(directory, mode)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Returns whether `path` was made by `temporary_file`, by its name."""
    return path.name.startswith(TEMPORARY_PREFIX)


def sweep(directories: Iterable[str], older_than_s: float) -> int:
    """Removes temporaries directly in `directories` that nobody has written to for a while.

    Args:
        directories: paths; one that is gone is passed over.
        older_than_s: age of the last write, in seconds. Keep it well above the longest pause of a
            writer: hours, not seconds.

    Returns:
        The number of files removed. Files of other users are left alone.
    """
    latest = time.time() - older_than_s
    removed = 0
    for directory in directories:
        for path in Path(directory).glob(f"{TEMPORARY_PREFIX}*"):
            try:
                if path.lstat().st_mtime <= latest:
                    path.unlink()
                    removed += 1
            except (FileNotFoundError, PermissionError):
                continue
    return removed


@contextmanager
def explain_full_disk(path: Path, wanted: int | None = None) -> Iterator[None]:
    """Turns a full disk or quota in the body into a `StorageError` with figures and a remedy.

    Args:
        path: what is being written, for the message; it and its parents need not exist.
        wanted: its size in bytes, where that is known beforehand.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        disk = os.statvfs(next(parent for parent in path.parents if parent.is_dir()))
        amount = "" if wanted is None else f"{wanted} bytes wanted, "
        raise StorageError(
            f"{path}: {error.strerror}: {amount}{disk.f_bavail * disk.f_frsize} bytes and "
            f"{disk.f_favail} inodes free; make room there or choose another folder, then run "
            "again: what is committed is kept"
        ) from error


def _create(directory: Path, mode: int) -> Path:
    while True:
        path = directory / f"{TEMPORARY_PREFIX}{_HOST}-{os.getpid()}-{next(_serial)}"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        except FileExistsError:
            # Left by a dead process that had our process id.
            continue
        return path
