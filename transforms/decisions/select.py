"""Decides all parts of an intake through Beam, in the passes of `transforms.decisions.passes`.

Rows never cross a shuffle: repeated ids, cluster keys and histograms do, packed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.pvalue import AsSingleton, PCollection

from schemas.recipe import Recipe, Rule
from storage.folders import Folder
from transforms.counts.keys import run_starts, sort_order, split_by_part, split_by_partition, unpack
from transforms.decisions.columns import CLUSTER_COLUMN, Mask, column, id_bytes
from transforms.decisions.cuts import Cuts, commit_cuts
from transforms.decisions.families import Families, kept_rows, read_suppressions
from transforms.decisions.keepers import (
    KEEPERS,
    clustered_rows,
    drop_duplicates,
    keeper_keys,
    keepers_of,
    key_width,
)
from transforms.decisions.ledger import build_ledger, summarise
from transforms.decisions.quantiles import (
    Histogram,
    Search,
    collect_ties,
    count_digits,
    narrow,
    settle,
)
from transforms.decisions.refusals import (
    Verdict,
    Verdicts,
    find_duplicate_rows,
    find_taken_down,
    mark_kept_earlier,
    refuse_unusable,
    repeated_values,
)
from transforms.decisions.rules import decide_rows, quantile_rules, rank_rows
from transforms.parts.heartbeat import beat
from transforms.parts.tables import commit_table
from transforms.parts.work import NumberedPart, is_wanted, number_key
from transforms.shards.identity import kept_splits

_ROW = np.dtype(
    [
        ("hi", "<u8"),
        ("lo", "<u8"),
        ("digest_hi", "<u8"),
        ("digest_lo", "<u8"),
        ("part", "<i4"),
        ("row", "<i4"),
        ("earlier", "?"),
    ]
)
_DUPLICATE = np.dtype([("hi", "<u8"), ("lo", "<u8"), ("part", "<i4"), ("row", "<i4")])
_KEEPER = np.dtype(
    [("hi", "<u8"), ("lo", "<u8"), ("keeper_hi", "<u8"), ("keeper_lo", "<u8"), ("part", "<i4")]
)
_KEEPER_OF_PART = np.dtype([(name, "<u8") for name in ("hi", "lo", "keeper_hi", "keeper_lo")])
_DUPLICATE_OF_PART = np.dtype([("hi", "<u8"), ("lo", "<u8"), ("row", "<i4")])


@dataclass(frozen=True)
class Selection:
    """What deciding an intake depends on.

    Attributes:
        recipe: resolved.
        intake: the intake that is decided.
        families: where columns lie; by intake, since global counts grow with each.
        work: the work directory, for the suppression list.
        ledgers: folder of the ledger, by intake, of this intake and all before it.
        frozen_cuts: cuts of the first intake; empty while it is decided itself.
    """

    recipe: Recipe
    intake: str
    families: Mapping[str, Families]
    work: Folder
    ledgers: Mapping[str, Folder]
    frozen_cuts: Cuts

    def read(self, part: NumberedPart) -> tuple[pa.Table, Mask, npt.NDArray[np.intp]]:
        """Reads the rows of a part that take part in deciding.

        Returns:
            The columns; which rows an earlier intake has kept; their positions in the part. Of a
            part of an earlier intake these are the kept rows only.
        """
        intake = part.file.part.intake
        media = len(read_suppressions(self.work)) > 0
        return self._take_part(part, self.families[intake].read(part.file, self.recipe, media))

    def read_identity(self, part: NumberedPart) -> tuple[pa.Table, Mask, npt.NDArray[np.intp]]:
        """Reads as `read` does, but only the columns of `Families.read_identity`."""
        families = self.families[part.file.part.intake]
        return self._take_part(part, families.read_identity(part.file))

    def _take_part(
        self, part: NumberedPart, table: pa.Table
    ) -> tuple[pa.Table, Mask, npt.NDArray[np.intp]]:
        if part.wanted:
            return table, np.zeros(len(table), dtype=np.bool_), np.arange(len(table))
        rows = kept_rows(self.ledgers[part.file.part.intake], part.file)
        return table.take(rows), np.ones(len(rows), dtype=np.bool_), rows

    def taken_down(self, table: pa.Table) -> Mask:
        """Returns which rows are on the suppression list."""
        suppressed = read_suppressions(self.work)
        return find_taken_down(column(table, "sample_id"), column(table, "media"), suppressed)


class DecideParts(beam.PTransform[PCollection[NumberedPart], PCollection[str]]):
    """Parts → the names of the committed ledgers."""

    def __init__(self, selection: Selection, partitions: int) -> None:
        """Decides as `selection` says; repeated ids and clusters meet in `partitions` groups."""
        super().__init__()
        self._selection = selection
        self._partitions = partitions

    def expand(self, parts: PCollection[NumberedPart]) -> PCollection[str]:
        """Finds repeated rows, then cuts, then keepers, then commits the ledgers."""
        selection, partitions = self._selection, self._partitions
        repeated = (
            parts
            | "Ids" >> beam.FlatMap(_row_ids, selection, partitions)
            | "GroupIds" >> beam.GroupByKey()
            | "Repeated" >> beam.FlatMapTuple(_repeated)
        )
        decidable = (
            {"part": parts | "ByNumber" >> beam.WithKeys(number_key), "repeated": repeated}
            | "JoinRepeated" >> beam.CoGroupByKey()
            | "Decidable" >> beam.MapTuple(_decidable)
        )
        wanted = decidable | "Wanted" >> beam.Filter(_is_wanted)
        cuts = (
            wanted
            | "Cuts" >> FindCuts(selection)
            | "CommitCuts" >> beam.Map(commit_cuts, selection.ledgers[selection.intake])
        )
        keepers = (
            decidable
            | "Candidates" >> beam.FlatMap(_candidates, selection, partitions, AsSingleton(cuts))
            | "GroupClusters" >> beam.GroupByKey()
            | "Keepers" >> beam.FlatMap(_keepers, selection.recipe)
        )
        return (
            {"part": wanted | "ByNumberAgain" >> beam.WithKeys(_decidable_key), "keepers": keepers}
            | "JoinKeepers" >> beam.CoGroupByKey()
            | "Commit" >> beam.FlatMap(_commit, selection, AsSingleton(cuts))
        )


class FindCuts(beam.PTransform[PCollection[tuple[NumberedPart, bytes]], PCollection[Cuts]]):
    """Decidable parts → the cuts of all quantile rules, one tuple."""

    def __init__(self, selection: Selection) -> None:
        """Keeps frozen cuts, and searches the rest, rule by rule."""
        super().__init__()
        self._selection = selection

    def expand(self, parts: PCollection[tuple[NumberedPart, bytes]]) -> PCollection[Cuts]:
        """Narrows each cut down digit by digit; see `transforms.decisions.quantiles`.

        What is known so far is only ever a side input. Where one collection is the main input of
        one step and a side input of another, Beam 2.77 takes a reader of it for its producer, now
        and then runs steps before their side inputs are there, and counts come out as zero.
        """
        selection, pipeline = self._selection, parts.pipeline
        cuts = pipeline | "Frozen" >> beam.Create([selection.frozen_cuts])
        rules = quantile_rules(selection.recipe.select.rules)
        for number, rule in enumerate(rules[len(selection.frozen_cuts) :]):
            search = pipeline | f"Start{number}" >> beam.Create([Search(rule)])
            for turn in range(Search(rule).rounds):
                histogram = (
                    parts
                    | f"Count{number}.{turn}"
                    >> beam.Map(_count, selection, rule, AsSingleton(cuts), AsSingleton(search))
                    | f"Add{number}.{turn}" >> beam.CombineGlobally(_add_histograms)
                )
                search = (
                    pipeline
                    | f"Turn{number}.{turn}" >> beam.Create([None])
                    | f"Narrow{number}.{turn}"
                    >> beam.Map(_narrow, AsSingleton(search), AsSingleton(histogram))
                )
            ties = (
                parts
                | f"Ties{number}"
                >> beam.Map(_collect, selection, rule, AsSingleton(cuts), AsSingleton(search))
                | f"Gather{number}" >> beam.CombineGlobally(b"".join)
            )
            cuts = (
                pipeline
                | f"End{number}" >> beam.Create([None])
                | f"Settle{number}"
                >> beam.Map(_settle, AsSingleton(cuts), AsSingleton(search), AsSingleton(ties))
            )
        return cuts


def _row_ids(
    part: NumberedPart, selection: Selection, partitions: int
) -> Iterator[tuple[str, bytes]]:
    table, earlier, rows = selection.read_identity(part)
    usable = np.flatnonzero(refuse_unusable(table) == Verdict.SURVIVES)
    ids = _words(table, "sample_id", usable)
    digests = _words(table, "row_digest", usable)
    records = np.zeros(len(usable), dtype=_ROW)
    records["hi"], records["lo"] = ids[:, 0], ids[:, 1]
    records["digest_hi"], records["digest_lo"] = digests[:, 0], digests[:, 1]
    records["part"], records["row"] = part.number, rows[usable]
    records["earlier"] = earlier[usable]
    yield from split_by_partition(records, partitions)


def _words(table: pa.Table, name: str, rows: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    packed = np.ascontiguousarray(id_bytes(column(table, name)))
    return packed.view(">u8").astype(np.uint64)[rows]


def _hex(hi: npt.NDArray[np.uint64], lo: npt.NDArray[np.uint64]) -> pa.Array:
    return pa.array([f"{one:016x}{two:016x}" for one, two in zip(hi, lo, strict=True)], pa.string())


def _repeated(_partition: str, packed: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    records = unpack(packed, _ROW)
    # Hardly any id repeats: looking for equal first halves spares sorting all records.
    heads = np.ascontiguousarray(records["hi"])
    several = records[np.isin(heads, repeated_values(heads))]
    mask = find_duplicate_rows(
        _hex(several["hi"], several["lo"]),
        _hex(several["digest_hi"], several["digest_lo"]),
        several["part"],
        several["row"],
        several["earlier"],
    )
    dropped = np.zeros(int(mask.sum()), dtype=_DUPLICATE)
    for name in ("hi", "lo", "part", "row"):
        dropped[name] = several[name][mask]
    yield from split_by_part(dropped)


def _decidable(_number: str, joined: dict[str, Iterable[Any]]) -> tuple[NumberedPart, bytes]:
    (part,) = joined["part"]
    return part, b"".join(joined["repeated"])


def _is_wanted(decidable: tuple[NumberedPart, bytes]) -> bool:
    return is_wanted(decidable[0])


def _decidable_key(decidable: tuple[NumberedPart, bytes]) -> str:
    return number_key(decidable[0])


def _verdicts(
    decidable: tuple[NumberedPart, bytes], selection: Selection, cuts: Cuts
) -> tuple[pa.Table, Mask, Verdicts]:
    """Returns the columns of a part, which rows were kept earlier, and the verdicts so far."""
    part, packed = decidable
    table, earlier, rows = selection.read(part)
    repeated = np.frombuffer(packed, dtype=_DUPLICATE_OF_PART)["row"]
    verdicts = decide_rows(
        table,
        selection.recipe.select.rules,
        selection.recipe.seed,
        np.isin(rows, repeated),
        selection.taken_down(table),
        cuts,
    )
    return table, earlier, mark_kept_earlier(verdicts, earlier)


def _count(
    decidable: tuple[NumberedPart, bytes],
    selection: Selection,
    rule: Rule,
    cuts: Cuts,
    search: Search,
) -> Histogram:
    table, _, verdicts = _verdicts(decidable, selection, cuts)
    return count_digits(rank_rows(table, rule, selection.recipe.seed, verdicts), search)


def _add_histograms(histograms: Iterable[Histogram]) -> Histogram:
    total = np.zeros(1 << 16, dtype=np.int64)
    for histogram in histograms:
        total += histogram
    return total


def _collect(
    decidable: tuple[NumberedPart, bytes],
    selection: Selection,
    rule: Rule,
    cuts: Cuts,
    search: Search,
) -> bytes:
    table, _, verdicts = _verdicts(decidable, selection, cuts)
    ranking = rank_rows(table, rule, selection.recipe.seed, verdicts)
    return collect_ties(ranking, search).tobytes()


def _narrow(_: None, search: Search, histogram: Histogram) -> Search:
    return narrow(search, histogram)


def _settle(_: None, cuts: Cuts, search: Search, ties: bytes) -> Cuts:
    rows = np.frombuffer(ties, dtype=np.uint8).reshape(-1, 24)
    return (*cuts, settle(search, rows))


def _candidates(
    decidable: tuple[NumberedPart, bytes], selection: Selection, partitions: int, cuts: Cuts
) -> Iterator[tuple[str, bytes]]:
    """Yields the best survivor of each cluster of a part."""
    if not selection.recipe.dedupe.edges:
        return
    table, earlier, verdicts = _verdicts(decidable, selection, cuts)
    rows = clustered_rows(table, verdicts)
    chosen = table.take(rows)
    keys = keeper_keys(chosen, selection.recipe.dedupe.prefer, earlier[rows])
    clusters = id_bytes(column(chosen, CLUSTER_COLUMN))
    records = np.zeros(len(rows), dtype=_candidate(selection.recipe))
    words = np.ascontiguousarray(clusters).view(">u8").astype(np.uint64)
    records["hi"], records["lo"] = words[:, 0], words[:, 1]
    records["key"] = keys
    records["part"] = decidable[0].number
    yield from split_by_partition(_best(records), partitions)


def _candidate(recipe: Recipe) -> np.dtype[np.void]:
    key = ("key", "u1", (key_width(recipe.dedupe.prefer),))
    return np.dtype([("hi", "<u8"), ("lo", "<u8"), key, ("part", "<i4")])


def _best(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Returns, for each cluster, the record with the smallest key, sorted by cluster."""
    ordered = records[np.lexsort((*records["key"].T[::-1], records["lo"], records["hi"]))]
    return ordered[run_starts(ordered)]


def _keepers(group: tuple[str, Iterable[bytes]], recipe: Recipe) -> Iterator[tuple[str, bytes]]:
    """Yields, to every part that has a cluster, who is kept of it."""
    records = unpack(group[1], _candidate(recipe))
    records = records[sort_order(records)]
    sizes = np.diff(np.append(run_starts(records), len(records)))
    best = np.ascontiguousarray(_best(records)["key"][:, -16:]).view(">u8").astype(np.uint64)
    answers = np.zeros(len(records), dtype=_KEEPER)
    for name in ("hi", "lo", "part"):
        answers[name] = records[name]
    answers["keeper_hi"] = np.repeat(best[:, 0], sizes)
    answers["keeper_lo"] = np.repeat(best[:, 1], sizes)
    yield from split_by_part(answers)


def _commit(
    element: tuple[str, dict[str, Iterable[Any]]], selection: Selection, cuts: Cuts
) -> Iterator[str]:
    joined = element[1]
    for decidable in joined["part"]:
        part = decidable[0]
        table, _, verdicts = _verdicts(decidable, selection, cuts)
        answers = unpack(joined["keepers"], _KEEPER_OF_PART)
        keepers = pa.Table.from_arrays(
            [
                _hex(answers["hi"], answers["lo"]),
                _hex(answers["keeper_hi"], answers["keeper_lo"]),
            ],
            schema=KEEPERS,
        )
        verdicts = drop_duplicates(table, verdicts, keepers)
        keeper_ids = keepers_of(column(table, CLUSTER_COLUMN), keepers)
        ledger = build_ledger(table, part.file.part, selection.recipe, verdicts, keeper_ids)
        counts = {
            outcome.reason or outcome.decision: rows for outcome, rows in summarise(ledger).items()
        }
        commit_table(
            selection.ledgers[selection.intake],
            part.file,
            ledger,
            {"rows": len(ledger), **counts},
            kept_splits(table, ledger, selection.recipe.split),
        )
        beat("select", len(ledger))
        yield part.file.name
