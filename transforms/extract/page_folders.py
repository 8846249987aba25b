"""Reads pages from a folder: images that lie in the folder from there, others by URL."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, unquote, urlsplit

from schemas.fetch import Consent
from schemas.reasons import Reason
from schemas.sources import HtmlSource
from storage.folders import Folder
from transforms.extract.html import MAX_PAGE_BYTES
from transforms.extract.page_samples import UNSERVED_HOST, PageReader
from transforms.fetch.url_rows import UrlRow
from transforms.ingest.media import Refused, read_media, resolve


def read_page_file(
    folder: Folder,
    name: str,
    source: HtmlSource,
    consent: Consent,
    product: str,
    max_media_bytes: int,
) -> Iterator[UrlRow]:
    """Yields the rows of one page of a folder.

    A URL below `source.page_root` is a file of the folder where there is one, and is fetched where
    there is none. Without a `page_root`, relative URLs are files of the folder and nothing else.

    Args:
        folder: the root of the source.
        name: the page.
        source: where the folder was served from.
        consent: which refusals count.
        product: our name, as in the user agent.
        max_media_bytes: larger images are refused.
    """
    root = source.page_root or f"http://{UNSERVED_HOST}/"
    root = root if root.endswith("/") else f"{root}/"

    def find(url: str) -> bytes | Refused | None:
        if not url.startswith(root):
            return None
        path = unquote(urlsplit(url[len(root) :]).path, errors="replace")
        inside = resolve(path)
        found = read_media(folder, inside, max_media_bytes) if isinstance(inside, str) else inside
        missing = isinstance(found, Refused) and found.reason is Reason.MEDIA_MISSING
        return None if missing and source.page_root else found

    url = root + quote(name)
    with folder.open(name) as file:
        body = file.read(MAX_PAGE_BYTES)
    yield from PageReader(consent, product, find, max_media_bytes).samples(body, name, url)
