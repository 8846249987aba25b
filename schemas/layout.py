"""Names of everything below a work directory, relative to it.

A part's files are named `<stem>.v<version>.parquet`, where the stem is `<source>/<intake>/<part>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LOCK = "recipe.lock.toml"
REPORT = "card/report.html"
SUPPRESSIONS = "suppressions.txt"
INTAKES = "intakes"
EVENTS = "events.parquet"

_COMMITTED = re.compile(r"^(?P<stem>.*part-[0-9a-f]{16})\.v(?P<version>[1-9]\d*)\.parquet$")


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """A part of a source's intake: the unit of work, of storage and of commit.

    Attributes:
        intake: name of the sealed intake.
        source: name of the source.
        name: `part-` and 16 hex digits of the digest of the input slice that it covers.
    """

    intake: str
    source: str
    name: str

    @property
    def stem(self) -> str:
        """`<source>/<intake>/<part>`: the part's name below any family."""
        return f"{self.source}/{self.intake}/{self.name}"


def committed_name(stem: str, version: int) -> str:
    """Returns the name of a committed part file."""
    return f"{stem}.v{version}.parquet"


def parse_committed(name: str) -> tuple[str, int] | None:
    """Splits a committed part file's name into (stem, version); None for any other name."""
    match = _COMMITTED.match(name)
    return (match["stem"], int(match["version"])) if match else None


def intake_record(number: int) -> str:
    """Returns the name of the seal of the intake that came in as number `number`, from 0."""
    return f"{INTAKES}/{number:06d}.json"


def parts_table(source: str, intake: str) -> str:
    """Returns the name of the table of parts of a sealed intake."""
    return f"ingest/{source}/{intake}/parts.parquet"


def family(name: str, fingerprint: str) -> str:
    """Returns the folder of a column family, for example `measure/image/<fingerprint>`."""
    return f"{name}/{fingerprint}"


def stage_record(stage: str) -> str:
    """Returns the name of a stage's record: fingerprints, counts, rates, seconds."""
    return f"runs/{stage}.json"


def shard_folder(source: str, intake: str, split: str, digest: str) -> str:
    """Returns the folder of the shards of one split of a source's intake."""
    return f"shards/{source}/{intake}/{split}-{digest}"


def manifest(mixture: str) -> str:
    """Returns the name of a mixture's manifest."""
    return f"mix/{mixture}/manifest.json"


def interleaved_manifest(mixture: str) -> str:
    """Returns the name of the manifest of a mixture's pre-mixed series."""
    return f"mix/{mixture}/interleaved/manifest.json"


def interleaved_folder(mixture: str, digest: str) -> str:
    """Returns the folder of the shards of a mixture's pre-mixed series."""
    return f"mix/{mixture}/interleaved/{digest}"
