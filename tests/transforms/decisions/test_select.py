"""Deciding through Beam gives, row by row, what `passes.decide` gives in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from schemas.layout import SUPPRESSIONS, Part
from schemas.signals import SIGNALS, SIGNALS_BY_NAME
from schemas.tables import LEDGER
from storage.folders import Folder, open_folder
from transforms.decisions.cuts import read_cuts
from transforms.decisions.families import (
    CLUSTER_FAMILY,
    IMAGE_FAMILY,
    Families,
    MisalignedPartError,
    kept_rows,
)
from transforms.decisions.ledger import summarise
from transforms.decisions.passes import Decisions, decide, ledger_of
from transforms.decisions.select import DecideParts, Selection
from transforms.parts.tables import PartFile, commit_table, read_notes, read_table
from transforms.parts.work import NumberedPart

RULES = [
    {"signal": "image.width", "keep": "> 1", "reason": "image_too_small"},
    {"signal": "image.sharpness", "keep": "top 60%", "reason": "image_blurred"},
    {"signal": "text.unigrams", "keep": ">= 2", "reason": "text_too_short"},
    {"keep": "sample 80%", "reason": "not_sampled"},
    {"signal": "image.bytes", "keep": "bottom 70%", "reason": "image_too_small"},
]
EXACT = {"dedupe": {"edges": ["bytes"]}, "split": {"held_out": 0.3}, "seed": 5}
FAMILIES = {signal.family for signal in SIGNALS} | {CLUSTER_FAMILY}

Tables = dict[Part, pa.Table]


def random_rows(random: np.random.Generator, number: int) -> list[dict[str, Any]]:
    """Returns rows with repeated ids, shared clusters, ties at every value, and refusals."""

    def choose(*values: Any) -> list[Any]:
        return [values[at] for at in random.integers(0, len(values), number)]

    empty = dict.fromkeys(signal.name for signal in SIGNALS)
    columns = {
        "sample_id": [f"{one:032x}" for one in random.integers(0, 3 * number, number)],
        "row_digest": [f"{one:032x}" for one in random.integers(0, 9, number)],
        "media": [[{"media_id": f"{one:064x}"}] for one in random.integers(0, 99, number)],
        "status": choose(*["ok"] * 9, "text_missing"),
        "image_status": choose(*["ok"] * 9, "media_unreadable"),
        "cluster_id": choose(None, None, *(f"{one:032x}" for one in range(6))),
        "image.width": choose(1, 2, 3, None),
        "image.height": choose(4, 5),
        "image.bytes": choose(100, 200, 2**40, None),
        "image.sharpness": choose(0.1, 0.2, 0.3, 17.5, None),
        "image.pixel_digest": choose(None, "a", "b", "c"),
        "text.unigrams": choose(1, 2, 3),
        "text.language_confidence": choose(0.5, 0.9, None),
        "text.boilerplate": choose("", "", "size"),
    }
    return [
        empty | dict(zip(columns, one, strict=True)) for one in zip(*columns.values(), strict=True)
    ]


def cut_parts(make_part, rows: Sequence[Mapping[str, Any]], intake: str, parts: int) -> Tables:
    """Returns the rows as tables of parts of unequal sizes, one of them empty."""
    bounds = [0, *(np.linspace(0, 1, parts) ** 2 * len(rows)).astype(int).tolist()]
    tables = {}
    for number, (start, stop) in enumerate(pairwise(bounds)):
        # Names that sort otherwise than they were made.
        name = f"part-{(number * 7919) % 65536:016x}"
        source = ("web", "art")[number % 2]
        piece = [{**row, "source": source} for row in rows[start:stop]]
        # An empty part has the columns of any other.
        table = make_part(piece or rows[:1]).slice(0, len(piece))
        tables[Part(intake, source, name)] = table
    return tables


@dataclass
class Store:
    """A work directory with the columns of parts, and the ledgers that are decided on them."""

    folder: Folder
    recipe: Any

    def families(self) -> Families:
        return Families(
            self.folder.child("ingest"),
            {family: self.folder.child(family) for family in FAMILIES},
        )

    def write(self, tables: Tables) -> None:
        families = self.families()
        for part, table in tables.items():
            file = PartFile(part, 1)
            ingest = ["sample_id", "source", "media", "row_digest", "status", "error"]
            commit_table(families.ingest, file, table.select(ingest), {})
            for family, folder in families.families.items():
                signals = [signal.name for signal in SIGNALS if signal.family == family]
                columns = {name: table[name] for name in ["sample_id", *signals]}
                if family == IMAGE_FAMILY:
                    columns |= {"status": table["image_status"], "error": table["image_error"]}
                if family == CLUSTER_FAMILY:
                    columns |= {"cluster_id": table["cluster_id"]}
                commit_table(folder, file, pa.table(columns), {})

    def ledger(self, intake: str) -> Folder:
        return self.folder.child(f"select/{intake}")

    def decide(self, intake: str, tables: Tables, cuts: tuple = (), partitions: int = 2) -> None:
        """Decides an intake through Beam; `tables` are its parts and those before it."""
        intakes = sorted({part.intake for part in tables})
        selection = Selection(
            recipe=self.recipe,
            intake=intake,
            families=dict.fromkeys(intakes, self.families()),
            work=self.folder,
            ledgers={name: self.ledger(name) for name in intakes},
            frozen_cuts=cuts,
        )
        numbered = [
            NumberedPart(number, PartFile(part, 1), len(tables[part]), part.intake == intake)
            for number, part in enumerate(sorted(tables))
        ]
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            pipeline | beam.Create(numbered) | DecideParts(selection, partitions)

    def assert_decided(self, intake: str, tables: Tables, expected: Decisions) -> None:
        """Checks the ledgers of an intake, their footers, and its cuts, against `expected`."""
        folder = self.ledger(intake)
        assert read_cuts(folder) == expected.cuts
        for part, table in tables.items():
            if part.intake != intake:
                continue
            name = PartFile(part, 1).name
            found = read_table(folder, name)
            wanted = ledger_of(part, table, self.recipe, expected)
            assert found.schema.remove_metadata() == LEDGER
            assert found.to_pylist() == wanted.to_pylist()
            notes = read_notes(folder, name)
            counts = {one.reason or one.decision: n for one, n in summarise(wanted).items()}
            assert notes.counts == {"rows": len(table), **counts}
            splits = wanted["split"].cast(pa.string()).to_pylist()
            assert {name: one.samples for name, one in notes.splits.items()} == {
                name: splits.count(name) for name in self.recipe.split.names
            }


@pytest.fixture
def make_store(tmp_path, make_recipe):
    def make(rules: Sequence[Mapping[str, Any]] = RULES, **sections: Any) -> Store:
        recipe = make_recipe(rules, **(EXACT | sections))
        return Store(open_folder(str(tmp_path / "work")), recipe)

    return make


def reference(store: Store, tables: Tables, suppressed: Sequence[str] = ()) -> Decisions:
    return decide(tables, store.recipe, pa.array(sorted(suppressed), pa.string()), {})


def test_beam_decides_as_one_process_does(make_store, make_part):
    store = make_store()
    tables = cut_parts(make_part, random_rows(np.random.default_rng(2), 90), "i0", 6)
    store.write(tables)
    suppressed = [f"{one:032x}" for one in range(5)] + [f"{one:064x}" for one in range(9)]
    listed = "".join(f"{one}\n" for one in suppressed)
    store.folder.create(SUPPRESSIONS, f"# taken down\n\n{listed}".encode())
    store.decide("i0", tables, partitions=4)
    expected = reference(store, tables, suppressed)
    store.assert_decided("i0", tables, expected)
    reasons = {
        one.reason
        for part, table in tables.items()
        for one in summarise(ledger_of(part, table, store.recipe, expected))
    }
    assert {"", "duplicate_row", "duplicate_exact", "taken_down", "image_blurred"} <= reasons


@pytest.mark.parametrize("rules", [RULES[:1], []], ids=["one rule", "no rule"])
def test_without_duplicates_every_row_stands_for_itself(make_store, make_part, rules):
    store = make_store(rules, dedupe={"edges": []})
    tables = cut_parts(make_part, random_rows(np.random.default_rng(7), 50), "i0", 2)
    # Clusters of another recipe do not matter.
    tables = {
        part: table.set_column(
            table.column_names.index("cluster_id"), "cluster_id", pa.nulls(len(table), pa.string())
        )
        for part, table in tables.items()
    }
    store.write(tables)
    store.decide("i0", tables)
    store.assert_decided("i0", tables, reference(store, tables))


def test_a_second_intake_meets_what_the_first_kept(make_store, make_part):
    store = make_store(RULES[:4])
    random = np.random.default_rng(3)
    first = cut_parts(make_part, random_rows(random, 40), "i0", 3)
    second = cut_parts(make_part, random_rows(random, 50), "i1", 4)
    store.write(first | second)
    store.decide("i0", first)
    store.assert_decided("i0", first, reference(store, first))

    cuts = read_cuts(store.ledger("i0"))
    assert None not in cuts
    store.decide("i1", first | second, cuts)
    kept = {
        part: table.take(kept_rows(store.ledger("i0"), PartFile(part, 1)))
        for part, table in first.items()
    }
    earlier = {part: np.ones(len(table), dtype=np.bool_) for part, table in kept.items()}
    expected = decide(kept | second, store.recipe, pa.array([], pa.string()), earlier, cuts)
    store.assert_decided("i1", second, expected)
    keepers = {
        row["keeper_id"]
        for part in second
        for row in read_table(store.ledger("i1"), PartFile(part, 1).name).to_pylist()
        if row["reason"] == "duplicate_exact"
    }
    ids = {one for table in kept.values() for one in table["sample_id"].to_pylist()}
    assert keepers & ids, "an earlier keeper wins"


def test_a_rule_that_no_row_reaches_has_no_cut(make_store, make_part):
    nothing = {"signal": "image.width", "keep": "> 9", "reason": "image_too_small"}
    store = make_store([nothing, RULES[1]])
    tables = cut_parts(make_part, random_rows(np.random.default_rng(5), 20), "i0", 2)
    # A null passes any rule, so no row may have one.
    tables = {
        part: table.set_column(
            table.column_names.index("image.width"),
            "image.width",
            pa.array([2] * len(table), pa.type_for_alias(SIGNALS_BY_NAME["image.width"].dtype)),
        )
        for part, table in tables.items()
    }
    store.write(tables)
    store.decide("i0", tables)
    assert read_cuts(store.ledger("i0")) == (None,)
    store.assert_decided("i0", tables, reference(store, tables))


def test_columns_of_other_rows_are_refused(make_store, make_part):
    store = make_store(RULES[:1], dedupe={"edges": []})
    tables = cut_parts(make_part, random_rows(np.random.default_rng(6), 12), "i0", 3)
    store.write(tables)
    part, table = max(tables.items(), key=lambda one: len(one[1]))
    name = PartFile(part, 1).name
    images = store.families().families[IMAGE_FAMILY]
    reversed_rows = read_table(images, name).take(np.arange(len(table))[::-1])
    images.delete(name)
    commit_table(images, PartFile(part, 1), reversed_rows, {})
    with pytest.raises(MisalignedPartError, match=r"other rows than .*: remove it and run the st"):
        store.decide("i0", tables)
