from __future__ import annotations

import pickle

import pyarrow as pa
import pytest

from schemas import layout
from schemas.layout import Part
from schemas.recipe import Recipe
from storage.folders import open_folder
from transforms.parts.tables import KeptSplit, PartFile, commit_table
from transforms.work import Intake, Work

BASE = {
    "name": "x",
    "sources": [
        {"name": "web", "type": "folder", "path": "/data/web"},
        {"name": "art", "type": "folder", "path": "/data/art"},
    ],
    "shard": {"samples_per_shard": 4},
}


def recipe(**sections):
    return Recipe.model_validate(BASE | sections)


def commit(folder, part, rows, splits=None, version=1):
    table = pa.table({"sample_id": pa.array([f"{n:032x}" for n in range(rows)], pa.string())})
    commit_table(folder, PartFile(part, version), table, {"rows": rows}, splits)


@pytest.fixture
def work(tmp_path):
    """A work directory with two sealed intakes; `art` came with the second alone."""
    work = Work(open_folder(str(tmp_path)), recipe())
    sealed = [("i0", {"web": 2}), ("i1", {"web": 1, "art": 1})]
    for number, (name, parts) in enumerate(sealed):
        settings = {source: f"settings of {source}" for source in parts}
        intake = Intake(number, name, settings, parts)
        work.folder.create(layout.intake_record(number), intake.to_bytes())
        for source, count in parts.items():
            for at in range(count):
                commit(work.ingest, Part(name, source, f"part-{at:016x}"), 3 + at)
    return work


def changed(work, **sections):
    return Work(work.folder, recipe(**sections))


def test_intakes_come_in_the_order_in_which_they_were_sealed(work):
    assert [(one.number, one.name, one.parts) for one in work.intakes()] == [
        (0, "i0", {"web": 2}),
        (1, "i1", {"web": 1, "art": 1}),
    ]
    assert Work(work.folder.child("nothing"), work.recipe).intakes() == []


def test_parts_are_sorted_and_of_their_highest_version(work):
    first, second = work.intakes()
    late = Part("i0", "web", "part-0000000000000001")
    commit(work.ingest, late, 4, version=2)
    # A part of an intake that is not sealed is none.
    commit(work.ingest, Part("i9", "web", "part-0000000000000009"), 1)
    assert [file.part.stem for file in work.parts(first, second)] == [
        "web/i0/part-0000000000000000",
        "web/i0/part-0000000000000001",
        "art/i1/part-0000000000000000",
        "web/i1/part-0000000000000000",
    ]
    assert [file.version for file in work.parts(first)] == [1, 2]
    assert work.parts() == []


def test_numbered_parts_know_their_rows_and_who_answers_for_them(work):
    first, second = work.intakes()
    numbered = work.number(work.parts(first, second), set(work.parts(second)))
    assert [(one.number, one.rows, one.wanted) for one in numbered] == [
        (0, 3, False),
        (1, 4, False),
        (2, 3, True),
        (3, 3, True),
    ]


def test_the_settings_of_a_source_are_what_decides_its_rows(work):
    web = work.recipe.source("web")
    before = work.source_settings(web)

    def after(sources=BASE["sources"], **sections):
        other = changed(work, sources=sources, **sections)
        return other.source_settings(other.recipe.source("web"))

    moved = [{**BASE["sources"][0], "path": "gs://bucket/web"}, BASE["sources"][1]]
    assert after(moved) == before
    assert after(BASE["sources"][::-1]) == before
    assert after(ingest={"part_rows": 7}, seed=3, measure={"max_pixels": 5}) == before
    licensed = [{**BASE["sources"][0], "licence": "CC0-1.0"}, BASE["sources"][1]]
    assert after(licensed) != before
    assert after(ingest={"max_text_bytes": 9}) != before
    assert work.source_settings(work.recipe.source("art")) != before


FAMILIES = ("measure/image", "measure/text", "count/sharing", "count/ngrams", "dedupe/exact")


@pytest.mark.parametrize(
    ("sections", "stale"),
    [
        ({"measure": {"max_pixels": 5}}, {"measure/image", "dedupe/exact", "ledger"}),
        ({"count": {"min_ngram_count": 2}}, {"count/ngrams", "ledger"}),
        ({"dedupe": {"unit": "pair"}}, {"dedupe/exact", "ledger"}),
        ({"dedupe": {"prefer": ["resolution"]}}, {"ledger"}),
        ({"seed": 1}, {"ledger"}),
        ({"split": {"held_out": 0.1}}, {"ledger"}),
        (
            {"select": {"rules": [{"keep": "sample 9%", "reason": "not_sampled"}]}},
            {"ledger"},
        ),
        ({"shard": {"samples_per_shard": 9}}, set()),
        ({"ingest": {"part_rows": 9}}, set()),
        ({"mixtures": [{"name": "other"}], "card": {"title": "x"}}, set()),
    ],
)
def test_a_change_of_the_recipe_makes_stale_what_depends_on_it(work, sections, stale):
    def places(one):
        parts = one.parts(*one.intakes())
        found = {name: folder.uri for name, folder in one.families(parts).families.items()}
        return found | {"ledger": one.ledger_fingerprints()["i0"]}

    before, after = places(work), places(changed(work, **sections))
    assert before.keys() == {*FAMILIES, "ledger"}
    assert {name for name in before if before[name] != after[name]} == stale


def test_a_second_intake_leaves_the_families_and_ledgers_of_the_first(work):
    first, second = work.intakes()
    before = work.families(work.parts(first)).families
    after = work.families(work.parts(first, second)).families
    changed_families = {name for name in FAMILIES if before[name] != after[name]}
    assert changed_families == {"count/sharing", "count/ngrams", "dedupe/exact"}
    fingerprints = work.ledger_fingerprints()
    work.folder.delete(layout.intake_record(1))
    assert work.ledger_fingerprints() == {"i0": fingerprints["i0"]}
    assert fingerprints["i1"] != fingerprints["i0"]


def test_a_takedown_decides_every_intake_anew(work):
    before = work.ledger_fingerprints()
    work.folder.create(layout.SUPPRESSIONS, b"# a comment\n")
    assert work.ledger_fingerprints() == before
    work.folder.replace(layout.SUPPRESSIONS, b"ab  # why\n")
    after = work.ledger_fingerprints()
    assert all(after[name] != before[name] for name in before)


def test_a_later_version_of_a_part_makes_stale_what_is_global(work):
    def places():
        parts = work.parts(*work.intakes())
        return {name: work.families(parts).families[name].uri for name in FAMILIES}

    before = places()
    commit(work.ingest, Part("i0", "web", "part-0000000000000001"), 4, version=2)
    stale = {name for name, place in places().items() if place != before[name]}
    assert stale == {"count/sharing", "count/ngrams", "dedupe/exact"}


def test_series_are_the_kept_rows_of_a_source_by_intake_and_split(work):
    held_out = changed(work, split={"held_out": 0.5})
    ledgers = held_out.ledgers()
    for intake in held_out.intakes():
        for file in held_out.parts(intake):
            splits = {"train": KeptSplit(5, "0a"), "test": KeptSplit(1, "0b")}
            commit(ledgers[intake.name], file.part, 3, splits)
    series = held_out.series()
    told = [(one.source, one.intake, one.split, len(one.parts), one.samples) for one in series]
    assert told == [
        ("web", "i0", "train", 2, 10),
        ("web", "i0", "test", 2, 2),
        ("web", "i1", "train", 1, 5),
        ("web", "i1", "test", 1, 1),
        ("art", "i1", "train", 1, 5),
        ("art", "i1", "test", 1, 1),
    ]
    assert [one.shards(held_out.recipe.shard) for one in series[:3]] == [3, 1, 2]
    for one in series:
        assert one.path.startswith(f"shards/{one.source}/{one.intake}/{one.split}-")
        assert one.folder == held_out.folder.child(one.path)
    # Neither parts nor order decide the bytes of a series, only the rows that are kept.
    assert series[2].path.rpartition("-")[2] == series[4].path.rpartition("-")[2]


def test_a_work_directory_travels_in_a_pipeline(work):
    assert work.ingest.uri.endswith("/ingest")
    again = pickle.loads(pickle.dumps(work))  # noqa: S301 - our own bytes
    assert again == work
    assert again.intakes() == work.intakes()
