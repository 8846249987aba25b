"""Letters: script and capitals of many texts at once.

Scripts are those of Unicode (UAX 24), named by ISO 15924. The standard library does not know them;
`regex` does, and is asked once for each code point that ever occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import regex

NO_SCRIPT = "Zyyy"
"""ISO 15924 code ("undetermined") of a text none of whose letters has a script of its own."""

# Every script of Unicode 17 in ISO 15924 order, which is how ties are broken. Common and Inherited
# (Zyyy, Zinh) are no scripts of their own.
_SCRIPTS = (Path(__file__).with_name("data") / "scripts.txt").read_text(encoding="ascii").split()

_SCRIPT_OF = regex.compile("|".join(rf"(?P<{code}>\p{{sc={code}}})" for code in _SCRIPTS))
_UNSEEN, _NO_LETTER, _FIRST_SCRIPT = 0, 1, 2
_CASELESS, _SMALL, _CAPITAL = 0, 1, 2

# What is known of each code point, filled as they occur. A code point's case is written before its
# script, which is what says that it is known: threads that race write the same values.
_script = np.zeros(0x110000, dtype=np.uint8)
_case = np.zeros(0x110000, dtype=np.uint8)


class Letters(NamedTuple):
    """Letters of N texts.

    Attributes:
        characters: length in code points, int32 (N,).
        scripts: ISO 15924 code of the most frequent script of each text's letters; `Zyyy` where no
            letter has one. Japanese is counted as its parts (Hani, Hira, Kana).
        script_shares: share of the letters in that script, among those that have one; 0 where none
            has, float64 (N,) in [0, 1].
        capital_shares: share of capitals (title case included) among the letters that have case; 0
            where none has, float64 (N,) in [0, 1].
    """

    characters: npt.NDArray[np.int32]
    scripts: list[str]
    script_shares: npt.NDArray[np.float64]
    capital_shares: npt.NDArray[np.float64]


def count_letters(texts: Sequence[str]) -> Letters:
    """Returns scripts and capitals of N texts; any `str` is accepted, an empty one too."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    rows = np.repeat(np.arange(len(texts)), lengths)

    scripts = _script[points]
    if not scripts.all():
        _learn(np.unique(points[scripts == _UNSEEN]))
        scripts = _script[points]
    lettered = scripts >= _FIRST_SCRIPT
    cells = rows[lettered] * len(_SCRIPTS) + (scripts[lettered] - _FIRST_SCRIPT)
    counts = np.bincount(cells, minlength=len(texts) * len(_SCRIPTS))
    counts = counts.reshape(len(texts), len(_SCRIPTS))
    main = counts.argmax(axis=1)
    most = counts[np.arange(len(texts)), main]

    case = _case[points]
    capitals = np.bincount(rows[case == _CAPITAL], minlength=len(texts))
    cased = np.bincount(rows[case != _CASELESS], minlength=len(texts))
    return Letters(
        characters=lengths.astype(np.int32),
        scripts=[_SCRIPTS[i] if n else NO_SCRIPT for i, n in zip(main, most, strict=True)],
        script_shares=_share(most, counts.sum(axis=1)),
        capital_shares=_share(capitals, cased),
    )


def _learn(points: npt.NDArray[np.uint32]) -> None:
    """Looks up code points that have not occurred before."""
    letters = [chr(point) for point in points]
    _case[points] = [_case_of(letter) for letter in letters]
    _script[points] = [_script_of(letter) for letter in letters]


def _case_of(letter: str) -> int:
    if not letter.isalpha():
        return _CASELESS
    if letter.isupper() or letter.istitle():
        return _CAPITAL
    return _SMALL if letter.islower() else _CASELESS


def _script_of(letter: str) -> int:
    match = _SCRIPT_OF.match(letter) if letter.isalpha() else None
    if match is None or match.lastindex is None:
        return _NO_LETTER
    return _FIRST_SCRIPT + match.lastindex - 1


def _share(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns part / whole, and 0 where the whole is 0."""
    return part / np.maximum(whole, 1)
