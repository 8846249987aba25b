"""What can go wrong with a mixture: a bad sample is masked, a bad shard stops the run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Defect(StrEnum):
    """Why a sample could not be used, as the loader's ledger says it."""

    IMAGE_MISSING = "image_missing"
    IMAGE_UNREADABLE = "image_unreadable"
    IMAGE_TOO_LARGE = "image_too_large"
    TEXT_MISSING = "text_missing"
    TEXT_EMPTY = "text_empty"
    TEXT_TOO_LARGE = "text_too_large"
    TEXT_NOT_UTF8 = "text_not_utf8"
    METADATA_INVALID = "metadata_invalid"
    METADATA_TOO_LARGE = "metadata_too_large"
    ARRAY_MISSING = "array_missing"
    ARRAY_INVALID = "array_invalid"


class BadSampleError(Exception):
    """One sample cannot be used; its row of the batch is masked and the ledger gets a line."""

    def __init__(self, defect: Defect, detail: str) -> None:
        super().__init__(f"{defect}: {detail}")
        self.defect = defect
        self.detail = detail


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a batch that is masked.

    Attributes:
        row: position in the global batch.
        source: name of the source.
        shard: path of the tar, relative to its folder.
        key: key of the sample.
        defect: what is wrong with it.
        detail: what was found, for people.
    """

    row: int
    source: str
    shard: str
    key: str
    defect: Defect
    detail: str


class ShardError(Exception):
    """A shard or its index is missing, or is not the one that the manifest names."""


class TooManyBadSamplesError(Exception):
    """More samples are bad than the loader was told to accept."""
