from __future__ import annotations

import pytest
from pydantic import ValidationError

from schemas.recipe import Recipe, Rule
from schemas.sources import (
    FolderSource,
    Img2DatasetSource,
    TableSource,
    TextPairSource,
    WebDatasetSource,
)

SOURCES = [
    {"type": "table", "name": "web", "path": "web"},
    {"type": "folder", "name": "art", "path": "art"},
]
BASE = {"name": "demo", "sources": SOURCES}


def recipe(**sections):
    return Recipe.model_validate(BASE | sections)


def rule(**fields):
    return Rule.model_validate({"reason": "text_too_short"} | fields)


@pytest.mark.parametrize(
    ("signal", "keep"),
    [
        ("image.width", "> 200"),
        ("image.aspect_ratio", "between 1 and 2"),
        ("image.bytes", "top 10%"),
        ("image.phash", "!= 0"),
        ("image.mime", "in [image/jpeg]"),
        ("text.boilerplate", "is empty"),
        ("text.mojibake", "is false"),
        ("", "sample 25%"),
    ],
)
def test_a_rule_fits_its_signal(signal, keep):
    assert rule(signal=signal, keep=keep).keep == keep


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"signal": "image.mime", "keep": "> 3"}, "does not fit image.mime.*type string"),
        ({"signal": "image.mime", "keep": "top 3%"}, "does not fit"),
        ({"signal": "image.width", "keep": "in [a]"}, "does not fit image.width.*type int32"),
        ({"signal": "image.width", "keep": "is true"}, "does not fit"),
        ({"signal": "image.width", "keep": "is empty"}, "does not fit"),
        ({"signal": "image.animated", "keep": "== 1"}, "does not fit image.animated.*type bool"),
        ({"signal": "image.width", "keep": "sample 3%"}, "does not fit"),
        (
            {"signal": "image.hue", "keep": "> 3"},
            "unknown signal 'image.hue'; known: .*image.width",
        ),
        ({"keep": "> 3"}, "needs a signal"),
        ({"signal": "image.width", "keep": "about 3"}, "is not understood"),
        ({"signal": "image.width", "keep": "> 3", "reason": "ugly"}, "reason"),
        (
            {"signal": "image.width", "keep": "> 3", "reason": "media_unreadable"},
            "is not one of a rule; use one of: .*image_too_small",
        ),
        (
            {"signal": "image.width", "keep": "> 3", "reason": "duplicate_exact"},
            "is not one of a rule",
        ),
        ({"signal": "image.width", "keep": "> 3", "treshold": 3}, "treshold"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        rule(**fields)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"type": "table", "texts": {"alt": "caption", "title": "page"}}, TableSource),
        ({"type": "text_pairs"}, TextPairSource),
        ({"type": "webdataset"}, WebDatasetSource),
        ({"type": "img2dataset"}, Img2DatasetSource),
        ({"type": "folder"}, FolderSource),
    ],
)
def test_a_source_is_told_by_its_type(fields, kind):
    read = recipe(sources=[{"name": "one", "path": "p", **fields}]).source("one")
    assert isinstance(read, kind)
    assert read.path == "p"


def test_an_unknown_source_is_a_key_error():
    with pytest.raises(KeyError):
        recipe().source("elsewhere")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"name": "Demo"}, "'Demo' is not a name"),
        ({"name": ""}, "is not a name"),
        ({"name": "../up"}, "is not a name"),
        ({"name": "a" * 64}, "is not a name"),
        ({"sources": []}, "at least 1"),
        ({"sources": [{"type": "ftp", "name": "x", "path": "x"}]}, "ftp"),
        ({"sources": [{"type": "folder", "name": "a/b", "path": "x"}]}, "'a/b' is not a name"),
        ({"sources": [SOURCES[0], SOURCES[0]]}, "source 'web' is named twice"),
        ({"mixtures": [{"name": "m"}, {"name": "m"}]}, "mixture 'm' is named twice"),
        (
            {"mixtures": [{"weights": {"wbe": 1}}]},
            "'default' weighs the unknown source 'wbe'; sources are web, art",
        ),
        ({"mixtures": [{"weights": {"web": 0, "art": 0}}]}, "every weight is 0"),
        ({"mixtures": [{"weights": {"web": -1}}]}, "greater than or equal to 0"),
        ({"mixtures": [{"weights": {"web": float("inf")}}]}, "finite"),
        (
            {
                "select": {
                    "rules": [{"keep": "sample 5%", "reason": "not_sampled", "sources": ["b"]}]
                }
            },
            "names the unknown source 'b'; sources are web, art",
        ),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"seed": 1 << 63}, "less than"),
        ({"ingest": {"part_rows": 0}}, "greater than or equal to 1"),
        ({"shard": {"train_view": {"short_side": 8}}}, "greater than or equal to 16"),
        ({"dedupe": {"edges": ["looks"]}}, "bytes"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(sections, message):
    with pytest.raises(ValidationError, match=message):
        recipe(**sections)


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        recipe().name = "other"


SHORT = {"signal": "text.unigrams", "keep": ">= 3", "reason": "text_too_short"}


@pytest.mark.parametrize(
    "sections",
    [
        {"ingest": {"part_rows": 7, "part_bytes": 7}},
        {"card": {"title": "Demo"}},
        {"sources": [source | {"path": "/elsewhere"} for source in SOURCES]},
        {"sources": [SOURCES[0] | {"media_root": "/elsewhere"}, SOURCES[1]]},
    ],
)
def test_where_and_how_do_not_change_the_digest(sections):
    assert recipe(**sections).digest() == recipe().digest()


@pytest.mark.parametrize(
    "sections",
    [
        {"name": "other"},
        {"seed": 1},
        {"sources": SOURCES[::-1]},
        {"sources": [SOURCES[0] | {"texts": {"alt": "caption"}}, SOURCES[1]]},
        {"ingest": {"max_text_bytes": 9}},
        {"measure": {"max_pixels": 9}},
        {"count": {"min_ngram_count": 2}},
        {"dedupe": {"prefer": ["text_quality"]}},
        {"select": {"rules": [SHORT]}},
        {"shard": {"samples_per_shard": 9}},
        {"mixtures": [{"weights": {"web": 2}}]},
    ],
)
def test_what_is_in_a_release_changes_the_digest(sections):
    assert recipe(**sections).digest() != recipe().digest()


def test_the_order_of_rules_changes_the_digest_and_survives_a_round_trip():
    other = {"signal": "text.unigrams", "keep": "<= 20", "reason": "text_too_long"}
    forth = recipe(select={"rules": [SHORT, other]})
    back = recipe(select={"rules": [other, SHORT]})
    assert forth.digest() != back.digest()
    again = Recipe.model_validate(forth.model_dump(mode="json"))
    assert again == forth
    assert again.digest() == forth.digest()


def test_the_identity_names_no_place_and_no_part():
    identity = recipe().identity()
    assert not any("path" in source for source in identity["sources"])
    assert not {"part_rows", "part_bytes"} & set(identity["ingest"])
    assert "card" not in identity
