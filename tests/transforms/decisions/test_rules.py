from __future__ import annotations

import math

import numpy as np
import pytest

from schemas.digests import keyed_hash
from schemas.recipe import Rule
from transforms.decisions.quantiles import find_cut
from transforms.decisions.refusals import Verdict
from transforms.decisions.rules import decide_rows, quantile_rules, rank_rows

SMALL = Rule(signal="image.short_side_px", keep="> 200", reason="image_too_small")
STRIP = Rule(signal="image.aspect_ratio", keep="< 3", reason="image_aspect")
HALF = Rule(keep="sample 50%", reason="not_sampled")
SHARP = Rule(signal="image.sharpness", keep="top 50%", reason="image_blurred")
SHORT = Rule(signal="text.unigrams", keep=">= 3", reason="text_too_short")


def none(table):
    return np.zeros(table.num_rows, dtype=np.bool_)


def decide(table, rules, cuts=(), seed=0):
    return decide_rows(table, rules, seed, none(table), none(table), cuts).tolist()


def test_the_first_rule_that_fails_is_the_verdict(make_part):
    table = make_part(
        [
            {"image.short_side_px": 201, "image.aspect_ratio": 2.9},
            {"image.short_side_px": 200, "image.aspect_ratio": 3.0},
            {"image.short_side_px": 201, "image.aspect_ratio": 3.0},
            {},
        ]
    )
    assert decide(table, [SMALL, STRIP]) == [Verdict.SURVIVES, 0, 1, Verdict.SURVIVES]
    assert decide(table, [STRIP, SMALL]) == [Verdict.SURVIVES, 0, 0, Verdict.SURVIVES]
    assert decide(table, []) == [Verdict.SURVIVES] * 4


def test_what_comes_before_the_rules_comes_in_order(make_part):
    small = {"image.short_side_px": 1}
    table = make_part(
        [
            {**small, "status": "text_missing", "image_status": "media_unreadable"},
            {**small, "image_status": "media_unreadable"},
            small,
            small,
            small,
        ]
    )
    duplicate = np.array([True, True, True, False, False])
    taken_down = np.array([True, True, True, True, False])
    verdicts = decide_rows(table, [SMALL], 0, duplicate, taken_down)
    assert verdicts.tolist() == [
        Verdict.INGEST,
        Verdict.MEASURE,
        Verdict.DUPLICATE_ROW,
        Verdict.TAKEN_DOWN,
        0,
    ]
    assert verdicts.dtype == np.int16


def test_a_rule_looks_only_at_its_sources(make_part):
    table = make_part([{"source": source, "image.short_side_px": 1} for source in ("web", "art")])
    limited = SMALL.model_copy(update={"sources": ("art",)})
    assert decide(table, [limited]) == [Verdict.SURVIVES, 0]


def test_samples_are_kept_by_the_keyed_hash_of_their_id(make_part):
    table = make_part([{} for _ in range(500)])
    ids = table["sample_id"].to_pylist()
    for percent, seed in ((50, 0), (50, 1), (12.5, 0)):
        rule = HALF.model_copy(update={"keep": f"sample {percent}%"})
        kept = [verdict == Verdict.SURVIVES for verdict in decide(table, [rule], seed=seed)]
        bound = percent / 100 * 2**64
        assert kept == [keyed_hash(seed, "sample/not_sampled", one) < bound for one in ids]
        assert abs(sum(kept) - 5 * percent) < 60
    everything = HALF.model_copy(update={"keep": "sample 100%"})
    assert decide(table, [everything]) == [Verdict.SURVIVES] * 500


def test_a_sample_of_a_source_leaves_the_others_whole(make_part):
    table = make_part([{"source": ("web", "art")[at % 2]} for at in range(200)])
    rule = HALF.model_copy(update={"sources": ("art",)})
    verdicts = decide(table, [rule])
    assert set(verdicts[::2]) == {Verdict.SURVIVES}
    assert set(verdicts[1::2]) == {Verdict.SURVIVES, 0}


def test_rules_wait_for_the_cut_of_a_quantile(make_part):
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    table = make_part(
        [
            {"image.short_side_px": 300 if at else 1, "image.sharpness": value, "text.unigrams": at}
            for at, value in enumerate(values)
        ]
    )
    rules = [SMALL, SHARP, SHORT]
    waiting = decide(table, rules)
    assert waiting == [0] + [Verdict.SURVIVES] * 5
    assert quantile_rules(rules) == (SHARP,)

    ranking = rank_rows(table, SHARP, 0, np.array(waiting, dtype=np.int16))
    assert ranking.rows.tolist() == [1, 2, 3, 4, 5]
    cut = find_cut(SHARP, [ranking])
    assert (cut.value, cut.rows, cut.kept) == (0.4, 5, 3)
    assert decide(table, rules, [cut]) == [0, 1, 1, *[Verdict.SURVIVES] * 3]
    assert decide(table, [SMALL, SHORT, SHARP], [cut]) == [0, 1, 1, *[Verdict.SURVIVES] * 3]


def test_a_quantile_neither_counts_nor_drops_nulls_and_drops_what_is_no_number(make_part):
    table = make_part([{"image.sharpness": one} for one in (None, math.nan, 0.1, 0.2, None)])
    ranking = rank_rows(table, SHARP, 0, np.array(decide(table, [SHARP]), dtype=np.int16))
    cut = find_cut(SHARP, [ranking])
    assert (cut.rows, cut.kept) == (2, 1)
    keeps = Verdict.SURVIVES
    assert decide(table, [SHARP], [cut]) == [keeps, 0, 0, keeps, keeps]

    nothing = make_part([{"image.sharpness": one} for one in (None, math.nan)])
    assert decide(nothing, [SHARP], [None]) == [keeps, 0]


def test_a_quantile_of_a_source_ranks_only_that_source(make_part):
    table = make_part(
        [{"source": ("web", "art")[at % 2], "image.sharpness": at / 10} for at in range(4)]
    )
    rule = SHARP.model_copy(update={"sources": ("art",)})
    ranking = rank_rows(table, rule, 0, np.array(decide(table, [rule]), dtype=np.int16))
    assert ranking.rows.tolist() == [1, 3]
    keeps = Verdict.SURVIVES
    assert decide(table, [rule], [find_cut(rule, [ranking])]) == [keeps, 0, keeps, keeps]


def test_a_column_that_was_not_read_is_named(make_part):
    with pytest.raises(ValueError, match=r"image\.short_side_px"):
        decide(make_part([{}]), [SMALL])
