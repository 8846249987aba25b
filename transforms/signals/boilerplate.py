"""Boilerplate: texts that a camera, a page template or a stock agency wrote, not a person.

Conceptual Captions (Sharma et al. 2018, section 3) crops phrases such as "click to enlarge picture"
or "stock photo" and keeps the rest, and drops texts that begin or end with "embedded image
permalink" or "profile photo". So phrases of the first sort make a text boilerplate only where they
are all of it, phrases of the second sort also at its edges. `data/boilerplate.toml` lists both.

A text that says anything of its image is not boilerplate. That holds for file names too: one made
of words (`Eiffel_Tower_at_night.jpg`) is a noisy caption but a caption; one that a camera or a
content system made up (`IMG_1234.JPG`, `DSC00012`, `image001.png`, a hash) is boilerplate.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Literal

Kind = Literal["", "file_name", "size", "placeholder", "permalink", "enlarge", "stock"]

_WHOLE_CHARACTERS = 200
"""A longer text is not all boilerplate: only its edges are looked at."""
_EDGE_CHARACTERS = 60

_LETTERS = re.compile(r"[^\W\d_]+")
_SIZE = re.compile(
    r"""[(\[]?\s?(?:
        \d{2,5}\s?(?:px)?\s?[x×*]\s?\d{2,5}\s?(?:px|pixels?)?
      | \d{1,5}\s?(?:px|pixels?)
      | \d{1,7}(?:[.,]\d{1,3})?\s?(?:[kmg]i?b|bytes)
    )\s?[)\]]?""",
    re.VERBOSE,
)
# What a template printed in place of a text: HASH(0x86d2470), [object Object], {{ title }}, ${alt}.
_TEMPLATE_VALUE = re.compile(
    r"[a-z:]+\(0x[0-9a-f]+\)|\[object \w+\]|\{\{[^{}]*\}\}|\$\{[^{}]*\}|<%=?[^<>]*%>"
)

_EXTENSION = re.compile(
    r"\.(?:jpe?g|jfif|png|gif|webp|avif|hei[cf]|bmp|tiff?|svg|ico|raw|cr2|nef|arw|dng|psd|mp4|mov)"
)
_NAME_TOKEN = re.compile(r"[^\W_]+")
_CAMERA_TOKEN = re.compile(
    r"(?:img|dsc|dscn|dscf|dscam|imgp|imag|pict|pxl|gopr|dji|mvi|vid|cimg|hpim|sdc|wp)(?:e?\d{3,})?"
)
_DEVICE_TOKEN = re.compile(
    # Words that systems number (image001, thumb2) or append, counters, times, sizes.
    r"(?:image|img|pic|picture|photo|foto|bild|scan|slide|page|file|download|unnamed|untitled|thumb"
    r"|thumbnail|banner|header|spacer|pixel|blank|default|gallery|screenshot|bildschirmfoto|whatsapp"
    r"|received|signal|fb|at|am|pm|um|wa|hdr|pano|burst|edit|edited|copy|kopie|scaled|cropped|rotated"
    r"|resized|large|medium|small|mg|mp|n|o|e(?=\d{9})|p(?=\d{6}))?\d*"
    r"|\d{1,5}x\d{1,5}|\d{1,5}px"
)
_HASH_TOKEN = re.compile(r"(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,128}")
_COUNTER = re.compile(r"\d{3}")
_BARE_HASH = re.compile(
    r"(?=[a-f]*\d)(?=\d*[a-f])(?:[0-9a-f]{16,128}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)


def boilerplate_kind(text: str) -> Kind:
    """Returns what kind of boilerplate a text is; empty where it is none."""
    if len(text) > _WHOLE_CHARACTERS:
        return _edge_kind(_letters(text[:_EDGE_CHARACTERS]), _letters(text[-_EDGE_CHARACTERS:]))
    folded = text.strip().casefold()
    if _is_device_name(folded):
        return "file_name"
    if _SIZE.fullmatch(folded):
        return "size"
    if _TEMPLATE_VALUE.fullmatch(folded):
        return "placeholder"
    letters = _letters(folded)
    return _WHOLE.get(letters) or _edge_kind(letters, letters)


def _edge_kind(begin: str, end: str) -> Kind:
    for phrase, kind in _EDGES.items():
        if f"{begin} ".startswith(f"{phrase} ") or f" {end}".endswith(f" {phrase}"):
            return kind
    return ""


def _is_device_name(folded: str) -> bool:
    """Says whether a case-folded text is a file name that no person chose."""
    extension = folded.rfind(".")
    if extension > 0 and _EXTENSION.fullmatch(folded, extension):
        tokens = _NAME_TOKEN.findall(folded[folded.rfind("/") + 1 : extension])
        return all(
            _DEVICE_TOKEN.fullmatch(token)
            or _CAMERA_TOKEN.fullmatch(token)
            or _HASH_TOKEN.fullmatch(token)
            for token in tokens
        )
    if _BARE_HASH.fullmatch(folded):
        return True
    # Without an extension only the shape that cameras use is sure: "WP 8" has a meaning.
    tokens = _NAME_TOKEN.findall(folded)
    if not tokens or not _CAMERA_TOKEN.fullmatch(tokens[0]) or not _COUNTER.search(folded):
        return False
    return all(_DEVICE_TOKEN.fullmatch(token) for token in tokens[1:])


def _letters(text: str) -> str:
    """Returns the runs of letters in a text, case-folded, with single spaces between."""
    return " ".join(_LETTERS.findall(text.casefold()))


def _read_phrases() -> tuple[dict[str, Kind], dict[str, Kind]]:
    """Returns kind by phrase: of whole texts, and of the edges of texts."""
    file = Path(__file__).with_name("data") / "boilerplate.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    whole: dict[str, Kind] = {
        _letters(phrase): kind
        for kind, languages in tables["whole"].items()
        for phrases in languages.values()
        for phrase in phrases
    }
    edges: dict[str, Kind] = {
        _letters(phrase): kind for kind, phrases in tables["edges"].items() for phrase in phrases
    }
    return whole, edges


_WHOLE, _EDGES = _read_phrases()
