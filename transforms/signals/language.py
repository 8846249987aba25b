"""The language of a text, as fastText's lid.176 sees it.

The compressed model (`data/lid.176.ftz`, 0.9 MB, 176 languages) travels with the package. Authors,
source and licence of the model: `data/lid.176.LICENSE`. It was trained on sentences: on captions of
two or three words its confidence is low, and says so.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import numpy.typing as npt

from transforms.signals.words import replace_surrogates

UNDETERMINED = "und"
"""Code (ISO 639-2) of a text without letters, which is in no language."""

_MODEL = Path(__file__).with_name("data") / "lid.176.ftz"
_LABEL_PREFIX = "__label__"
# Wikipedia's code for Alemannic, which ISO 639-3 gives to Tosk Albanian.
_ISO_CODES = {"als": "gsw"}

_lock = threading.Lock()


def detect_languages(texts: Sequence[str]) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Returns the most likely language of each text, and the model's confidence in it.

    Args:
        texts: any `str`; line ends count as spaces.

    Returns:
        ISO 639 codes (two letters where there are two, else three; `und` and 0 for a text without
        letters), and probabilities, float32 (N,), in [0, 1].
    """
    model = _model()
    codes: list[str] = []
    confidences = np.zeros(len(texts), dtype=np.float32)
    for row, text in enumerate(texts):
        # Without letters the model would answer with the commonest language of its training.
        if not any(map(str.isalpha, text)):
            codes.append(UNDETERMINED)
            continue
        labels, probabilities = model.predict(replace_surrogates(text).replace("\n", " "))
        code = labels[0].removeprefix(_LABEL_PREFIX)
        codes.append(_ISO_CODES.get(code, code))
        # Rounding errors of the softmax reach a few millionths above 1.
        confidences[row] = min(probabilities[0], 1.0)
    return codes, confidences


def _model() -> Any:
    """Returns the model, loaded once per process."""
    with _lock:
        return _load()


@cache
def _load() -> Any:
    return fasttext.load_model(str(_MODEL))
