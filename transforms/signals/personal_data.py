"""URLs, e-mail addresses and phone numbers in a text: how many, not which.

The patterns are conservative: dates, years, sizes, coordinates and serial numbers are no phone
numbers, a domain alone ("Booking.com") is no URL. Every quantifier is bounded or possessive, so the
time is linear in the length of the text whatever it holds.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_URL = re.compile(
    r"""
    (?<![\w@.-])
    (?:
        (?:https?|ftp)://[^\s<>"]++
      | www\.[^\s<>"]++
      # A path makes a bare domain a URL: bit.ly/3xYz.
      | (?:[a-z0-9-]{1,63}+\.){1,4}(?:com|org|net|info|edu|gov|io|co|ly|me|tv)/[^\s<>"]++
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
# RFC 5321: at most 64 octets before the at sign, labels of at most 63.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}+@(?:[\w-]{1,63}+\.){1,8}[^\W\d_]{2,24}+(?![\w-])")

# Seven to fifteen digits (E.164) in groups; what the groups look like decides.
_DIGITS = re.compile(
    r"(?<![\w.,/+-])[+(]?\d(?:/?[ .()\u00a0\u2010\u2011-]{0,3}+\d){6,14}+(?!\w|[.,]\d)"
)
_LABEL = re.compile(
    r"(?:\b(?:tel|telephone|téléphone|telefon|telefono|teléfono|telefone|phone|mobile|cell|fax|call"
    r"|whatsapp|тел|телефон)\b[.:]{0,2}|電話|电话|전화|☎|☏|✆|📞|📱)[\s:：]{0,3}+$",
    re.IGNORECASE,
)
_LABEL_CHARACTERS = 16
_UNLABELLED = re.compile(
    # The international prefix: 0049 30 1234567.
    r"00[1-9][\d ().-]+"
    # North America: 555-123-4567, (555) 123-4567, 1-800-123-4567.
    r"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}"
    # A trunk zero and at least two groups: 030 1234567, 01 23 45 67 89, (0171) 234-5678.
    r"|\(?0\d{1,4}\)?[ /-]{1,3}\d[\d /-]{4,12}\d"
)
_DATE = re.compile(r"\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d{2})(?!\d)|\d{4}([./-])\d{2}\2\d{2}(?!\d)")
_MIN_DIGITS = 9


class PersonalData(NamedTuple):
    """How many of each a text holds."""

    urls: int
    emails: int
    phones: int


def count_personal_data(text: str) -> PersonalData:
    """Counts URLs, e-mail addresses and phone numbers; what is within a URL is not counted again.

    A URL has a scheme (http, https, ftp), starts with `www.`, or is a domain with a path. A phone
    number has 7 to 15 digits and is international (`+`, `00`), follows a label (`Tel.`, ☎), or is
    grouped as national numbers are.
    """
    urls = 0
    if "/" in text or "." in text:
        text, urls = _URL.subn(" ", text)
    emails = 0
    if "@" in text:
        text, emails = _EMAIL.subn(" ", text)
    return PersonalData(urls, emails, sum(map(_is_phone, _DIGITS.finditer(text))))


def _is_phone(candidate: re.Match[str]) -> bool:
    number = candidate.group()
    digits = sum(map(str.isdigit, number))
    if number[0] == "+":
        return True
    if _DATE.match(number):
        return False
    start = candidate.start()
    if _LABEL.search(candidate.string, max(0, start - _LABEL_CHARACTERS), start):
        return True
    return digits >= _MIN_DIGITS and _UNLABELLED.fullmatch(number) is not None
