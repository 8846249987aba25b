"""Ledgers: one row per input that says what the rules say, and books that balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.tables import LEDGER
from storage.folders import Folder
from transforms.decisions.columns import column, id_bytes
from transforms.decisions.cuts import Cuts
from transforms.decisions.families import Families, MisalignedPartError
from transforms.decisions.ledger import KEPT, Outcome, build_ledger, summarise
from transforms.decisions.refusals import Verdict, find_taken_down
from transforms.decisions.rules import decide_rows
from transforms.parts.tables import PartFile, read_notes, read_table
from transforms.shards.identity import kept_splits
from transforms.verifying.ahead import map_ahead
from transforms.verifying.findings import RUN_AGAIN, Check, Problem, Tally

Ids = npt.NDArray[np.bytes_]
"""Sample or cluster ids as `S16`: whole ids compare exactly, single elements lose zero bytes."""


@dataclass(frozen=True)
class DecidedIntake:
    """What the ledgers of an intake follow from.

    Attributes:
        name: of the intake.
        ledger: folder of its ledgers.
        families: where the columns lie.
        files: the ingest parts.
        recipe: resolved.
        cuts: of the quantile rules.
        suppressed: sample ids and media ids that have been taken down.
    """

    name: str
    ledger: Folder
    families: Families
    files: Sequence[PartFile]
    recipe: Recipe
    cuts: Cuts
    suppressed: pa.Array


@dataclass
class Books:
    """What ledgers say together: 16 bytes for each kept sample, and for each one in a cluster.

    Attributes:
        tally: counts of `Check.LEDGER`, one for each row.
        outcomes: rows by outcome, as counted.
        stated: rows by (source, kept or reason), as the footers say.
        kept: ids of kept samples.
        clusters: clusters of kept samples, of those that have one.
        keepers: ids that were preferred to samples dropped as duplicates.
    """

    tally: Tally = field(default_factory=Tally)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    stated: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: list[Ids] = field(default_factory=list)
    clusters: list[Ids] = field(default_factory=list)
    keepers: list[Ids] = field(default_factory=list)

    def add(self, other: Books) -> None:
        """Adds the books of other ledgers."""
        self.tally.add(other.tally)
        self.outcomes.update(other.outcomes)
        self.stated.update(other.stated)
        self.kept += other.kept
        self.clusters += other.clusters
        self.keepers += other.keepers


def check_ledgers(intakes: Sequence[DecidedIntake], pool: Executor) -> Books:
    """Checks every ledger against the columns that it was decided on.

    A ledger is built again from its part's columns: every row but those that compete with others
    (repeated rows, duplicates) follows from them. Those that compete are checked among themselves:
    a keeper is kept, and a cluster has one at most.
    """
    books = Books()
    for intake in intakes:
        for one in map_ahead(pool, partial(_check_part, intake), intake.files):
            books.add(one)
        _check_choices(intake, books)
    return books


def check_balance(inputs: Counter[str], books: Books, work: Folder) -> Tally:
    """Checks that inputs are kept or dropped, and that footers say what ledgers hold.

    Args:
        inputs: rows of `ingest` by source, as counted.
        books: from `check_ledgers`, over all intakes.
        work: the work directory, for messages.

    Returns:
        The counts of `Check.BOOKS`: one for each source, and one for each source and reason.
    """
    tally = Tally()
    counted: Counter[tuple[str, str]] = Counter()
    decided: Counter[str] = Counter()
    for outcome, rows in books.outcomes.items():
        counted[outcome.source, outcome.reason or outcome.decision] += rows
        decided[outcome.source] += rows
    lines = [(source, inputs[source], decided[source]) for source in sorted(inputs | decided)]
    lines += [
        (f"{source} {reason}", books.stated[source, reason], counted[source, reason])
        for source, reason in sorted(counted | books.stated)
    ]
    for name, expected, found in lines:
        if found == expected:
            tally.good(Check.BOOKS)
            continue
        message = f"{name}: the ledgers have {found} rows"
        wanted = f"{expected}, as {'footers say' if ' ' in name else 'ingest has'}"
        tally.bad(Check.BOOKS, Problem(work.locate("select"), message, wanted, RUN_AGAIN))
    return tally


def _check_part(intake: DecidedIntake, file: PartFile) -> Books:
    books = Books()
    at = intake.ledger.locate(file.name)

    def bad(found: str, expected: str) -> None:
        books.tally.bad(Check.LEDGER, Problem(at, found, expected, RUN_AGAIN))

    with books.tally.reading(Check.LEDGER, at):
        with intake.ledger.open(file.name) as handle:
            schema = pq.read_schema(handle)
        if not schema.equals(LEDGER):
            bad(f"has the columns {', '.join(schema.names)}", ", ".join(LEDGER.names))
            return books
        ledger = read_table(intake.ledger, file.name)
        notes = read_notes(intake.ledger, file.name)
        books.outcomes = summarise(ledger)
        source = file.part.source
        books.stated.update(
            {(source, name): n for name, n in notes.counts.items() if name != "rows"}
        )
        inputs = read_table(intake.families.ingest, file.name, ["sample_id"])["sample_id"]
        if len(ledger) != len(inputs) or not ledger["sample_id"].equals(inputs):
            bad(_difference(ledger["sample_id"], inputs), f"the {len(inputs)} rows of ingest")
            return books
        try:
            table = intake.families.read(file, intake.recipe, len(intake.suppressed) > 0)
        except MisalignedPartError as error:
            bad("cannot be compared", f"columns that align; {error}")
            return books
        _check_rows(intake, file, table, ledger, books)
        if notes.splits != kept_splits(table, ledger, intake.recipe.split):
            bad("its footer has other splits", "how many rows each split keeps, and their digest")
    return books


def _difference(ids: pa.ChunkedArray, inputs: pa.ChunkedArray) -> str:
    """Says in which row two columns of ids begin to differ."""
    pairs = zip(ids.to_pylist(), inputs.to_pylist(), strict=False)
    row = next((n for n, (one, other) in enumerate(pairs) if one != other), len(ids))
    lacks = f", and lacks {inputs[row]} in row {row}" if row < len(inputs) else ""
    return f"has {len(ids)} rows{lacks}"


def _check_rows(
    intake: DecidedIntake, file: PartFile, table: pa.Table, ledger: pa.Table, books: Books
) -> None:
    """Builds the ledger of a part again from its columns, and compares it row by row."""
    at = intake.ledger.locate(file.name)
    reasons = pc.fill_null(column(ledger, "reason"), "")
    repeated, duplicate = (
        pc.equal(reasons, str(reason)).to_numpy(zero_copy_only=False)
        for reason in (Reason.DUPLICATE_ROW, Reason.DUPLICATE_EXACT)
    )
    ids = column(table, "sample_id")
    taken_down = find_taken_down(ids, column(table, "media"), intake.suppressed)
    rules = intake.recipe.select.rules
    verdicts = decide_rows(table, rules, intake.recipe.seed, repeated, taken_down, intake.cuts)
    verdicts[duplicate & (verdicts == Verdict.SURVIVES)] = Verdict.DUPLICATE
    rebuilt = build_ledger(table, file.part, intake.recipe, verdicts, column(ledger, "keeper_id"))
    wrong = np.zeros(len(ledger), dtype=np.bool_)
    for name in LEDGER.names:
        found, expected = column(ledger, name), column(rebuilt, name)
        same = pc.fill_null(pc.equal(found, expected), False)
        same = pc.or_(same, pc.and_(pc.is_null(found), pc.is_null(expected)))
        differs = ~same.to_numpy(zero_copy_only=False) & ~wrong
        wrong |= differs
        for row in np.flatnonzero(differs):
            message = f"row {row} (sample {ids[row]}) has {name} = {found[row]}"
            wanted = f"{expected[row]}, by the rules and columns"
            books.tally.bad(Check.LEDGER, Problem(at, message, wanted, RUN_AGAIN))
    books.tally.good(Check.LEDGER, int((~wrong).sum()))
    kept = ledger.filter(pc.equal(column(ledger, "decision"), KEPT))
    books.kept.append(_ids(column(kept, "sample_id")))
    books.clusters.append(_ids(column(kept, "cluster_id").drop_null()))
    lost = pc.and_(pa.array(duplicate), pc.is_valid(column(ledger, "keeper_id")))
    books.keepers.append(_ids(column(ledger.filter(lost), "keeper_id")))


def _check_choices(intake: DecidedIntake, books: Books) -> None:
    """Checks that keepers are kept, in this intake or an earlier one, and clusters have one."""
    kept = np.concatenate([*books.kept, np.empty(0, "S16")])
    keepers = np.concatenate([*books.keepers, np.empty(0, "S16")])
    clusters, members = np.unique(
        np.concatenate([*books.clusters, np.empty(0, "S16")]), return_counts=True
    )
    messages = [
        (f"the keeper {_hex(one)} of a duplicate is not kept", "a kept sample")
        for one in np.setdiff1d(keepers, kept)
    ]
    messages += [
        (f"the cluster {_hex(clusters[at])} keeps {members[at]} samples", "one")
        for at in np.flatnonzero(members > 1)
    ]
    for found, expected in messages:
        problem = Problem(intake.ledger.uri, found, expected, RUN_AGAIN)
        books.tally.bad(Check.LEDGER, problem)


def _ids(ids: pa.Array) -> Ids:
    return id_bytes(ids).reshape(-1).view("S16")


def _hex(one: np.bytes_) -> str:
    return bytes(one).ljust(16, b"\0").hex()
