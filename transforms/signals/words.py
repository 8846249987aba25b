"""Words: the unigrams and bigrams of a text, in every script.

ALIGN (arXiv 2102.05918, section 3) filters by unigrams and bigrams without saying what a unigram
is. Here it is a word of Unicode text segmentation (UAX 29) as ICU finds it, with ICU's dictionaries
for Chinese, Japanese, Thai, Khmer, Lao and Burmese, which write no spaces. Reasons and figures:
`docs/decisions/0002-word-segmentation.md`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import regex
from icu4py.breakers import WordBreaker
from icu4py.locale import Locale

_ROOT = Locale("und")
_LETTER_OR_NUMBER = regex.compile(r"[\p{L}\p{Nd}\p{Nl}]")

# The rules of UAX 29 that can apply within ASCII: WB5 and WB8 to WB10 (runs of letters and digits),
# WB13a and WB13b (`_` joins), WB6 and WB7 (`.:'` between letters), WB11 and WB12 (`.,;'` between
# digits).
_ASCII_WORD = re.compile(
    r"\w+(?:(?:(?<=[a-z])[.:'](?=[a-z])|(?<=[0-9])[.,;'](?=[0-9]))\w+)*", re.ASCII
)


def unigrams(text: str) -> list[str]:
    """Returns the words of a text in order, case-folded and in Unicode form NFC.

    A word is a segment that holds a letter or a number (categories L, Nd, Nl): punctuation, white
    space, symbols and emoji are none. By UAX 29 an apostrophe or full stop between letters and an
    underscore anywhere join (`don't`, `3.14`, `great_wall.jpg` are one word each); a hyphen
    separates. Any `str` is accepted; lone surrogates count as U+FFFD.
    """
    if text.isascii():
        return _ascii_words(text.lower())
    return _icu_words(unicodedata.normalize("NFC", replace_surrogates(text).casefold()))


def ngrams(words: Sequence[str]) -> list[str]:
    """Returns the unigrams, then the bigrams (two words and a space between), repeats included."""
    return [*words, *map(" ".join, pairwise(words))]


def replace_surrogates(text: str) -> str:
    """Returns the text with surrogate pairs joined and lone surrogates replaced by U+FFFD.

    Libraries that take UTF-8 refuse a `str` with surrogates; JSON escapes can smuggle them in.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _ascii_words(text: str) -> list[str]:
    """Does what `_icu_words` does to lower-case ASCII text, several times faster."""
    words: list[str] = _ASCII_WORD.findall(text)
    return [word for word in words if word.strip("_")] if "_" in text else words


def _icu_words(text: str) -> list[str]:
    return [
        segment
        for segment in WordBreaker(text, _ROOT)
        # Most segments are spaces or plain letters, which need no look at categories.
        if segment.isalpha() or (segment != " " and _LETTER_OR_NUMBER.search(segment))
    ]
