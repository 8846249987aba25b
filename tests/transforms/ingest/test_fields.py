from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from schemas.digests import canonical_json
from schemas.samples import RawText, TextRole
from transforms.ingest.fields import MAX_META_BYTES, plain_meta, printable, read_record, recognise

ALT, TITLE, CONTEXT, KEYWORD = TextRole.ALT, TextRole.TITLE, TextRole.CONTEXT, TextRole.KEYWORD


def test_names_are_recognised_whatever_their_case():
    fields = recognise(["URL", "TEXT", "Title", "License", "author", "LANGUAGE", "tags", ""])
    assert fields.texts == ((ALT, ("TEXT",)), (TITLE, ("Title",)), (KEYWORD, ("tags",)))
    assert fields.licence == ("License",)
    assert fields.attribution == ("author",)
    assert fields.language == ("LANGUAGE",)
    assert fields.meta == ("URL", "LANGUAGE")


def test_named_texts_leave_the_others_to_meta():
    fields = recognise(["caption", "text", "id"], ((ALT, ("text",)),), known={"id"})
    assert fields.texts == ((ALT, ("text",)),)
    assert fields.meta == ("caption",)


def test_a_record_gives_texts_licence_attribution_and_meta():
    record = {
        "caption": " ",
        "text": b"a cat",
        "title": "Cats",
        "description": "about cats",
        "keywords": ["cat", "", None, "pet"],
        "license": "CC0",
        "credit": b"Ann",
        "language": "en-GB",
        "width": 3,
        "nsfw": False,
    }
    read = read_record(record, recognise(record))
    assert read.texts == (
        RawText(ALT, b"a cat", "en-GB"),
        RawText(TITLE, "Cats", "en-GB"),
        RawText(CONTEXT, "about cats", "en-GB"),
        RawText(KEYWORD, "cat", "en-GB"),
        RawText(KEYWORD, "pet", "en-GB"),
    )
    assert (read.licence, read.attribution) == ("CC0", "Ann")
    assert read.meta == {"language": "en-GB", "width": 3, "nsfw": False}


def test_a_language_is_a_tag_or_nothing():
    record = {"text": "a", "language": "probably english?"}
    assert read_record(record, recognise(record)).texts == (RawText(ALT, "a"),)


def test_numbers_can_be_texts_but_flags_and_objects_cannot():
    for value, texts in ((7, ["7"]), (1.5, ["1.5"]), (True, []), ({"en": "x"}, []), (None, [])):
        record = {"text": value}
        assert [text.text for text in read_record(record, recognise(record)).texts] == texts


def test_meta_keeps_small_scalars_only():
    values = {
        "long": "x" * (MAX_META_BYTES + 1),
        "just": "x" * MAX_META_BYTES,
        "bytes": b"caf\xc3\xa9",
        "latin": b"caf\xe9",
        "nul": "a\0b",
        "empty": "",
        "none": None,
        "nan": math.nan,
        "inf": math.inf,
        "big": 1 << 70,
        "list": [1],
        "surrogate": "\ud800",
        "true": True,
    }
    assert plain_meta(values) == {"just": values["just"], "bytes": "café", "true": True}


@given(
    st.dictionaries(
        st.text(st.characters(codec=None)),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.binary()
        | st.text(st.characters(codec=None)),
    )
)
def test_meta_is_always_canonical_json(values):
    text = canonical_json(plain_meta(values))
    assert json.loads(text.encode()) or not plain_meta(values)


def test_printable():
    assert printable("é") == "é"
    assert printable("a\udcff\ud83d") == "a\\udcff\\ud83d"
