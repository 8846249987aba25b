"""Reads a work directory again, whole, and says of every check what it came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

from schemas import layout
from schemas.recipe import SplitName
from storage.folders import Folder
from transforms.decisions.cuts import CUTS, read_cuts
from transforms.decisions.families import CLUSTER_FAMILY, read_suppressions
from transforms.measure.threads import decoding_pool
from transforms.parts.tables import list_committed
from transforms.verifying.columns import check_columns
from transforms.verifying.findings import RUN_AGAIN, Check, Finding, Problem, Tally
from transforms.verifying.interleaved import check_interleaved
from transforms.verifying.ledgers import Books, DecidedIntake, check_balance, check_ledgers
from transforms.verifying.manifests import check_manifests, read_manifest
from transforms.verifying.media import check_media
from transforms.verifying.rows import check_rows
from transforms.verifying.series import check_series, scan_series
from transforms.verifying.tars import HELD, ScannedShard
from transforms.work import Intake, Work

_STAGES = ("measure", "count", "dedupe", "select", "shards", "mix")
"""Top folders of what the stages after ingest leave, in order."""

_FINISH = "run `mixwright run` with this work directory: it goes on where it stopped"
_NOT_YET = "not run yet"


def verify(work: Work, threads: int = 0) -> Iterator[Finding]:
    """Yields what each check came to, in the order of `Check`, as soon as it has been made.

    Everything up to the last stage that has left anything should be whole; what comes after it has
    not been run, which is no fault. All bytes are read: tars as streams, tables part by part. Of
    each kept sample 16 to 100 bytes are held.

    Args:
        work: the work directory.
        threads: that read, hash and decode; 0 takes one for each core.
    """
    with decoding_pool(threads) as pool:
        yield from _verify(work, pool)


def _verify(work: Work, pool: Executor) -> Iterator[Finding]:
    intakes = work.intakes()
    files = work.parts(*intakes)
    reached = _reached(work)
    tally, inputs = check_rows(work, intakes, pool)
    yield tally.finding(Check.ROWS, "no intake is sealed yet")
    tally = Tally()
    for number, intake in enumerate(intakes):
        known = work.parts(*intakes[: number + 1])
        families = work.families(known).families
        begun = {
            family: folder
            for family, folder in families.items()
            if _begun(folder, family, family.partition("/")[0], reached, Check.COLUMNS, tally)
        }
        own = work.parts(intake)
        tally.add(check_columns(work.ingest, begun, own, pool))
        # Clusters reach over all intakes so far.
        clusters = {name: begun[name] for name in begun.keys() & {CLUSTER_FAMILY}}
        earlier = sorted(set(known) - set(own), key=lambda file: file.part)
        tally.add(check_columns(work.ingest, clusters, earlier, pool))
    yield tally.finding(Check.COLUMNS, _NOT_YET)
    yield check_media(work.ingest, files, pool).finding(Check.MEDIA, "no media are stored")
    books, whole = _check_ledgers(work, intakes, reached, pool)
    yield books.tally.finding(Check.LEDGER, _NOT_YET)
    balance = check_balance(inputs, books, work.folder) if books.outcomes else Tally()
    yield balance.finding(Check.BOOKS, _NOT_YET)
    tally = _check_release(work, pool) if whole else _check_manifests_alone(work)
    for check in (Check.SHARDS, Check.MEMBERS, Check.PAIRS, Check.KEPT, Check.MANIFESTS):
        yield tally.finding(check, _NOT_YET)


def _reached(work: Work) -> int:
    """Returns how many stages after ingest there are up to the last that has left anything."""
    left = [any(True for _ in work.folder.list(f"{stage}/")) for stage in _STAGES]
    return max((number for number, any_left in enumerate(left, 1) if any_left), default=0)


def _begun(folder: Folder, name: str, stage: str, reached: int, check: Check, tally: Tally) -> bool:
    """Returns whether a family has any part; says so where it should have and has not."""
    if list_committed(folder):
        return True
    if _STAGES.index(stage) + 1 <= reached:
        found = f"has no part of {name} under the recipe in {layout.LOCK}"
        wanted = "all parts, since a later stage has been run or the recipe was changed"
        tally.bad(check, Problem(folder.uri, found, wanted, _FINISH))
    return False


def _check_ledgers(
    work: Work, intakes: Sequence[Intake], reached: int, pool: Executor
) -> tuple[Books, bool]:
    """Returns the books, and whether every intake has all its ledgers."""
    ledgers = work.ledgers()
    suppressed = read_suppressions(work.folder)
    missing = Tally()
    decided: list[DecidedIntake] = []
    for number, intake in enumerate(intakes):
        ledger = ledgers[intake.name]
        if not _begun(ledger, "the ledger", "select", reached, Check.LEDGER, missing):
            continue
        with missing.reading(Check.LEDGER, ledger.locate(CUTS), RUN_AGAIN):
            decided.append(
                DecidedIntake(
                    name=intake.name,
                    ledger=ledger,
                    families=work.families(work.parts(*intakes[: number + 1])),
                    files=work.parts(intake),
                    recipe=work.recipe,
                    cuts=read_cuts(ledger),
                    suppressed=suppressed,
                )
            )
    books = check_ledgers(decided, pool)
    books.tally.add(missing)
    whole = len(decided) == len(intakes) > 0 and all(
        set(one.files) <= set(list_committed(one.ledger).values()) for one in decided
    )
    return books, whole


def _check_release(work: Work, pool: Executor) -> Tally:
    """Checks shards and manifests against ledgers that are whole."""
    tally = Tally()
    if not any(True for _ in work.folder.list("shards/")):
        return tally
    ledgers = work.ledgers()
    mixed = any(mixture.interleave for mixture in work.recipe.mixtures)
    names = [source.name for source in work.recipe.sources]
    splits = work.recipe.split.names
    shards: dict[SplitName, dict[str, list[ScannedShard]]] = {
        split: {name: [] for name in names} for split in splits
    }
    samples: dict[SplitName, dict[str, list[npt.NDArray[np.void]]]] = {
        split: {name: [np.empty(0, HELD)] for name in names} for split in splits
    }
    for series in work.series():
        scanned = scan_series(work, series, pool, tally)
        check_series(scanned, work, ledgers[series.intake], pool, tally)
        for shard in scanned.shards:
            # The samples of a whole release are held for its pre-mixed series only.
            shards[series.split][series.source].append(ScannedShard(shard.name, shard.shard))
        if mixed:
            samples[series.split][series.source].append(scanned.samples)
    if any(True for _ in work.folder.list("mix/")):
        check_manifests(work, shards, tally)
        for mixture in work.recipe.mixtures:
            if mixture.interleave:
                of_split = samples[mixture.split]
                ranked = {source: np.concatenate(ones) for source, ones in of_split.items()}
                check_interleaved(work, mixture, ranked, pool, tally)
    return tally


def _check_manifests_alone(work: Work) -> Tally:
    """Checks that manifests name shards that are there, where ledgers are not whole."""
    tally = Tally()
    for entry in work.folder.list("mix/"):
        if entry.name.endswith("manifest.json"):
            read_manifest(work, entry.name, tally)
    return tally
