"""Media of a part: written once, into a tar named by its own digest."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from schemas.layout import Part

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class _HashingFile(io.RawIOBase):
    """Write-only file that hashes what passes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()


class MediaTar:
    """The tar of a part's media while it is written: one member per `media_id`, fixed headers.

    Use as a context manager around the path of a scratch file; `name` is known once it is closed.
    """

    def __init__(self, path: Path, part: Part) -> None:
        """Starts a tar at `path` for the media of `part`."""
        self._part = part
        self._raw = path.open("wb")
        self._file = _HashingFile(self._raw)
        self._tar = tarfile.open(  # noqa: SIM115 - closed by __exit__
            fileobj=self._file, mode="w:", format=tarfile.USTAR_FORMAT
        )
        self._places: dict[str, tuple[int, int]] = {}

    def add(self, media_id: str, data: bytes) -> tuple[int, int]:
        """Stores media unless stored before; returns (offset, length) of the bytes in the tar."""
        place = self._places.get(media_id)
        if place is None:
            self._tar.addfile(_header(media_id, len(data)), io.BytesIO(data))
            padded = -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            place = (self._tar.offset - padded, len(data))
            self._places[media_id] = place
        return place

    @property
    def empty(self) -> bool:
        """True while no media have been stored."""
        return not self._places

    @property
    def name(self) -> str:
        """File name: `<part>.<first 32 hex digits of the tar's sha256>.tar`. Valid once closed."""
        return f"{self._part.name}.{self._file.sha256.hexdigest()[:32]}.tar"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._tar.close()
        self._raw.close()


def _header(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info
