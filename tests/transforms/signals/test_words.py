import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icu4py.breakers import WordBreaker

from transforms.signals.words import ngrams, replace_surrogates, unigrams

ASCII = st.text(st.characters(max_codepoint=127))
# Dense in the characters whose rules differ.
ASCII_JOINS = st.text(st.sampled_from("abZ09_.,:;'\"-@ \n"), max_size=30)
# What this Python knows: ICU and regex may know a newer Unicode.
ASSIGNED = st.text(st.characters(exclude_categories=["Cs", "Cn"]))
SPACED = st.text(st.sampled_from("abßéЖя中日本ไทย0٣ -,.\n"), max_size=30)


def icu(text: str) -> list[str]:
    """Words as ICU alone finds them."""
    folded = unicodedata.normalize("NFC", text.casefold())
    return [
        segment
        for segment in WordBreaker(folded, "und")
        if any(
            unicodedata.category(c)[0] == "L" or unicodedata.category(c) in ("Nd", "Nl")
            for c in segment
        )
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \t\n...!?—", []),
        ("A man in a blue shirt.", ["a", "man", "in", "a", "blue", "shirt"]),
        ("it's 3.14 or 1,000", ["it's", "3.14", "or", "1,000"]),
        ("e-mail", ["e", "mail"]),
        ("Great_Wall_of_China.JPG", ["great_wall_of_china.jpg"]),
        ("__ _a_ ___", ["_a_"]),
        ("1920x1080", ["1920x1080"]),
        ("alt_img", ["alt_img"]),
        ("L’humanité – l'été", ["l’humanité", "l'été"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("ΟΔΟΣ οδός", ["οδοσ", "οδόσ"]),
        ("cafe\u0301 café", ["café", "café"]),
        ("100 m² ½ ① 😀 ™ Ⅷ", ["100", "m", "ⅷ"]),
        ("我喜欢吃苹果。", ["我", "喜欢", "吃", "苹果"]),
        ("東京都に住んでいます", ["東京", "都", "に", "住", "んで", "い", "ます"]),
        ("สวัสดีชาวโลก", ["สวัสดี", "ชาว", "โลก"]),
        ("ខ្ញុំស្រឡាញ់អ្នក", ["ខ្ញុំ", "ស្រឡាញ់", "អ្នក"]),
        ("ຂ້ອຍຮັກເຈົ້າ", ["ຂ້ອຍ", "ຮັກ", "ເຈົ້າ"]),
        ("한국어 띄어쓰기", ["한국어", "띄어쓰기"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("𠮷野家", ["𠮷", "野家"]),
        ("a\x00b", ["a", "b"]),
        ("a\ud800b", ["a", "b"]),
        ("\ud842\udfb7野家", ["𠮷", "野家"]),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert unigrams(text) == words


@given(ASCII | ASCII_JOINS)
def test_ascii_takes_a_shorter_way_to_the_same_words(text: str) -> None:
    assert unigrams(text) == icu(text)


@given(ASSIGNED | SPACED)
def test_words_are_those_of_icu(text: str) -> None:
    assert unigrams(text) == icu(text)


@given(ASCII | ASCII_JOINS)
def test_joined_words_are_the_same_words(text: str) -> None:
    words = unigrams(text)
    assert unigrams(" ".join(words)) == words


@given(SPACED, SPACED)
def test_a_line_end_separates(first: str, second: str) -> None:
    assert unigrams(f"{first}\n{second}") == unigrams(first) + unigrams(second)


@given(st.text(st.characters(exclude_categories=[])))
def test_any_string_has_words(text: str) -> None:
    for word in unigrams(text):
        assert word
        assert word == unicodedata.normalize("NFC", word.casefold())


@given(st.text())
def test_case_and_composition_do_not_matter(text: str) -> None:
    assert unigrams(unicodedata.normalize("NFD", text)) == unigrams(text)
    assert unigrams(text.casefold()) == unigrams(text)


def test_bigrams_follow_unigrams() -> None:
    assert ngrams(["a", "b", "a", "b"]) == ["a", "b", "a", "b", "a b", "b a", "a b"]
    assert ngrams(["a"]) == ["a"]
    assert ngrams([]) == []


@given(st.text(st.characters(exclude_categories=[])))
def test_replaced_surrogates_are_utf8(text: str) -> None:
    replaced = replace_surrogates(text)
    replaced.encode()
    if not any("\ud800" <= c <= "\udfff" for c in text):
        assert replaced == text


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "_" * 1_000_000, "a." * 500_000, "ก" * 1_000_000, "的" * 1_000_000,
             "a\u0301" * 500_000, "a_'" * 330_000]
)  # fmt: skip
def test_a_megabyte_takes_no_time(text: str) -> None:
    start = time.process_time()
    unigrams(text)
    assert time.process_time() - start < 5
