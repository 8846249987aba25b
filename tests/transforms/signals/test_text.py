import json
from pathlib import Path

import pyarrow as pa
import pytest
from ftfy.badness import is_bad
from hypothesis import given
from hypothesis import strategies as st

from schemas.signals import family_signals
from transforms.signals.text import TEXT_SIGNALS, is_mojibake, measure_texts, repetition

DEMO = Path(__file__).parents[3] / "examples" / "demo"
ANY = st.text(st.characters(exclude_categories=[]))


def measure(text: str) -> dict[str, object]:
    row: dict[str, object] = measure_texts([text]).to_pylist()[0]
    return {name.removeprefix("text."): value for name, value in row.items()}


def test_signals_are_those_of_the_registry_in_its_order() -> None:
    assert TEXT_SIGNALS.names == [signal.name for signal in family_signals("measure/text")]
    assert measure_texts(["a"]).schema == TEXT_SIGNALS


def test_a_caption_is_measured() -> None:
    assert measure("A Man in a blue shirt is cleaning a window, www.example.org") == {
        "unigrams": 11,
        "characters": 59,
        "language": "en",
        "language_confidence": pytest.approx(0.9, abs=0.1),
        "script": "Latn",
        "script_share": 1.0,
        "mojibake": False,
        "boilerplate": "",
        "urls": 1,
        "emails": 0,
        "phones": 0,
        "repetition": pytest.approx(2 / 11, abs=1e-4),
        "capital_share": pytest.approx(2 / 46, abs=1e-4),
    }


def test_an_empty_text_is_measured() -> None:
    assert measure("") == {
        "unigrams": 0,
        "characters": 0,
        "language": "und",
        "language_confidence": 0.0,
        "script": "Zyyy",
        "script_share": 0.0,
        "mojibake": False,
        "boilerplate": "",
        "urls": 0,
        "emails": 0,
        "phones": 0,
        "repetition": 0.0,
        "capital_share": 0.0,
    }


@pytest.mark.parametrize(
    ("text", "unigrams"),
    [("two words", 2), ("now three words", 3), ("w " * 20, 20), ("w " * 21, 21)],
)
def test_unigrams_at_the_bounds_of_align(text: str, unigrams: int) -> None:
    assert measure(text)["unigrams"] == unigrams


@pytest.mark.parametrize("text", ["CafÃ© de Paris", "â€œquotedâ€\x9d", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚ Ð¼Ð¸Ñ€"])
def test_mojibake(text: str) -> None:
    assert is_mojibake(text)


@pytest.mark.parametrize(
    "text", ["Café de Paris", "“quoted”", "привет мир", "東京", "Ångström", "x²"]
)
def test_no_mojibake(text: str) -> None:
    assert not is_mojibake(text)


@given(st.text(st.characters(max_codepoint=127)))
def test_ftfy_finds_no_mojibake_in_ascii(text: str) -> None:
    assert not is_bad(text)


def test_repetition() -> None:
    assert repetition([]) == 0.0
    assert repetition(["a", "b"]) == 0.0
    assert repetition(["a", "a", "a", "b"]) == 0.5
    assert measure("Spam spam SPAM eggs")["repetition"] == 0.5


def test_null_texts_have_null_signals() -> None:
    batch = measure_texts([None, "a cat", None])
    assert batch.schema == TEXT_SIGNALS
    for column in batch.columns:
        assert [value.is_valid for value in column] == [False, True, False]
    assert batch.slice(1, 1).to_pylist() == measure_texts(["a cat"]).to_pylist()
    assert measure_texts([None])["text.urls"].to_pylist() == [None]
    assert measure_texts([]).num_rows == 0


def test_demo_captions_measure_alike_in_any_batch() -> None:
    lines = (DEMO / "manifest.jsonl").read_text("utf-8").splitlines()
    texts = [json.loads(line).get("title") for line in lines]
    whole = measure_texts(texts)
    parts = [measure_texts(texts[row : row + 37]) for row in range(0, len(texts), 37)]
    assert pa.Table.from_batches(parts).combine_chunks().to_batches() == [whole]
    backwards = measure_texts(texts[::-1])
    assert backwards.to_pylist()[::-1] == whole.to_pylist()


@given(st.lists(ANY | st.none(), max_size=5))
def test_any_strings_can_be_measured(texts: list[str | None]) -> None:
    batch = measure_texts(texts)
    batch.validate(full=True)
    assert batch.num_rows == len(texts)
    for name in ("language_confidence", "script_share", "repetition", "capital_share"):
        assert all(
            0 <= value <= 1 for value in batch[f"text.{name}"].to_pylist() if value is not None
        )


def test_a_megabyte_is_measured() -> None:
    signals = measure("w" * 1_000_000)
    assert (signals["characters"], signals["unigrams"]) == (1_000_000, 1)
