"""Reads WARC files (ISO 28500): pages, and the images that were crawled with them.

A file is read twice: once to learn where its images are, once for its pages. Images are then read
by their place, so that nothing but the record at hand is in memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from fastwarc.stream_io import BrotliReader, ChunkedReader, GzipReader, WarcReader
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from schemas.digests import digest
from schemas.fetch import Consent
from schemas.reasons import Reason
from schemas.samples import RawSample
from storage.folders import Folder
from transforms.extract.html import MAX_PAGE_BYTES
from transforms.extract.page_samples import PageReader
from transforms.fetch.consent import refuse_headers
from transforms.fetch.records import RefusedError
from transforms.fetch.url_rows import UrlRow
from transforms.fetch.urls import parse_url
from transforms.ingest.fields import printable
from transforms.ingest.media import Refused, too_large

_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_RECORDS = WarcRecordType.response | WarcRecordType.resource
_UNPACKERS: dict[str, Callable[[BinaryIO | WarcReader], WarcReader]] = {
    "gzip": GzipReader,
    "x-gzip": GzipReader,
    "br": BrotliReader,
}


class _BrokenRecordError(Exception):
    """A record ends before its length, or cannot be unpacked."""


@dataclass(frozen=True, slots=True)
class _Response:
    """What a server answered, as its record has it.

    Attributes:
        record: the record, its payload not yet read.
        url: that was asked for.
        media_type: without parameters, in lower case.
        headers: of HTTP, names in lower case; none in a `resource` record.
    """

    record: WarcRecord
    url: str
    media_type: str
    headers: tuple[tuple[str, str], ...]

    def read(self, max_bytes: int) -> bytes:
        """Returns the body, unpacked, up to `max_bytes`.

        Raises:
            _BrokenRecordError: it is not whole.
        """
        wanted = min(self.record.content_length, max_bytes)
        data = self.record.reader.read(wanted)
        if len(data) < wanted:
            raise _BrokenRecordError(f"{len(data)} of {self.record.content_length} bytes are there")
        told = dict(self.headers)
        reader: WarcReader | io.BytesIO = io.BytesIO(data)
        if told.get("transfer-encoding", "").lower() == "chunked":
            reader = ChunkedReader(reader)
        packed = told.get("content-encoding", "identity").strip().lower()
        if packed in _UNPACKERS:
            reader = _UNPACKERS[packed](reader)
        if isinstance(reader, io.BytesIO):
            return data
        try:
            return reader.read(max_bytes)
        except OSError as error:
            raise _BrokenRecordError(str(error)) from error


def read_warc(
    folder: Folder, name: str, consent: Consent, product: str, max_media_bytes: int
) -> Iterator[UrlRow]:
    """Yields the rows of the pages of a WARC, in the order of the file.

    Of a URL that was crawled more than once, the first image counts. A page's `X-Robots-Tag` and
    TDM headers hold for its images, and so do an image's own. The pages before a break are read.

    Args:
        folder: the root of the source.
        name: the WARC, plain or packed record by record; its locator is that of what has no page.
        consent: which refusals count.
        product: our name, as in the user agent.
        max_media_bytes: larger images are refused.
    """
    pages = 0
    with folder.open(name) as file, folder.open(name) as images_file:
        images = _Images(images_file, consent, product, max_media_bytes)
        reader = PageReader(consent, product, images.find, max_media_bytes)
        try:
            for response in _responses(images_file):
                images.add(response)
            for response in _responses(file):
                if response.media_type in _PAGE_TYPES:
                    pages += 1
                    yield from _page_rows(response, reader, consent, product)
        except _BrokenRecordError as error:
            told = f"the WARC breaks off: {error}"
            yield UrlRow(RawSample(name, reason=Reason.CONTAINER_TRUNCATED, error=told), None)
            return
    if not pages:
        told = "the file holds no page"
        yield UrlRow(RawSample(name, reason=Reason.MEDIA_MISSING, error=told), None)


def _page_rows(
    response: _Response, reader: PageReader, consent: Consent, product: str
) -> Iterator[UrlRow]:
    refused = refuse_headers(response.headers, consent, product)
    body = response.read(MAX_PAGE_BYTES)
    charset = response.record.http_charset if response.headers else None
    locator = printable(response.url)
    yield from reader.samples(body, locator, response.url, charset or "", refused)


def _responses(file: BinaryIO) -> Iterator[_Response]:
    """Yields the good answers in a WARC from where `file` stands."""
    records = ArchiveIterator(file, record_types=_RECORDS)
    while True:
        try:
            record = next(records, None)
        except OSError as error:
            # Storage has errors of its own, with a number.
            if error.errno is not None:
                raise
            raise _BrokenRecordError(str(error)) from error
        if record is None:
            return
        response = _parse(record)
        if response is not None:
            yield response


def _parse(record: WarcRecord) -> _Response | None:
    """Returns what a record holds; None for what is no good answer of a web server."""
    url = (record.headers.get("WARC-Target-URI") or "").strip("<> ")
    if not url.lower().startswith(("http://", "https://")):
        return None
    headers: tuple[tuple[str, str], ...] = ()
    if not record.is_http:
        content_type = record.headers.get("Content-Type") or ""
    elif record.http_headers.status_code == 200:
        content_type = record.http_content_type or ""
        headers = tuple((key.lower(), value) for key, value in record.http_headers.items())
    else:
        return None
    return _Response(record, url, content_type.partition(";")[0].strip().lower(), headers)


class _Images:
    """Where the images of a WARC are."""

    def __init__(
        self, file: BinaryIO, consent: Consent, product: str, max_media_bytes: int
    ) -> None:
        self._file = file
        self._consent = consent
        self._product = product
        self._max_media_bytes = max_media_bytes
        self._places: dict[bytes, int] = {}

    def add(self, response: _Response) -> None:
        """Remembers where an answer is, if it is an image."""
        if response.media_type.startswith("image/"):
            self._places.setdefault(_key(response.url), response.record.stream_pos)

    def find(self, url: str) -> bytes | Refused | None:
        """Returns the image that was crawled at a URL; None where none was."""
        place = self._places.get(_key(url))
        if place is None:
            return None
        self._file.seek(place)
        response = next(_responses(self._file))
        refused = refuse_headers(response.headers, self._consent, self._product)
        if refused:
            return Refused(Reason.FETCH_FAILED_OPT_OUT, refused)
        try:
            data = response.read(self._max_media_bytes + 1)
        except _BrokenRecordError as error:
            return Refused(Reason.CONTAINER_TRUNCATED, f"the record of {url!r} is broken: {error}")
        return too_large(url, len(data), self._max_media_bytes) or data


def _key(url: str) -> bytes:
    """Returns what a URL is looked up by, however it is written."""
    try:
        return digest(parse_url(url).text)
    except RefusedError:
        return digest(url)
