from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.layout import Part
from transforms.decisions.ledger import check_balance, summarise
from transforms.decisions.passes import decide, ledger_of

RULES = [
    {"signal": "image.width", "keep": "> 2", "reason": "image_too_small"},
    {"signal": "image.sharpness", "keep": "top 60%", "reason": "image_blurred"},
    {"signal": "text.unigrams", "keep": ">= 2", "reason": "text_too_short"},
    {"keep": "sample 80%", "reason": "not_sampled"},
    {"signal": "image.width", "keep": "bottom 70%", "reason": "image_too_small"},
]
NOTHING = pa.array([], pa.string())

rows_of_a_corpus = st.lists(
    st.fixed_dictionaries(
        {
            "sample_id": st.integers(0, 25).map(lambda number: f"{number:032x}"),
            "status": st.sampled_from(["ok"] * 9 + ["text_missing"]),
            "image_status": st.sampled_from(["ok"] * 9 + ["media_unreadable", None]),
            "cluster_id": st.sampled_from([None, "p", "q"]),
            "image.width": st.integers(1, 6) | st.none(),
            "image.height": st.just(4),
            "image.sharpness": st.integers(0, 4).map(lambda tenths: tenths / 10),
            "text.unigrams": st.integers(1, 4),
        }
    ),
    min_size=1,
    max_size=40,
)


def part_named(number):
    return Part("i0", "web", f"part-{number:016x}")


def fates(make_part, recipe, rows, part_of, order):
    """Decides the rows, cut into parts, and returns what the ledgers say of each."""
    parts = {}
    for number in order:
        table = make_part([row for row, part in zip(rows, part_of, strict=True) if part == number])
        if table.num_rows:
            parts[part_named(number)] = table
    decisions = decide(parts, recipe, pa.array([f"{3:032x}"]), {})
    ledgers = {part: ledger_of(part, table, recipe, decisions) for part, table in parts.items()}
    counts = sum((summarise(ledger) for ledger in ledgers.values()), Counter())
    check_balance({"web": len(rows)}, counts)
    told = {}
    for part, table in parts.items():
        ledger = ledgers[part].drop_columns(["part", "row"]).to_pylist()
        told |= dict(zip(table["row_digest"].to_pylist(), ledger, strict=True))
    return told, decisions.keepers.to_pylist(), decisions.cuts


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_neither_part_size_nor_order_changes_a_decision(make_part, make_recipe, data):
    rows = data.draw(rows_of_a_corpus)
    # Different digests: else which of two repeats stays would rest on the part, by definition.
    rows = [row | {"row_digest": f"{at:032x}"} for at, row in enumerate(rows)]
    recipe = make_recipe(RULES, dedupe={"prefer": ["resolution"]})
    whole = fates(make_part, recipe, rows, [0] * len(rows), [0])

    shuffled = data.draw(st.permutations(rows))
    part_of = data.draw(st.lists(st.integers(0, 4), min_size=len(rows), max_size=len(rows)))
    order = data.draw(st.permutations(range(5)))
    assert fates(make_part, recipe, shuffled, part_of, order) == whole


def test_repeats_stay_once_across_parts_and_a_failed_one_displaces_none(make_part, make_recipe):
    same = {"sample_id": "a" * 32}
    parts = {
        part_named(0): make_part([same | {"row_digest": "3"}]),
        part_named(1): make_part([same | {"row_digest": "2"}, {"row_digest": "9"}]),
        part_named(2): make_part([same | {"row_digest": "1", "status": "fetch_failed_dns"}]),
    }
    recipe = make_recipe(dedupe={"edges": []})
    decisions = decide(parts, recipe, NOTHING, {})
    reasons = [
        ledger_of(part, table, recipe, decisions)["reason"].to_pylist()
        for part, table in parts.items()
    ]
    assert reasons == [["duplicate_row"], [None, None], ["fetch_failed_dns"]]


def test_an_earlier_intake_keeps_what_it_has_put_into_shards(make_part, make_recipe):
    same = {"sample_id": "b" * 32}
    large = {"image.width": 900, "image.height": 900, "cluster_id": "p"}
    small = {"image.width": 100, "image.height": 100, "cluster_id": "p"}
    parts = {
        part_named(0): make_part([same | {"row_digest": "1"}, large]),
        part_named(1): make_part([same | {"row_digest": "2"}, small | {"sample_id": "c" * 32}]),
    }
    recipe = make_recipe(dedupe={"prefer": ["resolution"]})
    kept_earlier = {part_named(1): np.array([True, True])}
    later, earlier = (
        ledger_of(part, table, recipe, decide(parts, recipe, NOTHING, kept_earlier)).to_pylist()
        for part, table in parts.items()
    )
    assert [row["reason"] for row in later] == ["duplicate_row", "duplicate_exact"]
    assert [row["decision"] for row in earlier] == ["kept", "kept"]
    assert later[1]["keeper_id"] == "c" * 32


def test_frozen_cuts_decide_later_rows(make_part, make_recipe):
    recipe = make_recipe([RULES[1]], dedupe={"edges": []})
    first = {part_named(0): make_part([{"image.sharpness": n / 10} for n in range(10)])}
    (cut,) = decide(first, recipe, NOTHING, {}).cuts
    assert (cut.value, cut.kept) == (0.4, 6)
    later = {part_named(1): make_part([{"image.sharpness": 0.39}, {"image.sharpness": 0.9}])}
    decisions = decide(later, recipe, NOTHING, {}, [cut])
    assert decisions.cuts == (cut,)
    assert decisions.verdicts[part_named(1)].tolist() == [0, -1]


def test_duplicates_stay_where_they_are_turned_off(make_part, make_recipe):
    parts = {part_named(0): make_part([{"cluster_id": "p"}, {"cluster_id": "p"}])}
    decisions = decide(parts, make_recipe(dedupe={"edges": []}), NOTHING, {})
    assert decisions.verdicts[part_named(0)].tolist() == [-1, -1]


def test_a_keeper_is_chosen_among_survivors_only(make_part, make_recipe):
    rows = [
        {"cluster_id": "p", "image.width": 9, "image.height": 9, "text.unigrams": 1},
        {"cluster_id": "p", "image.width": 3, "image.height": 3, "text.unigrams": 2},
    ]
    parts = {part_named(0): make_part(rows)}
    recipe = make_recipe([RULES[2]], dedupe={"prefer": ["resolution"]})
    ledger = ledger_of(*next(iter(parts.items())), recipe, decide(parts, recipe, NOTHING, {}))
    assert ledger["reason"].to_pylist() == ["text_too_short", None]


def test_no_parts_are_no_decisions(make_recipe):
    decisions = decide({}, make_recipe(RULES), NOTHING, {})
    assert decisions.verdicts == {}
    assert decisions.cuts == (None, None)
