"""Keeps the books of bad samples: a line for each, and a stop when there are too many."""

from __future__ import annotations

import json
from pathlib import Path

from trainer.loader.batch import Batch
from trainer.loader.errors import TooManyBadSamplesError

_FIRST_ROWS = 1000
"""The rate is not judged on fewer rows: one bad sample in the first batch is no catastrophe."""

_SHOWN = 3


class Ledger:
    """Counts the rows that a loader delivers, and writes down the bad ones.

    A line is a JSON object with `step`, `row`, `source`, `shard`, `key`, `defect` and `detail`. A
    run that resumes appends, so a step that is done again is written again.
    """

    def __init__(self, path: Path | None, max_bad_rate: float) -> None:
        """Sets up a ledger.

        Args:
            path: JSONL file to append to; None only counts.
            max_bad_rate: share of bad rows above which `record` raises.
        """
        self._path = path
        self._max_bad_rate = max_bad_rate
        self.rows = 0
        self.bad = 0

    def record(self, batch: Batch) -> None:
        """Takes a delivered batch to the books.

        Raises:
            TooManyBadSamplesError: the whole batch is bad, or more than the accepted share of all
                rows so far (of the first 1,000 at least).
        """
        self.rows += len(batch.keys)
        self.bad += len(batch.bad)
        if not batch.bad:
            return
        if self._path is not None:
            self._append(self._path, batch)
        accepted = self._max_bad_rate * max(self.rows, _FIRST_ROWS)
        if self.bad > accepted or len(batch.bad) == len(batch.keys):
            shown = "; ".join(
                f"{row.shard} {row.key}: {row.defect} ({row.detail})" for row in batch.bad[:_SHOWN]
            )
            raise TooManyBadSamplesError(
                f"step {batch.step}: {self.bad} of {self.rows} samples are bad, accepted are "
                f"{self._max_bad_rate:.2%}. The last ones: {shown}. Look at the ledger "
                f"{self._path or '(none was asked for)'}, rebuild the mixture without them, or "
                "raise max_bad_rate"
            )

    def _append(self, path: Path, batch: Batch) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps(
                {
                    "step": batch.step,
                    "row": row.row,
                    "source": row.source,
                    "shard": row.shard,
                    "key": row.key,
                    "defect": row.defect,
                    "detail": row.detail,
                }
            )
            for row in batch.bad
        ]
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
