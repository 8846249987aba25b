"""Reads one HTML page: its images, the texts that go with them, and what it says of their use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser, LexborNode

from schemas.samples import RawText, TextRole
from transforms.extract.image_urls import choose_url

MAX_PAGE_BYTES = 2 << 20
"""So much of a page is read."""

MAX_NESTING = 5_000
"""Elements that may be open at once: the time that a parser takes grows with their square."""

MAX_IMAGES = 10_000
"""Images of one page."""

CONTEXT_CHARACTERS = 300
"""Of the text before an image, and of the text after it, so much is its context."""

MAX_CAPTION_TEXTS = 50
MAX_CAPTION_CHARACTERS = 2_000
MAX_SOURCES = 20
MAX_DEPTH = 8
"""A caption is at most so many elements above its text, a figure above its image."""

_UNSEEN = frozenset(
    {"script", "style", "template", "noscript", "head", "title", "option", "textarea", "iframe"}
)
# Elements that end by themselves: many of them in a row do not nest (HTML, section 13.1.2.4).
_SELF_ENDING = frozenset(
    b"area base br col dd dt embed hr img input li link meta optgroup option p param rp rt source "
    b"tbody td tfoot th thead tr track wbr".split()
)
_TAG = re.compile(rb"<(/?)([a-z][^\s/>]*)")
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


class PageError(ValueError):
    """A page is made to keep its reader busy."""


def read_page(body: bytes, url: str, charset: str = "") -> Page:
    """Reads a page; whatever the bytes, there is one, as in a browser.

    Args:
        body: the bytes, of which `MAX_PAGE_BYTES` count.
        url: where the page came from; what relative URLs are relative to, unless `<base>` says.
        charset: that the server stated; else the page's own declaration counts, else UTF-8.

    Raises:
        PageError: more than `MAX_NESTING` elements are open at once.
    """
    body = body[:MAX_PAGE_BYTES]
    if body.count(b"<") > MAX_NESTING:
        _check_nesting(body)
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
    content = _walk(root)
    seen: set[tuple[str, str]] = set()
    for node, at in content.images:
        attributes = {name: value or "" for name, value in node.attributes.items()}
        parent = node.parent
        sources = content.sources.get(parent.mem_id, []) if parent is not None else []
        written = choose_url(attributes, sources)
        url = _join(base, written) if written else ""
        alt = attributes.get("alt", "")
        if (url, alt) in seen:
            continue
        seen.add((url, alt))
        figure = _above(node, "figure")
        caption = content.captions.get(figure.mem_id, []) if figure is not None else []
        texts = [
            (TextRole.ALT, alt),
            (TextRole.TITLE, attributes.get("title", "")),
            (TextRole.TITLE, " ".join(caption)[:MAX_CAPTION_CHARACTERS]),
            (TextRole.CONTEXT, _context(content.words, at)),
        ]
        yield PageImage(url, _raw_texts(texts, language))


@dataclass(frozen=True, slots=True)
class _Content:
    """What one walk over a page finds; elements by their id.

    Attributes:
        words: the texts that the page shows, captions apart.
        images: each `<img>`, with how many of `words` come before it.
        captions: texts of the `<figcaption>` of each `<figure>`.
        sources: `srcset` of each `<source>` of each `<picture>`.
    """

    words: list[str]
    images: list[tuple[LexborNode, int]]
    captions: dict[int, list[str]]
    sources: dict[int, list[str]]


def _walk(root: LexborNode) -> _Content:
    """Walks over a page once: looking below elements again and again would take for ever."""
    content = _Content([], [], {}, {})
    for node in root.traverse(include_text=True, skip_empty=True):
        if node.is_text_node:
            _add_text(content, node)
        elif node.tag == "img" and len(content.images) < MAX_IMAGES:
            content.images.append((node, len(content.words)))
        elif node.tag == "source" and node.parent is not None:
            sources = content.sources.setdefault(node.parent.mem_id, [])
            if len(sources) < MAX_SOURCES:
                sources.append(_attribute(node, "srcset"))
    return content


def _add_text(content: _Content, node: LexborNode) -> None:
    parent = node.parent
    if parent is None or parent.tag in _UNSEEN or _above(node, "noscript") is not None:
        return
    text = _squeeze(node.text())
    caption = _above(node, "figcaption")
    if caption is None:
        # Its ends are all that any context shows; whole, it would be joined for every image.
        if len(text) > 2 * CONTEXT_CHARACTERS:
            text = f"{text[:CONTEXT_CHARACTERS]} {text[-CONTEXT_CHARACTERS:]}"
        content.words.append(text)
        return
    figure = _above(caption, "figure")
    if figure is None:
        return
    said = content.captions.setdefault(figure.mem_id, [])
    if len(said) < MAX_CAPTION_TEXTS:
        said.append(text[:MAX_CAPTION_CHARACTERS])


def _above(node: LexborNode, tag: str) -> LexborNode | None:
    """Returns the nearest element of a kind that a node is in; None where none is near."""
    above = node.parent
    for _ in range(MAX_DEPTH):
        if above is None or above.tag == tag:
            return above
        above = above.parent
    return None


def _context(words: list[str], at: int) -> str:
    before = " ".join(words[max(0, at - 20) : at])[-CONTEXT_CHARACTERS:]
    after = " ".join(words[at : at + 20])[:CONTEXT_CHARACTERS]
    return f"{before} {after}".strip()


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


def _check_nesting(body: bytes) -> None:
    """Counts open elements by name; an end that matches no start does not count."""
    opened: Counter[bytes] = Counter()
    depth = 0
    for end, name in _TAG.findall(body.lower()):
        if name in _SELF_ENDING:
            continue
        if not end:
            opened[name] += 1
            depth += 1
        elif opened[name]:
            opened[name] -= 1
            depth -= 1
        if depth > MAX_NESTING:
            raise PageError(f"the page has more than {MAX_NESTING} elements open at once")


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
