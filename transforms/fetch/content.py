"""Tells, from headers and first bytes, whether a body is worth receiving."""

from __future__ import annotations

import hashlib
import re

from transforms.fetch.records import ExpectedHash
from transforms.signals.formats import describe

HEAD_BYTES = 32
"""So many bytes tell the format of an image."""

_UNTOLD = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/unknown"})
_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF.{4}WEBP|II\*\x00|MM\x00\*|BM"
    rb"|.{4}ftyp(avif|avis|mif1|msf1)",
    re.DOTALL,
)


def refuse_content_type(value: str) -> str:
    """Returns why a `Content-Type` cannot be that of an image; empty where it can.

    Servers that do not know say `application/octet-stream`, or nothing.
    """
    media_type = value.partition(";")[0].strip().lower()
    if media_type in _UNTOLD or media_type.startswith("image/"):
        return ""
    return f"Content-Type is {media_type[:100]!r}, not an image"


def refuse_head(head: bytes) -> str:
    """Returns why a body that begins with `head` is no image; empty where it may be one.

    Args:
        head: the first `HEAD_BYTES` bytes or more, or the whole of a shorter body.
    """
    if not head:
        return "the body has 0 bytes"
    return "" if _MAGIC.match(head) else f"the body is {describe(head)}"


def matches(body: bytes, expected: ExpectedHash) -> bool:
    """Returns whether bytes have the hash that their list states."""
    digest = hashlib.new(expected.algorithm, body, usedforsecurity=False).digest()
    return digest == expected.digest
