"""A folder in Google Cloud Storage.

An object appears when its upload is finished, so one upload with `if_generation_match=0` is the
commit: no temporary object, no rename, and of many writers exactly one wins.
"""

from __future__ import annotations

import io
import re
import tempfile
from base64 import b64decode
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Self

import google_crc32c
from google.api_core import exceptions
from google.cloud.storage.retry import DEFAULT_RETRY

from storage import temporaries
from storage.client import TIMEOUT_S, client, explained
from storage.errors import StorageError, short_read
from storage.names import TEMPORARY_PREFIX, Entry, check_name, check_prefix, join
from storage.readers import ReaderFile, check_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import BinaryIO

    from google.cloud.storage import Blob

BUFFER_BYTES = 4 * 1024 * 1024
"""Bytes that `open` asks for at a time: a request costs tens of ms whatever its size."""

_UPLOAD_CHUNK_BYTES = 16 * 1024 * 1024
"""Bytes of a resumable upload that are held in memory and sent again after a fault."""

# https://cloud.google.com/storage/docs/buckets#naming
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class CloudFolder:
    """A prefix of a bucket; see `storage.folders.Folder` for the contract of each method.

    Attributes:
        bucket: name of the bucket, which must exist.
        prefix: what object names begin with, without the `/` after it; empty for the whole bucket.

    Raises:
        ValueError: the bucket or the prefix has no valid name.
    """

    bucket: str
    prefix: str = ""

    def __post_init__(self) -> None:
        if not _BUCKET.fullmatch(self.bucket):
            raise ValueError(
                f"bucket {self.bucket!r} is not a valid name: 3 to 222 characters of a-z, 0-9, "
                "`-`, `_` and `.`, such as in gs://my-bucket/work"
            )
        if self.prefix:
            check_name(self.prefix)

    @property
    def uri(self) -> str:
        """`gs://<bucket>/<prefix>`."""
        return f"gs://{self.bucket}/{self.prefix}".removesuffix("/")

    def child(self, name: str) -> CloudFolder:
        """Returns the folder `name` below this one."""
        return CloudFolder(self.bucket, join(self.prefix, check_name(name)))

    def locate(self, name: str) -> str:
        """Returns the URI of `name`, for messages."""
        return join(self.uri, check_name(name))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Lists objects by name, a page at a time, with their crc32c."""
        return self._list(join(self.prefix, check_prefix(prefix)))

    def exists(self, name: str) -> bool:
        """Returns whether there is an object `name`."""
        return self.stat(name) is not None

    def stat(self, name: str) -> Entry | None:
        """Returns size and crc32c of an object, or None."""
        try:
            blob = self._described(name)
        except FileNotFoundError:
            return None
        return Entry(name, blob.size, _checksum(blob))

    def read(self, name: str) -> bytes:
        """Returns the whole content, checked against the object's crc32c."""
        with self._explained(name, "storage.objects.get"):
            data: bytes = self._blob(name).download_as_bytes(
                raw_download=True, checksum="crc32c", timeout=TIMEOUT_S, retry=DEFAULT_RETRY
            )
        return data

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Returns exactly `length` bytes from `offset`, in one request."""
        return self._download(name, offset, length, None)

    def open(self, name: str) -> io.BufferedReader:
        """Opens an object for buffered reading."""
        return io.BufferedReader(ReaderFile(self.open_reader(name)), BUFFER_BYTES)

    def open_reader(self, name: str) -> CloudReader:
        """Opens an object for reads by position, all of the generation that is there now."""
        blob = self._described(name)
        return CloudReader(
            blob.size, partial(self._download, name, generation=blob.generation), self.locate(name)
        )

    def checksum(self, name: str) -> str:
        """Returns `crc32c:` and 8 hex digits, from the metadata."""
        checksum = _checksum(self._described(name))
        if checksum is None:
            raise StorageError(
                f"{self.locate(name)}: its metadata has no crc32c, as under a customer-supplied "
                "encryption key; copy it to a bucket without one"
            )
        return checksum

    def create(self, name: str, data: bytes | Path) -> bool:
        """Commits `data` as `name` unless that exists; of many callers one gets True."""
        # Asking first spares sending content that has lost already.
        if self.exists(name):
            return False
        faults: list[Exception] = []
        with self._explained(name, "storage.objects.create"):
            try:
                self._upload(
                    name,
                    data,
                    if_generation_match=0,
                    retry=partial(DEFAULT_RETRY, on_error=faults.append),
                )
            except exceptions.PreconditionFailed:
                # After a fault, it may be our own first attempt, whose answer was lost, that is in
                # the way of the second. Equal content from another writer passes for ours: then
                # both are told that they have committed it.
                return bool(faults) and self.stat(name) == _entry(name, data)
        return True

    def replace(self, name: str, data: bytes) -> None:
        """Writes `data` as `name`, in the place of what was there, atomically."""
        with self._explained(name, "storage.objects.create and storage.objects.delete"):
            self._upload(name, data, if_generation_match=None, retry=DEFAULT_RETRY)

    def delete(self, name: str) -> None:
        """Removes an object; one that is not there is fine."""
        try:
            with self._explained(name, "storage.objects.delete"):
                self._blob(name).delete(timeout=TIMEOUT_S, retry=DEFAULT_RETRY)
        except FileNotFoundError:
            pass

    @contextmanager
    def temporary_file(self) -> Iterator[Path]:
        """Yields a scratch file in the temporary directory of this machine (`TMPDIR`)."""
        directory = Path(tempfile.gettempdir())
        with (
            temporaries.explain_full_disk(directory / "temporary file"),
            temporaries.temporary_file(directory, mode=0o600) as path,
        ):
            yield path

    def sweep(self, older_than_s: float) -> int:
        """Removes left-over temporaries in the temporary directory of this machine."""
        return temporaries.sweep([tempfile.gettempdir()], older_than_s)

    def _explained(self, name: str, permission: str) -> AbstractContextManager[None]:
        return explained(self.locate(name), self.bucket, permission)

    def _blob(self, name: str) -> Blob:
        """Returns an object by name, without asking the server for it."""
        return client().bucket(self.bucket).blob(check_name(join(self.prefix, name)))

    def _described(self, name: str) -> Blob:
        """Returns an object with its metadata."""
        with self._explained(name, "storage.objects.get"):
            blob = self._blob(name)
            blob.reload(timeout=TIMEOUT_S, retry=DEFAULT_RETRY)
        return blob

    def _list(self, start: str) -> Iterator[Entry]:
        """Yields the objects of this folder whose full names begin with `start`."""
        skipped = len(join(self.prefix, ""))
        with explained(self.uri, self.bucket, "storage.objects.list"):
            for blob in client().list_blobs(
                self.bucket,
                prefix=start,
                fields="items(name,size,crc32c),nextPageToken",
                timeout=TIMEOUT_S,
                retry=DEFAULT_RETRY,
            ):
                # Consoles leave empty objects with a `/` at the end to show folders.
                if not blob.name.endswith("/") and f"/{TEMPORARY_PREFIX}" not in f"/{blob.name}":
                    name = self._checked(blob.name[skipped:])
                    yield Entry(name, blob.size, _checksum(blob))

    def _checked(self, name: str) -> str:
        try:
            return check_name(name)
        except ValueError as error:
            raise StorageError(f"{self.uri}/{name}: {error}; rename the object") from error

    def _download(self, name: str, offset: int, length: int, generation: int | None) -> bytes:
        """Returns exactly `length` bytes, of one generation of the object where it is given."""
        check_range(offset, length)
        if length == 0:
            return b""
        location = self.locate(name)
        with explained(location, self.bucket, "storage.objects.get"):
            try:
                data: bytes = self._blob(name).download_as_bytes(
                    start=offset,
                    end=offset + length - 1,
                    raw_download=True,
                    checksum=None,
                    if_generation_match=generation,
                    timeout=TIMEOUT_S,
                    retry=DEFAULT_RETRY,
                )
            except exceptions.RequestRangeNotSatisfiable:
                data = b""
            except exceptions.PreconditionFailed as error:
                raise StorageError(
                    f"{location} was replaced while it was being read; read it again"
                ) from error
        if len(data) != length:
            raise short_read(location, offset, length, self._described(name).size)
        return data

    def _upload(
        self, name: str, data: bytes | Path, *, if_generation_match: int | None, retry: object
    ) -> None:
        blob = self._blob(name)
        # Small content goes in one request, more in a resumable upload of such chunks.
        blob.chunk_size = _UPLOAD_CHUNK_BYTES
        with _open(data) as stream:
            blob.upload_from_file(
                stream,
                size=_size(data),
                content_type="application/octet-stream",
                if_generation_match=if_generation_match,
                checksum="crc32c",
                timeout=TIMEOUT_S,
                retry=retry,
            )


class CloudReader:
    """A `storage.readers.Reader` by ranged downloads."""

    def __init__(self, size: int, download: Callable[[int, int], bytes], location: str) -> None:
        self._size = size
        self._download = download
        self._location = location

    @property
    def size(self) -> int:
        """Bytes of the object when it was opened."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Returns exactly `length` bytes from `offset`; see `Reader`."""
        if length and offset + length > self._size:
            raise short_read(self._location, offset, length, self._size)
        return self._download(offset, length)

    def close(self) -> None:
        """Does nothing: connections belong to the client."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _open(data: bytes | Path) -> BinaryIO:
    return data.open("rb") if isinstance(data, Path) else io.BytesIO(data)


def _size(data: bytes | Path) -> int:
    return data.stat().st_size if isinstance(data, Path) else len(data)


def _entry(name: str, data: bytes | Path) -> Entry:
    """Returns what the entry of `name` is, once it holds `data`."""
    with _open(data) as stream:
        chunks = iter(partial(stream.read, 1024 * 1024), b"")
        crc32c = reduce(google_crc32c.extend, chunks, 0)
    return Entry(name, _size(data), f"crc32c:{crc32c:08x}")


def _checksum(blob: Blob) -> str | None:
    return f"crc32c:{b64decode(blob.crc32c).hex()}" if blob.crc32c else None
