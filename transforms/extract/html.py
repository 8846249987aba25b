"""Reads one HTML page: its images, the texts that go with them, and what it says of their use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser, LexborNode

from schemas.samples import RawText, TextRole
from transforms.extract.image_urls import choose_url

MAX_PAGE_BYTES = 10 << 20
"""So much of a page is read."""

MAX_IMAGES = 10_000
"""Images of one page."""

CONTEXT_CHARACTERS = 300
"""Of the text before an image, and of the text after it, so much is its context."""

_UNSEEN = frozenset(
    {"script", "style", "template", "noscript", "head", "select", "textarea", "svg", "iframe"}
)
_CAPTIONS = frozenset({"figcaption"})
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class PageImage:
    """An image of a page.

    Attributes:
        url: absolute, or a `data:` URL; empty for an `<img>` without one.
        texts: alt-text, title, caption and context, none of them blank.
    """

    url: str
    texts: tuple[RawText, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        url: its own, as `<link rel=canonical>` has it; empty where it has none.
        title: empty where it has none.
        language: of its `lang` attribute; None where it has none.
        licence: URL of its `rel=license` link; empty where it has none.
        metas: name and content of its `<meta name>`.
        images: in the order of the page; the one of `og:image` last, where no `<img>` shows it.
    """

    url: str
    title: str
    language: str | None
    licence: str
    metas: tuple[tuple[str, str], ...]
    images: tuple[PageImage, ...]


def read_page(body: bytes, url: str, charset: str = "") -> Page:
    """Reads a page.

    Args:
        body: the bytes, of which `MAX_PAGE_BYTES` count.
        url: where the page came from; what relative URLs are relative to, unless `<base>` says.
        charset: that the server stated; else the page's own declaration counts, else UTF-8.
    """
    body = body[:MAX_PAGE_BYTES]
    tree = LexborHTMLParser(_decode(body, charset), encoding=True)
    root = tree.root
    if root is None:
        return Page("", "", None, "", (), ())
    base = _join(url, _attribute(tree.css_first("base[href]"), "href"))
    language = _attribute(tree.css_first("html[lang]"), "lang")
    language_tag = language if _LANGUAGE.fullmatch(language) else None
    images = list(_images(root, base, language_tag))
    shown = {image.url for image in images}
    images += [
        image for image in _shared_images(tree, base, language_tag) if image.url not in shown
    ]
    licence = tree.css_first('link[rel~="license" i][href], a[rel~="license" i][href]')
    title = tree.css_first("title")
    canonical = tree.css_first('link[rel~="canonical" i][href]')
    metas = tree.css("meta[name][content]")[:1000]
    return Page(
        url=_join(base, _attribute(canonical, "href")) if canonical else "",
        title=_squeeze(title.text()) if title else "",
        language=language_tag,
        licence=_join(base, _attribute(licence, "href")) if licence else "",
        metas=tuple((_attribute(meta, "name"), _attribute(meta, "content")) for meta in metas),
        images=tuple(images[:MAX_IMAGES]),
    )


def _images(root: LexborNode, base: str, language: str | None) -> Iterator[PageImage]:
    """Yields the `<img>` of a page, once for each pair of image and alt-text."""
    words, places = _walk(root)
    seen: set[tuple[str, str]] = set()
    for node, at in places[:MAX_IMAGES]:
        attributes = {name: value or "" for name, value in node.attributes.items()}
        url = _join(base, choose_url(attributes, _sources(node)))
        alt = attributes.get("alt", "")
        if (url, alt) in seen:
            continue
        seen.add((url, alt))
        texts = [
            (TextRole.ALT, alt),
            (TextRole.TITLE, attributes.get("title", "")),
            (TextRole.TITLE, _caption(node)),
            (TextRole.CONTEXT, _context(words, at)),
        ]
        yield PageImage(url, _raw_texts(texts, language))


def _walk(root: LexborNode) -> tuple[list[str], list[tuple[LexborNode, int]]]:
    """Returns the texts that a page shows, and its images with how many texts come before each."""
    words: list[str] = []
    places: list[tuple[LexborNode, int]] = []
    for node in root.traverse(include_text=True, skip_empty=True):
        if node.is_text_node:
            if not _is_unseen(node):
                words.append(_squeeze(node.text()))
        elif node.tag == "img":
            places.append((node, len(words)))
    return words, places


def _is_unseen(node: LexborNode) -> bool:
    parent = node.parent
    if parent is None:
        return True
    tag = parent.tag or ""
    if tag in _UNSEEN or tag in _CAPTIONS or tag == "title":
        return True
    above = parent.parent
    return above is not None and (above.tag in _UNSEEN or above.tag in _CAPTIONS)


def _context(words: list[str], at: int) -> str:
    before = _squeeze(" ".join(words[max(0, at - 20) : at]))[-CONTEXT_CHARACTERS:]
    after = _squeeze(" ".join(words[at : at + 20]))[:CONTEXT_CHARACTERS]
    return f"{before} {after}".strip()


def _sources(image: LexborNode) -> list[str]:
    parent = image.parent
    if parent is None or parent.tag != "picture":
        return []
    return [_attribute(source, "srcset") for source in parent.css("source[srcset]")[:20]]


def _caption(image: LexborNode) -> str:
    """Returns the caption of the figure that an image is in; empty where there is none."""
    node = image.parent
    for _ in range(8):
        if node is None:
            return ""
        if node.tag == "figure":
            caption = node.css_first("figcaption")
            return _squeeze(caption.text(separator=" ")) if caption else ""
        node = node.parent
    return ""


def _shared_images(tree: LexborHTMLParser, base: str, language: str | None) -> Iterator[PageImage]:
    """Yields the image that a page shows when it is shared (Open Graph)."""
    said = {
        _attribute(meta, "property").lower(): _attribute(meta, "content")
        for meta in reversed(tree.css('meta[property^="og:" i][content]')[:100])
    }
    url = said.get("og:image:secure_url") or said.get("og:image") or said.get("og:image:url", "")
    if url.strip():
        texts = [
            (TextRole.ALT, said.get("og:image:alt", "")),
            (TextRole.TITLE, said.get("og:title", "")),
            (TextRole.CONTEXT, said.get("og:description", "")),
        ]
        yield PageImage(_join(base, url), _raw_texts(texts, language))


def _raw_texts(texts: list[tuple[TextRole, str]], language: str | None) -> tuple[RawText, ...]:
    squeezed = dict.fromkeys((role, _squeeze(text)) for role, text in texts)
    return tuple(RawText(role, text, language) for role, text in squeezed if text)


def _decode(body: bytes, charset: str) -> str | bytes:
    """Returns the text of a page whose server states a charset; else the bytes, to be detected."""
    if not charset or body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return body
    # Browsers read Latin-1 as the superset that pages really use (WHATWG Encoding).
    label = "cp1252" if charset.lower() in ("iso-8859-1", "latin1", "ascii") else charset
    try:
        return body.decode(label, "replace")
    except (LookupError, UnicodeError, ValueError):
        return body


def _attribute(node: LexborNode | None, name: str) -> str:
    return (node.attributes.get(name) or "").strip() if node is not None else ""


def _join(base: str, url: str) -> str:
    try:
        return urljoin(base, url)
    except ValueError:
        return url


def _squeeze(text: str) -> str:
    return " ".join(text.split())
