"""Durable writes on a local or network file system, and the commit by hard link."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from storage.errors import StorageError

_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def write_synced(path: Path, data: bytes | Path) -> None:
    """Fills the file at `path` with bytes or with another file's content, and syncs it."""
    if isinstance(data, Path):
        shutil.copyfile(data, path)
    else:
        path.write_bytes(data)
    sync(path)


def publish(path: Path, target: Path) -> bool:
    """Links the finished, synced file at `path` to `target` unless that exists.

    Returns:
        True if this call made the link, False if `target` existed already.

    Raises:
        StorageError: the file system has no hard links, or `target` is not a regular file.
        OSError: anything else, such as `EXDEV` for two file systems.
    """
    links = path.stat().st_nlink
    try:
        target.hardlink_to(path)
    except FileExistsError as error:
        # Over NFS a link that was made may be answered so, when the first answer was lost.
        if not (path.stat().st_nlink > links and target.samefile(path)):
            if target.is_symlink() or (target.exists() and not target.is_file()):
                raise StorageError(
                    f"{target}: a directory or a link is in the way; move it"
                ) from error
            return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        raise StorageError(
            f"{target}: this file system refuses hard links ({error.strerror}), which make commits "
            "safe; use a folder on another one (ext4, xfs, btrfs, APFS, NFS) or on gs://"
        ) from error
    sync(target.parent)
    return True


def sync(path: Path) -> None:
    """Waits until a file, or the entries of a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no way to sync a directory.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
