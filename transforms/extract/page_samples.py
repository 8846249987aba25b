"""The samples of a page: one for each of its images, and one for a page that has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from schemas.digests import media_id
from schemas.fetch import Consent
from schemas.reasons import Reason
from schemas.samples import MediaRole, RawMedia, RawSample
from transforms.extract.html import PageError, PageImage, read_page
from transforms.extract.image_urls import decode_data_url, is_data
from transforms.fetch.consent import refuse_meta
from transforms.fetch.records import FetchRequest
from transforms.fetch.url_rows import UrlRow
from transforms.ingest.fields import printable
from transforms.ingest.media import Refused, too_large

UNSERVED_HOST = "pages.invalid"
"""Stands for the host of pages that nobody has served (RFC 2606)."""

FindMedia = Callable[[str], bytes | Refused | None]
"""Returns the bytes behind an absolute URL, where the source holds them; None where it does not."""


@dataclass(frozen=True, slots=True)
class PageReader:
    """How the images of pages become samples.

    Attributes:
        consent: which refusals of a page count.
        product: our name, as in the user agent.
        find: what the source holds itself.
        max_media_bytes: larger images are refused.
    """

    consent: Consent
    product: str
    find: FindMedia
    max_media_bytes: int

    def samples(
        self, body: bytes, locator: str, url: str, charset: str = "", refused: str = ""
    ) -> Iterator[UrlRow]:
        """Yields a row for each image of a page: with its media, or with what to fetch.

        Args:
            body: the page.
            locator: of the page, relative to the root of its source. An image's is the page's, `#`
                and its URL, or the digest of its bytes where they stand in the page.
            url: where the page came from, or what stands for it.
            charset: that the server stated.
            refused: why the headers of the page refuse the use of its images; empty otherwise.
        """
        try:
            page = read_page(body, url, charset)
        except PageError as error:
            told = RawSample(locator, reason=Reason.ROW_MALFORMED, error=str(error))
            yield UrlRow(told, None)
            return
        refused = refused or refuse_meta(page.metas, self.consent, self.product)
        meta = {"page_url": page.url or self._public(url), "page_title": page.title}
        kept: dict[str, Any] = {name: printable(value) for name, value in meta.items() if value}
        whole = RawSample(locator=locator, licence=page.licence, meta=kept)
        if not page.images:
            empty = replace(whole, reason=Reason.MEDIA_MISSING, error="the page has no images")
            yield UrlRow(empty, None)
        for image in page.images:
            sample = replace(whole, texts=image.texts)
            if refused:
                sample = replace(sample, reason=Reason.FETCH_FAILED_OPT_OUT, error=refused)
            yield self._row(sample, image)

    def _public(self, url: str) -> str:
        return "" if urlsplit(url).hostname == UNSERVED_HOST else url

    def _row(self, sample: RawSample, image: PageImage) -> UrlRow:
        if is_data(image.url):
            return self._inline(sample, image.url)
        url = printable(image.url)
        meta = sample.meta | ({"url": url} if url else {})
        sample = replace(sample, locator=f"{sample.locator}#{url}", meta=meta)
        if sample.reason is not None:
            return UrlRow(sample, None)
        if not url:
            error = "the image has no URL"
            return UrlRow(replace(sample, reason=Reason.MEDIA_MISSING, error=error), None)
        data = self.find(url)
        if data is None:
            return UrlRow(sample, FetchRequest(url))
        return UrlRow(self._with_media(sample, data), None)

    def _inline(self, sample: RawSample, url: str) -> UrlRow:
        data = decode_data_url(url)
        digest = media_id(data if data is not None else url.encode("utf-8", "surrogatepass"))
        sample = replace(sample, locator=f"{sample.locator}#sha256:{digest}")
        if sample.reason is None:
            error = "the data: URL cannot be decoded"
            found = Refused(Reason.FETCH_FAILED_BAD_CONTENT, error) if data is None else data
            sample = self._with_media(sample, found)
        return UrlRow(sample, None)

    def _with_media(self, sample: RawSample, data: bytes | Refused) -> RawSample:
        if not isinstance(data, Refused):
            data = too_large("the image", len(data), self.max_media_bytes) or data
        if isinstance(data, Refused):
            return replace(sample, reason=data.reason, error=data.error)
        return replace(sample, media=(RawMedia(MediaRole.IMAGE, data),))
