"""The registry of signals: every column that a rule can name.

A signal is measured once, in a column family, and stored; rules compare the stored value. Floating
values are rounded to 1e-4 before they are stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dtype = Literal["int32", "int64", "uint64", "float32", "bool", "string"]
Family = Literal["measure/image", "measure/text", "count/sharing", "count/ngrams", "dedupe/exact"]

ROUND_DECIMALS = 4
"""Floating signals are rounded to this many decimals before they are stored."""


@dataclass(frozen=True)
class Signal:
    """One column of a family.

    Attributes:
        name: `<subject>.<what>`; the name that rules use.
        dtype: Arrow type of the column. A null means that the signal does not apply to the row.
        unit: unit of the value, or what the string is; empty for plain numbers.
        range: closed or half-open interval of possible values, for people.
        family: the column family that stores it.
        version: raised when the values change for the same input.
        meaning: one sentence.
        source: the paper, page or library that the definition comes from.
    """

    name: str
    dtype: Dtype
    unit: str
    range: str
    family: Family
    version: int
    meaning: str
    source: str


def _image(name: str, dtype: Dtype, unit: str, range_: str, meaning: str, source: str) -> Signal:
    return Signal(f"image.{name}", dtype, unit, range_, "measure/image", 1, meaning, source)


def _text(name: str, dtype: Dtype, unit: str, range_: str, meaning: str, source: str) -> Signal:
    return Signal(f"text.{name}", dtype, unit, range_, "measure/text", 1, meaning, source)


_ALIGN = "ALIGN (arXiv 2102.05918), section 3"
_CC = "Conceptual Captions (Sharma et al. 2018), section 3"
_OURS = "ours"

SIGNALS: tuple[Signal, ...] = (
    _image("mime", "string", "media type", "", "Media type by content, never by name.", "Pillow"),
    _image("width", "int32", "px", "[1, …)", "Width as stored, before EXIF rotation.", "Pillow"),
    _image("height", "int32", "px", "[1, …)", "Height as stored, before EXIF rotation.", "Pillow"),
    _image("short_side_px", "int32", "px", "[1, …)", "The smaller of width and height.", _ALIGN),
    _image("aspect_ratio", "float32", "", "[1, …)", "Longer side over shorter side.", _ALIGN),
    _image("megapixels", "float32", "Mpx", "[0, …)", "Width × height / 1e6.", _OURS),
    _image("bytes", "int64", "B", "[0, …)", "Size of the encoded image.", _OURS),
    _image(
        "entropy", "float32", "bit", "[0, 8]", "Shannon entropy of the 256-bin luminance.", _OURS
    ),
    _image(
        "sharpness",
        "float32",
        "",
        "[0, …)",
        "Variance of the Laplacian (3 × 3) of the luminance at full resolution.",
        "Pech-Pacheco et al. 2000",
    ),
    _image("luminance", "float32", "", "[0, 255]", "Mean luminance (ITU-R 601).", _OURS),
    _image("alpha_share", "float32", "", "[0, 1]", "Share of pixels not fully opaque.", _OURS),
    _image("animated", "bool", "", "", "The file holds more than one frame.", "Pillow"),
    _image("exif_orientation", "int32", "", "[1, 8]", "EXIF orientation; 1 where absent.", "EXIF"),
    _image(
        "phash",
        "uint64",
        "bits",
        "",
        "Perceptual DCT hash: imagehash.phash of the full-resolution RGB decode.",
        "imagehash 4.3",
    ),
    _image(
        "dhash",
        "uint64",
        "bits",
        "",
        "Difference hash: imagehash.dhash of the full-resolution RGB decode.",
        "imagehash 4.3",
    ),
    _image(
        "pixel_digest",
        "string",
        "hex",
        "32 digits",
        "blake2b of mode, size and decoded pixels: equal for re-wrapped copies.",
        _OURS,
    ),
    _text(
        "unigrams",
        "int32",
        "words",
        "[0, …)",
        "Words by Unicode segmentation (UAX 29), with ICU's dictionaries for scripts that write "
        "no spaces.",
        _ALIGN,
    ),
    _text("characters", "int32", "code points", "[0, …)", "Length in code points.", _OURS),
    _text("language", "string", "ISO 639", "", "Most likely language.", "fastText lid.176"),
    _text("language_confidence", "float32", "", "[0, 1]", "Confidence of it.", "fastText lid.176"),
    _text("script", "string", "ISO 15924", "", "Most frequent script of the letters.", "UAX 24"),
    _text("script_share", "float32", "", "[0, 1]", "Share of letters in that script.", "UAX 24"),
    _text("mojibake", "bool", "", "", "Decoded with the wrong encoding, as ftfy sees it.", "ftfy"),
    _text(
        "boilerplate",
        "string",
        "kind",
        "",
        "Kind of boilerplate (file_name, size, placeholder, permalink, enlarge, stock); empty "
        "where there is none.",
        _CC,
    ),
    _text("urls", "int32", "", "[0, …)", "URLs in the text.", _OURS),
    _text("emails", "int32", "", "[0, …)", "E-mail addresses in the text.", _OURS),
    _text("phones", "int32", "", "[0, …)", "Phone numbers in the text.", _OURS),
    _text(
        "repetition",
        "float32",
        "",
        "[0, 1]",
        "Share of unigrams that repeat an earlier one of the text.",
        _CC,
    ),
    _text("capital_share", "float32", "", "[0, 1]", "Capitals among cased letters.", _CC),
    Signal(
        "image.alt_texts",
        "int64",
        "texts",
        "[1, …)",
        "count/sharing",
        1,
        "Different primary texts that go with the same media bytes.",
        _ALIGN,
    ),
    Signal(
        "image.copies",
        "int64",
        "rows",
        "[1, …)",
        "count/sharing",
        1,
        "Rows whose media bytes are the same, this one included.",
        _OURS,
    ),
    Signal(
        "text.images",
        "int64",
        "images",
        "[1, …)",
        "count/sharing",
        1,
        "Different media (by bytes) that go with the same primary text.",
        _ALIGN,
    ),
    Signal(
        "text.rarest_ngram_count",
        "int64",
        "occurrences",
        "[1, …)",
        "count/ngrams",
        1,
        "Occurrences in the corpus of the rarest unigram or bigram of the text.",
        _ALIGN,
    ),
    Signal(
        "text.rarest_ngram_rank",
        "int64",
        "rank",
        "[1, …)",
        "count/ngrams",
        1,
        "One more than the number of n-grams that are more frequent than the text's rarest.",
        _ALIGN,
    ),
    Signal(
        "text.ngrams_outside_vocabulary",
        "int32",
        "n-grams",
        "[0, …)",
        "count/ngrams",
        1,
        "Unigrams and bigrams of the text, repetitions included, outside the vocabulary.",
        _ALIGN,
    ),
)

SIGNALS_BY_NAME: dict[str, Signal] = {signal.name: signal for signal in SIGNALS}


def family_signals(family: str) -> tuple[Signal, ...]:
    """Returns the signals of a column family, in column order."""
    return tuple(signal for signal in SIGNALS if signal.family == family)
