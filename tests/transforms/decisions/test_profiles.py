"""The rule lists of the profiles, against the facts that their papers state."""

from __future__ import annotations

import tomllib
from importlib import resources

import pyarrow as pa
import pytest

from schemas.layout import Part
from schemas.signals import SIGNALS_BY_NAME
from transforms.decisions.ledger import check_balance, summarise
from transforms.decisions.passes import decide, ledger_of

PROFILES = ("align-2021", "conceptual-captions", "permissive")
PART = Part("i0", "web", "part-0000000000000000")

GOOD = {
    "image.mime": "image/jpeg",
    "image.short_side_px": 640,
    "image.aspect_ratio": 1.5,
    "image.entropy": 7.2,
    "image.alt_texts": 1,
    "text.language": "en",
    "text.boilerplate": "",
    "text.mojibake": False,
    "text.emails": 0,
    "text.unigrams": 8,
    "text.repetition": 0.0,
    "text.capital_share": 0.1,
    "text.images": 1,
    "text.ngrams_outside_vocabulary": 0,
}


def profile(name):
    path = resources.files("pipelines").joinpath("profiles", f"{name}.toml")
    return tomllib.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def reasons(make_part, make_recipe):
    """Returns a function from a profile and rows to the reasons that the ledger gives them."""

    def decided(name, rows):
        recipe = make_recipe(profile(name)["rules"], dedupe={"edges": []})
        parts = {PART: make_part([GOOD | row for row in rows])}
        ledger = ledger_of(PART, parts[PART], recipe, decide(parts, recipe, pa.array([""]), {}))
        check_balance({"web": len(rows)}, summarise(ledger))
        return ledger["reason"].to_pylist()

    return decided


@pytest.mark.parametrize("name", PROFILES)
def test_every_rule_is_valid_and_says_where_it_comes_from(name, make_recipe):
    values = profile(name)
    assert values["name"] == name
    assert values["title"]
    assert values["description"]
    rules = make_recipe(values["rules"]).select.rules
    assert rules
    assert all(rule.basis for rule in rules)
    # A recipe replaces a profile's rule by signal and reason, and changes one by its reason.
    assert len({(rule.signal, rule.reason) for rule in rules}) == len(rules)
    assert len({rule.reason for rule in rules}) == len(rules)


@pytest.mark.parametrize("name", PROFILES)
def test_a_good_pair_passes_and_so_does_what_no_signal_applies_to(name, reasons):
    no_signals = dict.fromkeys(GOOD) | {"image_status": None}
    assert reasons(name, [{}, no_signals]) == [None, None]


def ratio(width, height):
    longer, shorter = max(width, height), min(width, height)
    return {"image.short_side_px": shorter, "image.aspect_ratio": round(longer / shorter, 4)}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"image.short_side_px": 200}, "image_too_small"),
        ({"image.short_side_px": 201}, None),
        (ratio(600, 201), None),
        (ratio(603, 201), "image_aspect"),
        (ratio(201, 603), "image_aspect"),
        ({"image.alt_texts": 1000}, None),
        ({"image.alt_texts": 1001}, "image_alt_texts"),
        ({"text.ngrams_outside_vocabulary": 1}, "text_rare_ngram"),
        ({"text.unigrams": 2}, "text_too_short"),
        ({"text.unigrams": 3}, None),
        ({"text.unigrams": 20}, None),
        ({"text.unigrams": 21}, "text_too_long"),
    ],
)
def test_bounds_of_align(reasons, row, reason):
    assert reasons("align-2021", [row]) == [reason]


def test_align_drops_all_rows_of_a_text_on_eleven_images_and_none_on_ten(reasons):
    for images, reason in ((10, None), (11, "text_shared")):
        rows = [{"text.images": images, "text.unigrams": 3}] * images
        assert reasons("align-2021", rows) == [reason] * images


def test_align_looks_at_images_before_texts_and_names_one_reason(reasons):
    order = [
        ({"image.short_side_px": 1}, "image_too_small"),
        ({"image.aspect_ratio": 9.0}, "image_aspect"),
        ({"image.alt_texts": 9999}, "image_alt_texts"),
        ({"text.images": 99}, "text_shared"),
        ({"text.ngrams_outside_vocabulary": 2}, "text_rare_ngram"),
        ({"text.unigrams": 1}, "text_too_short"),
    ]
    rows, row = [], {}
    for failing, _ in reversed(order):
        row = row | failing
        rows.append(row)
    assert reasons("align-2021", rows) == [reason for _, reason in reversed(order)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"image.mime": "image/png"}, "image_format"),
        ({"image.short_side_px": 400}, "image_too_small"),
        ({"image.short_side_px": 401}, None),
        ({"image.aspect_ratio": 2.0}, None),
        ({"image.aspect_ratio": 2.0001}, "image_aspect"),
        ({"text.language": "de"}, "text_language"),
        ({"text.boilerplate": "stock"}, "text_boilerplate"),
        ({"text.repetition": 0.3}, None),
        ({"text.repetition": 0.3001}, "text_repetition"),
        ({"text.capital_share": 0.5}, None),
        ({"text.capital_share": 0.5001}, "text_capitals"),
    ],
)
def test_bounds_of_conceptual_captions(reasons, row, reason):
    assert reasons("conceptual-captions", [row]) == [reason]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"image.short_side_px": 64}, None),
        ({"image.short_side_px": 63}, "image_too_small"),
        ({"image.aspect_ratio": 5.0}, None),
        ({"image.aspect_ratio": 5.01}, "image_aspect"),
        ({"image.entropy": 0.25}, None),
        ({"image.entropy": 0.2499}, "image_low_information"),
        ({"text.boilerplate": "file_name"}, "text_boilerplate"),
        ({"text.mojibake": True}, "text_mojibake"),
        ({"text.emails": 1}, "text_personal_data"),
        ({"text.images": 11}, "text_shared"),
        ({"text.unigrams": 2}, None),
        ({"text.unigrams": 1}, "text_too_short"),
        ({"text.unigrams": 256}, None),
        ({"text.unigrams": 257}, "text_too_long"),
        ({"text.repetition": 0.51}, "text_repetition"),
    ],
)
def test_bounds_of_permissive(reasons, row, reason):
    assert reasons("permissive", [row]) == [reason]


def test_every_signal_of_a_profile_has_a_good_value_here():
    named = {rule["signal"] for name in PROFILES for rule in profile(name)["rules"]}
    assert named == set(GOOD)
    assert named <= set(SIGNALS_BY_NAME)
