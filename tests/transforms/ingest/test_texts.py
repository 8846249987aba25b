from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from schemas.samples import Kind, MediaRole, RawMedia, RawSample, RawText, TextRole
from transforms.ingest.texts import clean_sample, excerpt, primary_text

ALT, TITLE, QUERY = TextRole.ALT, TextRole.TITLE, TextRole.QUERY
IMAGE = (RawMedia(MediaRole.IMAGE, b"image"),)


def clean(*texts: RawText, roles: tuple[TextRole, ...] = (), most: int = 100, **more) -> RawSample:
    sample = RawSample("l", texts=texts, media=more.pop("media", IMAGE), **more)
    return clean_sample(sample, roles, most)


def test_primary_text_follows_the_order_of_roles_and_skips_blank_texts():
    texts = [
        RawText(TITLE, "a title"),
        RawText(ALT, " \n"),
        RawText(ALT, b"alt"),
        RawText(ALT, "b"),
    ]
    assert primary_text(texts, (ALT, TITLE)) == texts[2]
    assert primary_text(texts, (TITLE, ALT)) == texts[0]
    assert primary_text(texts) == texts[0]
    assert primary_text(texts, (QUERY,)) == texts[0]
    assert primary_text([RawText(ALT, b"\xef\xbb\xbf ")]) is None


def test_clean_texts_are_stripped_primary_first_and_unique_by_role():
    sample = clean(
        RawText(TITLE, "title"),
        RawText(ALT, b"\xef\xbb\xbf a\xc3\xa9\t"),
        RawText(ALT, "aé"),
        RawText(TITLE, "aé"),
        RawText(ALT, "  "),
        roles=(ALT,),
    )
    assert [(text.role, text.text) for text in sample.texts] == [
        (ALT, "aé"),
        (TITLE, "title"),
        (TITLE, "aé"),
    ]
    assert sample.reason is None
    assert sample.error == ""
    assert sample.media == IMAGE


@pytest.mark.parametrize(
    ("text", "reason", "told"),
    [
        (b"caf\xe9", Reason.TEXT_UNDECODABLE, "not UTF-8 at byte 3"),
        (b"a\0b", Reason.TEXT_UNDECODABLE, "NUL"),
        ("a\0b", Reason.TEXT_UNDECODABLE, "NUL"),
        ("lone \ud83d", Reason.TEXT_UNDECODABLE, "not UTF-8"),
        (b"\xff\xfea\0b\0", Reason.TEXT_UNDECODABLE, "not UTF-8"),
        ("x" * 101, Reason.TEXT_TOO_LARGE, "more than 100 bytes"),
        ("é" * 51, Reason.TEXT_TOO_LARGE, "more than 100 bytes"),
        (b"\xff" * 101, Reason.TEXT_TOO_LARGE, "more than 100 bytes"),
        ("", Reason.TEXT_MISSING, "no text"),
        (" \u2003\n", Reason.TEXT_MISSING, "no text"),
    ],
)
def test_a_primary_text_at_fault_refuses_the_sample(text, reason, told):
    sample = clean(
        RawText(ALT, text),
        RawText(TITLE, "fine") if reason != "text_missing" else RawText(TITLE, " "),
    )
    assert sample.reason is reason
    assert told in sample.error
    assert sample.media == ()
    if reason is not Reason.TEXT_MISSING:
        assert isinstance(sample.texts[0].text, bytes)
        assert [one.text for one in sample.texts[1:]] == ["fine"]


def test_the_limit_is_inclusive():
    assert clean(RawText(ALT, "x" * 100)).reason is None


def test_other_texts_at_fault_are_left_out_and_noted():
    sample = clean(RawText(ALT, "fine"), RawText(TITLE, b"\xff"))
    assert sample.reason is None
    assert [text.text for text in sample.texts] == ["fine"]
    assert sample.error.startswith("title left out: not UTF-8 at byte 0")


def test_precedence_of_reasons():
    bad = RawText(ALT, b"\xff" * 101)
    found = clean(bad, media=(), reason=Reason.FETCH_FAILED_DNS, error="dns")
    assert (found.reason, found.error) == (Reason.FETCH_FAILED_DNS, "dns")
    assert clean(bad, media=()).reason is Reason.MEDIA_MISSING
    assert clean(media=()).reason is Reason.MEDIA_MISSING
    assert clean(bad).reason is Reason.TEXT_TOO_LARGE
    assert clean(RawText(ALT, b"\xff")).reason is Reason.TEXT_UNDECODABLE
    assert clean().reason is Reason.TEXT_MISSING


def test_a_text_pair_needs_query_and_passage_but_no_media():
    roles = (QUERY, TextRole.PASSAGE)
    query, passage = RawText(QUERY, "q"), RawText(TextRole.PASSAGE, b"p")
    pair = clean(passage, query, roles=roles, kind=Kind.TEXT_PAIR, media=())
    assert (pair.reason, [text.text for text in pair.texts]) == (None, ["q", "p"])
    for text, error in ((query, "no passage"), (passage, "no query")):
        half = clean(text, roles=roles, kind=Kind.TEXT_PAIR, media=())
        assert (half.reason, half.error) == (Reason.TEXT_MISSING, error)
    bad = RawText(TextRole.PASSAGE, b"\xff")
    refused = clean(query, bad, roles=roles, kind=Kind.TEXT_PAIR, media=())
    assert refused.reason is Reason.TEXT_UNDECODABLE
    assert refused.error.startswith("passage: ")


def test_licence_of_the_source_is_for_samples_without_one():
    stated = RawSample("l", texts=(RawText(ALT, "a"),), media=IMAGE, licence="CC0")
    assert clean_sample(stated, (), 10, "CC-BY").licence == "CC0"
    unstated = RawSample("l", texts=(RawText(ALT, "a"),), media=IMAGE)
    assert clean_sample(unstated, (), 10, "CC-BY").licence == "CC-BY"


def test_locators_can_be_stored():
    assert clean(RawText(ALT, "a")).locator == "l"
    odd = RawSample("x\udcff", texts=(RawText(ALT, "a"),), media=IMAGE)
    assert clean_sample(odd, (), 10).locator == "x\\udcff"


@given(st.lists(st.tuples(st.sampled_from([ALT, TITLE]), st.binary() | st.text())))
def test_whatever_comes_in_what_is_kept_can_be_stored(texts):
    sample = clean(*(RawText(role, text) for role, text in texts), roles=(ALT, TITLE), most=20)
    stored = [text.text for text in sample.texts if isinstance(text.text, str)]
    for text in stored:
        assert text == text.strip() != ""
        assert "\0" not in text
        assert len(text.encode()) <= 20
    assert (sample.reason is None) == (bool(sample.texts) and isinstance(sample.texts[0].text, str))
    sample.error.encode()
    again = clean(*sample.texts, roles=(ALT, TITLE), most=20)
    assert again.texts == sample.texts


def test_excerpts_are_short_and_show_bytes_that_are_not_utf8():
    assert excerpt(b"caf\xe9") == "caf\\xe9"
    assert len(excerpt(b"\xff" * 10_000)) == 500
    assert excerpt("x" * 10_000) == "x" * 500
