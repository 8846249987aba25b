"""Which of the URLs that HTML gives for one image is the image: the largest."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

LAZY_ATTRIBUTES = ("data-src", "data-original", "data-lazy-src", "data-srcset")
"""Where scripts that load images late keep the URL, `src` being a placeholder."""

MAX_CANDIDATES = 100
MAX_SRCSET_CHARACTERS = 64 << 10

_SEPARATORS = ", \t\n\f\r"

_DATA = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class SrcsetCandidate:
    """One image of a `srcset`.

    Attributes:
        url: as written.
        width: pixels that its `w` descriptor states; 0 where there is none.
        density: of its `x` descriptor; 1 where there is none.
    """

    url: str
    width: int = 0
    density: float = 1.0


def parse_srcset(value: str) -> list[SrcsetCandidate]:
    """Returns the images of a `srcset` (HTML, section 4.8.4.2.2); nonsense is left out.

    A URL may hold commas, but does not end with one; descriptors go up to the next comma.
    """
    found: list[SrcsetCandidate] = []
    rest = value[:MAX_SRCSET_CHARACTERS].lstrip(_SEPARATORS)
    while rest and len(found) < MAX_CANDIDATES:
        words = rest.split(None, 1)
        url = words[0].rstrip(",")
        rest = words[1] if len(words) == 2 else ""
        width, density = 0, 1.0
        if url == words[0]:
            descriptors, _, rest = rest.partition(",")
            width, density = _parse_descriptors(descriptors)
        found.append(SrcsetCandidate(url, width, density))
        rest = rest.lstrip(_SEPARATORS)
    return found


def choose_url(attributes: Mapping[str, str], sources: Iterable[str] = ()) -> str:
    """Returns the URL of the largest version of an image, as written; empty where there is none.

    Args:
        attributes: of the `<img>`.
        sources: `srcset` of each `<source>` of its `<picture>`, in order.
    """
    sets = [attributes.get("srcset", ""), attributes.get("data-srcset", ""), *sources]
    candidates = [candidate for value in sets for candidate in parse_srcset(value)]
    candidates = [candidate for candidate in candidates if not is_data(candidate.url)]
    if candidates:
        largest = max(candidates, key=lambda candidate: (candidate.width, candidate.density))
        if largest.width or largest.density > 1 or is_data(attributes.get("src", "data:")):
            return largest.url
    plain = [attributes.get(name, "").strip() for name in ("src", *LAZY_ATTRIBUTES[:3])]
    real = [url for url in plain if url and not is_data(url)]
    if is_data(plain[0]) or not plain[0]:
        return next(iter(real), plain[0])
    return plain[0]


def is_data(url: str) -> bool:
    """Returns whether a URL holds the image itself."""
    return url.strip()[:5].lower() == "data:"


def decode_data_url(url: str) -> bytes | None:
    """Returns the bytes of a `data:` URL (RFC 2397); None where they cannot be decoded."""
    match = _DATA.fullmatch(url.strip())
    if match is None:
        return None
    data = unquote_to_bytes(match[3])
    if not match[2].lower().endswith(";base64"):
        return data
    try:
        return base64.b64decode(b"".join(data.split()) + b"==")
    except binascii.Error:
        return None


def _parse_descriptors(descriptors: str) -> tuple[int, float]:
    width, density = 0, 1.0
    for word in descriptors.split():
        number = word[:-1]
        if word.endswith("w") and number.isascii() and number.isdigit():
            width = int(number[:9])
        elif word.endswith("x"):
            density = _positive(number)
    return width, density


def _positive(number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        return 1.0
    return value if 0 < value < 1000 else 1.0
