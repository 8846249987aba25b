"""Decides a million rows of 20 signals again: `slice` in process, and the stage `select`.

Against a bare loop over the same columns that reads them with pyarrow on threads and evaluates the
same conditions with numpy: no alignment check, no repeated rows, no duplicates, no ledger.

python -m benchmarks.select
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq

from benchmarks.figures import Figure, median_ratio, report, take_turns
from benchmarks.measured_work import make_recipe, write_measured_work
from pipelines import select
from pipelines.engine import LocalEngine
from pipelines.jobs import Settings
from pipelines.recipes import resolve
from schemas.keep import Between, Compare, Is, IsEmpty, Member
from transforms.decisions.columns import required_columns
from transforms.looking.slicing import compare_outcomes, decide_outcomes, read_outcomes
from transforms.work import Work

ROWS = 1_000_000
ROUNDS = 5
THREADS = 8
SETTING = "image_too_small=> 300"

MASKS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    ">": np.greater,
    ">=": np.greater_equal,
    "<": np.less,
    "<=": np.less_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


def slice_in_process(work: Work) -> int:
    """Does what `mixwright slice --set …` does once Python has started; returns rows kept."""
    changed = resolve(work.recipe.model_dump(mode="json", exclude_none=True), [SETTING])
    before = read_outcomes(work)
    after = decide_outcomes(Work(work.folder, changed))
    comparison = compare_outcomes(work, before or after, after)
    return sum(outcomes["kept"] for outcomes in comparison.after.values())


def slice_as_command(work: Work) -> None:
    command = [sys.executable, "-m", "pipelines.cli.main", "slice", work.folder.uri]
    subprocess.run([*command, "--set", SETTING], check=True, stdout=subprocess.DEVNULL)


def run_select(work: Work) -> None:
    """Runs the stage through Beam on the local engine; ledgers are written and synced."""
    shutil.rmtree(Path(work.folder.uri, "select"), ignore_errors=True)
    for job in select.jobs(work, Settings()):
        LocalEngine().execute(job.build)


def bare_masks(work: Work) -> int:
    """Reads the columns that rules and preferences name, and evaluates the rules as masks."""
    parts = work.parts(*work.intakes())
    folders = work.families(parts).families
    wanted = required_columns(work.recipe)

    def kept(name: str) -> int:
        columns = {}
        pq.read_table(
            f"{work.ingest.uri}/{name}", columns=["sample_id", "row_digest", "status", "error"]
        )
        for family, signals in wanted.items():
            table = pq.read_table(f"{folders[family].uri}/{name}", columns=list(signals))
            columns |= {signal: table[signal].to_numpy() for signal in signals}
        mask = None
        for rule in work.recipe.select.rules:
            values = columns[rule.signal]
            match rule.parsed:
                case Compare(sign, number):
                    one = MASKS[sign](values, number)
                case Between(low, high):
                    one = (values >= low) & (values <= high)
                case Member(members, _):
                    one = np.isin(values, np.array(members, object))
                case Is(value):
                    one = values == value
                case IsEmpty():
                    one = values == ""
                case other:
                    raise ValueError(f"the loop has no mask for {other}")
            mask = one if mask is None else mask & one
        return int(mask.sum())

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(kept, [part.name for part in parts]))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = write_measured_work(folder, ROWS, make_recipe())
        run_select(work)
        slice_in_process(work)
        seconds = take_turns(
            ROUNDS,
            slice=lambda: slice_in_process(work),
            bare=lambda: bare_masks(work),
            select=lambda: run_select(work),
            command=lambda: slice_as_command(work),
        )
    slices, bare = seconds["slice"], seconds["bare"]
    report(
        "select",
        [
            Figure("slice_seconds_1m", median(slices), "s", "<=", 3),
            Figure("slice_command_seconds_1m", median(seconds["command"]), "s", "<=", 3),
            Figure("select_stage_seconds_1m", median(seconds["select"]), "s", "<=", 6),
            Figure("slice_time_vs_bare_mask_loop", median_ratio(slices, bare), "ratio", "<=", 2),
        ],
    )


if __name__ == "__main__":
    main()
