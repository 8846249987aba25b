"""What a pipeline is given: small descriptions of parts, a few hundred bytes each."""

from __future__ import annotations

from dataclasses import dataclass

from transforms.parts.tables import PartFile


@dataclass(frozen=True, slots=True)
class NumberedPart:
    """A committed ingest part with its place among all parts that a global stage reads.

    Attributes:
        number: position in the sorted list of parts, from 0: short enough to cross a shuffle.
        file: the part, and the ingest version that is read.
        rows: its rows.
        wanted: the stage has to answer for this part; False where it is only read (the parts of
            earlier intakes, and those that are done).
    """

    number: int
    file: PartFile
    rows: int
    wanted: bool = True


def is_wanted(part: NumberedPart) -> bool:
    """Returns whether the stage has to answer for the part."""
    return part.wanted


def number_key(part: NumberedPart) -> str:
    """Returns the part's number as a shuffle key."""
    return str(part.number)
