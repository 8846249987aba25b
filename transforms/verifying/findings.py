"""What verifying finds: for each check, how much of it is fine, and every problem by name."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

MOST_PROBLEMS = 100
"""Problems of a check that are kept with their text; further ones are counted."""

UNREADABLE = (OSError, pa.ArrowException, UnicodeDecodeError, json.JSONDecodeError)
"""What a damaged Parquet or JSON file raises when it is read."""

RUN_AGAIN = "remove it and run `mixwright run` again: what is missing is made again"


class Check(StrEnum):
    """The checks, in the order in which they are made. The value is the word that people see."""

    ROWS = "rows"
    COLUMNS = "columns"
    MEDIA = "media"
    LEDGER = "ledger"
    BOOKS = "books"
    SHARDS = "shards"
    MEMBERS = "members"
    PAIRS = "pairs"
    KEPT = "kept"
    MANIFESTS = "manifests"


PROMISES: dict[Check, str] = {
    Check.ROWS: "Every part of a sealed intake is there, and its ids and digests are right.",
    Check.COLUMNS: "Every family of columns has the rows of ingest, in their order.",
    Check.MEDIA: "Every stored media file has the bytes that its id names.",
    Check.LEDGER: "Every input has one ledger row, and it says what the rules say.",
    Check.BOOKS: "Inputs are kept or dropped, per source and reason.",
    Check.SHARDS: "Every shard and index has the bytes that index and manifest state.",
    Check.MEMBERS: "Every member is where its index says, and samples are contiguous.",
    Check.PAIRS: "Every sample in a shard has the image and the texts that ingest paired.",
    Check.KEPT: "Every kept sample is in one shard of its source, or in the events; no other is.",
    Check.MANIFESTS: "Every manifest names the committed shards, and its root is theirs.",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be.

    Attributes:
        file: full path or URI of the file.
        found: what is there.
        expected: what should be.
        remedy: what to do.
    """

    file: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.file}: {self.found}; expected {self.expected}. Remedy: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check came to.

    Attributes:
        check: its name.
        passed: how many things are as they should be.
        failed: how many are not.
        problems: the first `MOST_PROBLEMS` of them.
        note: why there was nothing to check; empty where there was.
    """

    check: Check
    passed: int
    failed: int
    problems: tuple[Problem, ...] = ()
    note: str = ""


class Tally:
    """Counts of several checks while they are made; tallies of disjoint things add up."""

    def __init__(self) -> None:
        self._passed: Counter[Check] = Counter()
        self._failed: Counter[Check] = Counter()
        self._problems: defaultdict[Check, list[Problem]] = defaultdict(list)

    def good(self, check: Check, things: int = 1) -> None:
        """Counts things that are as they should be."""
        self._passed[check] += things

    def bad(self, check: Check, problem: Problem) -> None:
        """Counts a thing that is not."""
        self._failed[check] += 1
        if len(self._problems[check]) < MOST_PROBLEMS:
            self._problems[check].append(problem)

    def add(self, other: Tally) -> None:
        """Adds the counts of another tally, whose problems come after those of this one."""
        self._passed.update(other._passed)
        self._failed.update(other._failed)
        for check, problems in other._problems.items():
            kept = self._problems[check]
            kept.extend(problems[: MOST_PROBLEMS - len(kept)])

    def failed(self, check: Check) -> int:
        """Returns how many things of a check are not as they should be."""
        return self._failed[check]

    def finding(self, check: Check, note: str = "") -> Finding:
        """Returns what a check came to; `note` is left out where anything was checked."""
        passed, failed = self._passed[check], self._failed[check]
        shown = "" if passed or failed else note
        return Finding(check, passed, failed, tuple(self._problems[check]), shown)

    @contextmanager
    def reading(self, check: Check, file: str, remedy: str = RUN_AGAIN) -> Iterator[None]:
        """Turns a file that is missing or cannot be read into a problem of `check`."""
        try:
            yield
        except FileNotFoundError as error:
            missing = str(error.filename or file)
            self.bad(check, Problem(missing, "is missing", "a committed file", remedy))
        except UNREADABLE as error:
            said = str(error).strip() or type(error).__name__
            reason = f"cannot be read ({said.splitlines()[0]})"
            self.bad(check, Problem(file, reason, "the file as it was committed", remedy))
