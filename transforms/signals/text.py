"""The signals of texts, as one record batch: column family `measure/text`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from ftfy.badness import is_bad

from schemas.signals import ROUND_DECIMALS
from schemas.tables import family_schema
from transforms.signals.boilerplate import boilerplate_kind
from transforms.signals.language import detect_languages
from transforms.signals.letters import count_letters
from transforms.signals.personal_data import count_personal_data
from transforms.signals.words import unigrams

FAMILY = "measure/text"

TEXT_SIGNALS = pa.schema([field for field in family_schema(FAMILY) if field.name != "sample_id"])
"""Columns of `measure_texts`."""


def measure_texts(texts: Sequence[str | None]) -> pa.RecordBatch:
    """Returns the signals of texts, one row each; all null where the text is None.

    The values of a text depend on nothing but the text. Time is linear in its length. Any `str` is
    accepted, lone surrogates included.
    """
    present = [text for text in texts if text is not None]
    words = [unigrams(text) for text in present]
    letters = count_letters(present)
    languages, confidences = detect_languages(present)
    personal = [count_personal_data(text) for text in present]
    columns = {
        "text.unigrams": [len(row) for row in words],
        "text.characters": letters.characters,
        "text.language": languages,
        "text.language_confidence": _rounded(confidences),
        "text.script": letters.scripts,
        "text.script_share": _rounded(letters.script_shares),
        "text.mojibake": [is_mojibake(text) for text in present],
        "text.boilerplate": [boilerplate_kind(text) for text in present],
        "text.urls": [row.urls for row in personal],
        "text.emails": [row.emails for row in personal],
        "text.phones": [row.phones for row in personal],
        "text.repetition": _rounded([repetition(row) for row in words]),
        "text.capital_share": _rounded(letters.capital_shares),
    }
    batch = pa.RecordBatch.from_arrays(
        [pa.array(columns[field.name], field.type) for field in TEXT_SIGNALS], schema=TEXT_SIGNALS
    )
    if len(present) == len(texts):
        return batch
    rows = iter(range(len(present)))
    return batch.take(
        pa.array([None if text is None else next(rows) for text in texts], pa.int64())
    )


def is_mojibake(text: str) -> bool:
    """Says whether ftfy finds character sequences that a wrong encoding makes (`cafÃ©`)."""
    # Each of ftfy's patterns needs a character outside ASCII.
    return not text.isascii() and is_bad(text)


def repetition(words: Sequence[str]) -> float:
    """Returns the share of words that repeat an earlier one, in [0, 1); 0 where there are none."""
    return 1.0 - len(set(words)) / len(words) if words else 0.0


def _rounded(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    rounded: npt.NDArray[np.float64] = np.asarray(values, dtype=np.float64).round(ROUND_DECIMALS)
    return rounded
