import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.signals.letters import NO_SCRIPT, count_letters

ANY = st.text(st.characters(exclude_categories=[]))


@pytest.mark.parametrize(
    ("text", "script", "share"),
    [
        ("", NO_SCRIPT, 0.0),
        ("123 !? 😀", NO_SCRIPT, 0.0),
        ("Hello, world", "Latn", 1.0),
        ("Привет мир", "Cyrl", 1.0),
        ("Καλημέρα", "Grek", 1.0),
        ("שלום", "Hebr", 1.0),
        ("مرحبا", "Arab", 1.0),
        ("नमस्ते", "Deva", 1.0),
        ("สวัสดี", "Thai", 1.0),
        ("ភាសាខ្មែរ", "Khmr", 1.0),
        ("ພາສາລາວ", "Laoo", 1.0),
        ("한국어", "Hang", 1.0),
        ("中文", "Hani", 1.0),
        ("カタカナー", "Kana", 1.0),
        ("東京タワーの夜景", "Hani", 4 / 7),
        ("Пізанська_вежа._Pisa_tower.JPG", "Cyrl", 13 / 25),
        ("БВГ ABC", "Cyrl", 0.5),
        ("𐐀𐐁", "Dsrt", 1.0),
    ],
)
def test_script_of_a_text(text: str, script: str, share: float) -> None:
    letters = count_letters([text])
    assert letters.scripts == [script]
    assert letters.script_shares[0] == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("123 中文", 0.0),
        ("abc", 0.0),
        ("ABC", 1.0),
        ("Ab", 0.5),
        ("ЖЖжж ÀÉé", 4 / 7),
        ("ǅa", 0.5),
        ("Ⓐa", 0.0),
    ],
)
def test_capitals_of_a_text(text: str, share: float) -> None:
    assert count_letters([text]).capital_shares[0] == pytest.approx(share)


def test_scripts_of_all_cased_letters() -> None:
    # The name of a cased letter begins with its script.
    named = {"LATIN": "Latn", "GREEK": "Grek", "CYRILLIC": "Cyrl", "COPTIC": "Copt",
             "ARMENIAN": "Armn", "GEORGIAN": "Geor", "CHEROKEE": "Cher"}  # fmt: skip
    checked = 0
    for point in range(0x20, sys.maxunicode + 1):
        character = chr(point)
        script = named.get(unicodedata.name(character, "").split(" ")[0])
        if script is None or unicodedata.category(character) not in ("Lu", "Ll"):
            continue
        assert count_letters([character]).scripts == [script], hex(point)
        checked += 1
    assert checked > 2000


@given(st.lists(ANY, max_size=8))
def test_a_batch_is_its_texts(texts: list[str]) -> None:
    batch = count_letters(texts)
    assert batch.characters.tolist() == [len(text) for text in texts]
    for row, text in enumerate(texts):
        single = count_letters([text])
        assert batch.scripts[row] == single.scripts[0]
        assert batch.script_shares[row] == single.script_shares[0]
        assert batch.capital_shares[row] == single.capital_shares[0]
        assert 0 <= single.script_shares[0] <= 1
        assert 0 <= single.capital_shares[0] <= 1


@given(ANY)
def test_order_of_letters_does_not_matter(text: str) -> None:
    forward, backward = count_letters([text]), count_letters([text[::-1]])
    assert forward.scripts == backward.scripts
    assert forward.script_shares[0] == backward.script_shares[0]
