"""N-grams: how frequent the rarest unigram or bigram of a text is in the corpus.

ALIGN drops texts with "any rare token", outside the 100 million most frequent unigrams and bigrams
of the raw dataset (arXiv 2102.05918, section 3). Unigrams and bigrams are ranked in one list, by
(occurrences descending, digest ascending): the paper does not say how ties at the cut are broken.
Only digests cross a shuffle, and no worker ever holds the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.pvalue import AsSingleton, PCollection

from schemas.digests import digest
from schemas.tables import family_schema
from storage.folders import Folder
from transforms.counts.keys import (
    ASK,
    KEY,
    Records,
    asks,
    distinct,
    look_up,
    split_by_part,
    split_by_partition,
    sum_by_key,
    unpack,
)
from transforms.counts.vocabulary import Cut, CutVocabulary
from transforms.parts.tables import PartFile, commit_table, read_table
from transforms.parts.work import NumberedPart, is_wanted, number_key
from transforms.signals.words import ngrams, unigrams

FAMILY = "count/ngrams"

_ANSWER = np.dtype(
    [
        ("hi", "<u8"),
        ("lo", "<u8"),
        ("n", "<i8"),
        ("rank", "<i8"),
        ("inside", "?"),
        ("part", "<i4"),
    ]
)
_ANSWERED = np.dtype([(name, _ANSWER[name]) for name in _ANSWER.names or () if name != "part"])


@dataclass(frozen=True)
class TextNgrams:
    """The n-grams of a part's texts, flat.

    Attributes:
        sample_ids: ids of all rows.
        keys: keys (`KEY`) of the n-grams of all texts, row after row, repetitions included.
        rows: the row of each key, ascending.
    """

    sample_ids: pa.Array
    keys: Records
    rows: npt.NDArray[np.int64]


def read_ngrams(ingest: Folder, file: PartFile) -> TextNgrams:
    """Reads the texts of a part and returns their n-grams."""
    table = read_table(ingest, file.name, ["sample_id", "text"]).combine_chunks()
    seen: dict[str, bytes] = {}
    packed: list[bytes] = []
    lengths: list[int] = []
    for text in table["text"].to_pylist():
        grams = ngrams(unigrams(text)) if text is not None else []
        for gram in grams:
            key = seen.get(gram)
            if key is None:
                key = seen[gram] = digest(gram)
            packed.append(key)
        lengths.append(len(grams))
    return TextNgrams(
        sample_ids=table["sample_id"],
        keys=np.frombuffer(b"".join(packed), dtype=KEY),
        rows=np.repeat(np.arange(len(lengths)), lengths),
    )


def answer_ngrams(packed: Iterable[bytes], cut: Cut) -> Iterator[tuple[str, bytes]]:
    """Yields (part number, packed answers): total, rank and membership of what each part asked."""
    records = unpack(packed, ASK)
    totals = sum_by_key(records)
    asked = records[records["part"] >= 0]
    found = totals[look_up(totals, asked)]
    answers = np.zeros(len(asked), dtype=_ANSWER)
    for name in ("hi", "lo", "part"):
        answers[name] = asked[name]
    answers["n"] = found["n"]
    answers["rank"] = cut.rank(found["n"])
    answers["inside"] = cut.contains(found)
    yield from split_by_part(answers)


class CountNgrams(beam.PTransform[PCollection[NumberedPart], PCollection[str]]):
    """Parts → the names of the committed files of `count/ngrams`."""

    def __init__(
        self,
        ingest: Folder,
        family: Folder,
        partitions: int,
        vocabulary_size: int,
        min_count: int,
    ) -> None:
        """Reads parts below `ingest`, commits below `family`; see `schemas.recipe.Count`."""
        super().__init__()
        self._ingest = ingest
        self._family = family
        self._partitions = partitions
        self._vocabulary_size = vocabulary_size
        self._min_count = min_count

    def expand(self, parts: PCollection[NumberedPart]) -> PCollection[str]:
        """Counts n-grams, finds the cut of the vocabulary, and joins both to the parts."""
        grouped = (
            parts
            | "Ask" >> beam.FlatMap(partial(_ask, ingest=self._ingest, partitions=self._partitions))
            | "Group" >> beam.GroupByKey()
        )
        cut = grouped | "Cut" >> CutVocabulary(self._vocabulary_size, self._min_count)
        answers = grouped | "Answer" >> beam.FlatMap(_answer, AsSingleton(cut)).with_output_types(
            tuple[str, bytes]
        )
        wanted = (
            parts | "Wanted" >> beam.Filter(is_wanted) | "ByNumber" >> beam.WithKeys(number_key)
        )
        return (
            {"answers": answers, "part": wanted}
            | "Join" >> beam.CoGroupByKey()
            | "Commit" >> beam.MapTuple(partial(_commit, ingest=self._ingest, family=self._family))
        )


def _ask(part: NumberedPart, ingest: Folder, partitions: int) -> Iterator[tuple[str, bytes]]:
    found = read_ngrams(ingest, part.file)
    records = asks(found.keys, part.number if part.wanted else -1)
    return split_by_partition(records, partitions)


def _answer(group: tuple[str, Iterable[bytes]], cut: Cut) -> Iterator[tuple[str, bytes]]:
    return answer_ngrams(group[1], cut)


def _commit(_number: str, joined: dict[str, Iterable[Any]], ingest: Folder, family: Folder) -> str:
    (part,) = joined["part"]
    found = read_ngrams(ingest, part.file)
    answers = distinct(unpack(joined["answers"], _ANSWERED))
    table = ngram_columns(found, answers[look_up(answers, found.keys)])
    commit_table(family, part.file, table, {"rows": len(table)})
    return str(part.file.name)


def ngram_columns(found: TextNgrams, answers: Records) -> pa.Table:
    """Returns the columns of `count/ngrams` of a part.

    Args:
        found: the n-grams of the part's texts.
        answers: for each of `found.keys`, its total, rank and membership.
    """
    size = len(found.sample_ids)
    rarest = np.full(size, np.iinfo(np.int64).max)
    rank = np.zeros(size, dtype=np.int64)
    np.minimum.at(rarest, found.rows, answers["n"])
    np.maximum.at(rank, found.rows, answers["rank"])
    outside = np.bincount(found.rows, weights=~answers["inside"], minlength=size).astype(np.int32)
    wordless = rank == 0
    return pa.table(
        {
            "sample_id": found.sample_ids,
            "text.rarest_ngram_count": pa.array(rarest, mask=wordless),
            "text.rarest_ngram_rank": pa.array(rank, mask=wordless),
            "text.ngrams_outside_vocabulary": pa.array(outside, mask=wordless),
        },
        schema=family_schema(FAMILY),
    )
