"""`docs/scale.md`: one billion pairs on paper, from measured figures and the sizes of records.

The arithmetic of the page is here, its words are in `scale.md.j2`. Figures come from
`benchmarks/results/scale.json`, record sizes from the dtypes that cross the shuffles, and the rest
is assumed in one place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from docs.markdown import code, table
from schemas.recipe import Dedupe, Ingest, ShardSettings
from transforms.counts import keys, ngrams, sharing
from transforms.decisions import select
from transforms.decisions.keepers import key_width
from transforms.shards import rank

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "scale.json"

# Assumptions.
PAIRS = 10**9
KEPT, CLUSTERED = 0.5, 0.1
SIDE = 512
"""Short side of the measured images that stand for all."""
VCPU_HOUR, GB_HOUR, GB_PER_VCPU = 0.056, 0.003557, 3.75
SHUFFLED_GB, STORED_GB_MONTH = 0.011, 0.02
MILLION_WRITES, MILLION_READS = 5.0, 0.4
REQUEST_S, THREADS_PER_VCPU, LAUNCHER_THREADS = 0.02, 16, 16
OPENED_FILES, REQUESTS_PER_OPEN, SPAN_BYTES = 30, 4, 16 << 20
"""Part files that are opened for a part over all stages, requests for each, and bytes of a span."""

_TAR_OVERHEAD = 512 + 256
"""Header of a member, and what fills its last block on average."""

FAMILIES = ("measure/image", "measure/text", "count/sharing", "count/ngrams", "dedupe/exact")


@dataclass(frozen=True)
class Shuffle:
    """Records that cross a shuffle.

    Attributes:
        stage: stage or family.
        what: what a record is.
        records: records of a row, on average.
        size: bytes of a record.
        reads: how often the grouped records are read.
    """

    stage: str
    what: str
    records: float
    size: float
    reads: int = 1

    @property
    def written(self) -> float:
        """Bytes written to the shuffle for all rows."""
        return PAIRS * self.records * self.size


@dataclass(frozen=True)
class Estimate:
    """What one billion pairs come to.

    Attributes:
        measured: figures of `benchmarks.scale`.
    """

    measured: dict[str, float]

    @property
    def image_bytes(self) -> float:
        """Bytes of an image."""
        return self.measured[f"image_{SIDE}px_bytes"]

    @property
    def part_rows(self) -> float:
        """Rows of a part, by the defaults of the recipe."""
        limits = Ingest()
        return min(limits.part_rows, limits.part_bytes / self.image_bytes)

    @property
    def parts(self) -> float:
        """Number of parts."""
        return PAIRS / self.part_rows

    @property
    def milliseconds(self) -> dict[str, float]:
        """CPU milliseconds by stage, for each row that comes in."""
        measured = self.measured
        shard = measured["shard_ms_per_MB"] * self.image_bytes / 1e6
        return {
            "ingest": measured["ingest_60kB_ms"] * self.image_bytes / 60_000,
            "measure, image": measured[f"image_{SIDE}px_ms"],
            "measure, text": measured["text_ms"],
            "count, sharing": measured["count_sharing_ms"],
            "count, n-grams": measured["count_ngrams_ms"],
            "dedupe": measured["dedupe_exact_ms"],
            "select": measured["ledger_ms"],
            f"shard ({KEPT:.0%} of the rows)": shard * KEPT,
        }

    @property
    def megapixel_ms(self) -> float:
        """Milliseconds that a further megapixel of an image costs."""
        times = self.measured["image_1024px_ms"] - self.measured["image_256px_ms"]
        return times / (
            self.measured["image_1024px_megapixels"] - self.measured["image_256px_megapixels"]
        )

    @property
    def image_ms(self) -> float:
        """Milliseconds that an image costs whatever its size."""
        megapixels = self.measured["image_256px_megapixels"]
        return self.measured["image_256px_ms"] - self.megapixel_ms * megapixels

    @cached_property
    def shuffles(self) -> tuple[Shuffle, ...]:
        """Everything that crosses a shuffle and grows with the rows."""
        ask, total = keys.ASK.itemsize, keys.TOTAL.itemsize
        grams = self.measured["distinct_ngrams_of_part_per_text"]
        key = key_width(Dedupe().prefer)
        reference = self.measured["shard_reference_bytes"]
        return (
            Shuffle("count/sharing", "(image, text) pairs", 1, sharing._PAIR.itemsize),
            Shuffle("count/sharing", "images, texts and copies that ask", 3, ask),
            Shuffle("count/sharing", "what pairs contribute to images and texts", 2, ask),
            Shuffle("count/sharing", "totals, back to the parts", 3, total),
            Shuffle("count/ngrams", "distinct n-grams of a part", grams, ask, reads=4),
            Shuffle("count/ngrams", "answers, back to the parts", grams, ngrams._ANSWERED.itemsize),
            Shuffle("dedupe/exact", "contents and bytes that ask", 2, ask),
            Shuffle("dedupe/exact", "totals, back to the parts", 2, total),
            Shuffle("select", "ids of rows", 1, select._ROW.itemsize),
            Shuffle("select", "candidates of clusters", CLUSTERED, keys.KEY.itemsize + key + 4),
            Shuffle("select", "keepers, back to the parts", CLUSTERED, 2 * keys.KEY.itemsize),
            Shuffle("shard", "hashed ids to be ranked", KEPT, rank._HASHED.itemsize),
            Shuffle("shard", "ranks, back to the parts", KEPT, rank._RANKED.itemsize),
            Shuffle("shard", "references, to their shards", KEPT, reference),
        )

    @property
    def stored(self) -> dict[str, tuple[float, float]]:
        """Bytes of a row, and the share of the rows that have it, by what is stored."""
        measured, media = self.measured, self.image_bytes + _TAR_OVERHEAD
        found = {"media tars of `ingest`": (media, 1.0)}
        for name in ("ingest", *FAMILIES, "select/ledger"):
            found[code(name)] = measured[f"stored_{name.replace('/', '_')}_bytes"], 1.0
        found["shards"] = media + measured["stored_shard_texts_bytes"], KEPT
        found["indexes of shards"] = measured["stored_index_bytes"], KEPT
        return found

    @property
    def stored_bytes(self) -> float:
        """Everything that is stored."""
        return PAIRS * sum(size * share for size, share in self.stored.values())

    @property
    def hours(self) -> dict[str, float]:
        """Hours of a vCPU by stage."""
        found = {name: PAIRS * spent / 3.6e6 for name, spent in self.milliseconds.items()}
        found["shard, waiting for reads"] = PAIRS * KEPT * REQUEST_S / THREADS_PER_VCPU / 3600
        return found

    @property
    def moved(self) -> float:
        """Bytes written to and read from shuffles."""
        return sum(one.written * (1 + one.reads) for one in self.shuffles)

    @property
    def reads(self) -> float:
        """Requests that read: spans of media, part files, and one for each kept sample."""
        spans = PAIRS * self.image_bytes / SPAN_BYTES
        return spans + self.parts * OPENED_FILES * REQUESTS_PER_OPEN + PAIRS * KEPT

    @property
    def writes(self) -> float:
        """Requests that write: part files and tars, shards and indexes."""
        return (
            self.parts * (3 + len(FAMILIES)) + 2 * PAIRS * KEPT / ShardSettings().samples_per_shard
        )

    @property
    def dollars(self) -> dict[str, float]:
        """Dollars by what is paid for, without storage."""
        price = VCPU_HOUR + GB_PER_VCPU * GB_HOUR
        found = {name: spent * price for name, spent in self.hours.items()}
        found[f"shuffle, {show_bytes(self.moved)}"] = self.moved / 1e9 * SHUFFLED_GB
        found[f"{self.reads / 1e6:,.0f} million reads"] = self.reads / 1e6 * MILLION_READS
        found[f"{self.writes / 1e6:,.1f} million writes"] = self.writes / 1e6 * MILLION_WRITES
        return found


def page() -> str:
    """Returns the page."""
    figures = json.loads(RESULTS.read_text(encoding="utf-8"))["figures"]
    estimate = Estimate(figures)
    partitions = keys.partitions_for(PAIRS)
    environment = Environment(  # noqa: S701 - Markdown, not HTML
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"bytes": show_bytes, "dollars": _dollars, "count": "{:,.0f}".format}
    return environment.get_template("scale.md.j2").render(
        assumptions=_table(["what", "value"], _assumptions(estimate)),
        costs=_table(
            ["stage", "ms"], ([name, f"{ms:.3f}"] for name, ms in estimate.milliseconds.items())
        ),
        image_ms=estimate.image_ms,
        megapixel_ms=estimate.megapixel_ms,
        part_rows=estimate.part_rows,
        part_bytes=estimate.part_rows * estimate.image_bytes,
        parts=estimate.parts,
        shuffles=_table(
            ["stage", "records", "a row", "bytes", "written", "read"], _shuffles(estimate)
        ),
        shuffled=sum(one.written for one in estimate.shuffles),
        diversity=figures["ngrams_per_text"] / figures["distinct_ngrams_of_part_per_text"],
        stored=_table(
            ["what", "bytes a row", "rows", "all"],
            (
                [what, f"{size:,.0f}", f"{share:.0%}", show_bytes(PAIRS * size * share)]
                for what, (size, share) in estimate.stored.items()
            ),
        ),
        stored_bytes=estimate.stored_bytes,
        storage=estimate.stored_bytes / 1e9 * STORED_GB_MONTH,
        bill=_table(["what", "vCPU hours", "dollars"], _bill(estimate)),
        hours=sum(estimate.hours.values()),
        gathered=PAIRS * KEPT,
        threads=THREADS_PER_VCPU,
        part_description=figures["part_description_bytes"],
        described=estimate.parts * figures["part_description_bytes"],
        footers_s=estimate.parts * REQUEST_S / LAUNCHER_THREADS,
        partitions=partitions,
        rows_of_element=PAIRS / partitions / estimate.parts,
        partition_bytes=PAIRS / partitions * figures["ngrams_per_text"] * keys.ASK.itemsize,
    )


def _assumptions(estimate: Estimate) -> Iterator[list[str]]:
    figures = estimate.measured
    pixels = figures[f"image_{SIDE}px_megapixels"]
    image = f"{estimate.image_bytes / 1e3:.0f} kB, {pixels:.2f} megapixels (short side {SIDE} px)"
    yield ["pairs", f"{PAIRS:,}, one intake"]
    yield ["an image", image]
    words, grams = figures["words_per_text"], figures["ngrams_per_text"]
    yield ["a caption", f"{words:.1f} words, {grams:.1f} n-grams"]
    yield ["rows that are kept", f"{KEPT:.0%}"]
    yield ["rows in a duplicate cluster", f"{CLUSTERED:.0%}"]
    yield ["a vCPU", "as fast as the core that was measured"]
    yield [
        "price of workers",
        f"${VCPU_HOUR} a vCPU hour, ${GB_HOUR} a GB hour, {GB_PER_VCPU} GB a vCPU",
    ]
    yield ["price of shuffles", f"${SHUFFLED_GB} a GB, written or read"]
    yield [
        "price of storage",
        f"${STORED_GB_MONTH:.2f} a GB and month, ${MILLION_WRITES:.2f} a million writes, "
        f"${MILLION_READS:.2f} a million reads",
    ]
    yield ["a read of `gs://`", f"{1e3 * REQUEST_S:.0f} ms to the first byte"]


def _shuffles(estimate: Estimate) -> Iterator[list[str]]:
    for one in estimate.shuffles:
        figures = (f"{one.records:g}", f"{one.size:.0f}", show_bytes(one.written))
        yield [code(one.stage), one.what, *figures, f"{one.reads} ×"]


def _bill(estimate: Estimate) -> Iterator[list[str]]:
    hours = estimate.hours
    for name, dollars in estimate.dollars.items():
        yield [name, f"{hours[name]:,.0f}" if name in hours else "", _dollars(dollars)]
    together = sum(estimate.dollars.values())
    yield ["**together**", f"**{sum(hours.values()):,.0f}**", f"**{_dollars(together)}**"]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(table(header, rows))


def show_bytes(count: float) -> str:
    """Returns bytes in the largest decimal unit of which there is one: `53.4 TB`."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def _dollars(amount: float) -> str:
    return f"${amount:,.0f}"
