"""The rank of every sample of a series: its exact place in keyed-hash order, from 0.

Order is by (keyed_hash(seed, purpose, sample_id), sample_id). No worker sorts everything: a
histogram of the hashes says how many samples come before each bin, groups of whole bins are sorted
one by one, and a sample's rank is the count before its bin plus its place behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.pvalue import AsSingleton, PCollection

from schemas.digests import SAMPLE_ID_HEX

BINS = 4096
"""Bins of the histogram: the highest 12 bits of the hash."""

ROWS_PER_GROUP = 1 << 20
"""Bound on the rows that are sorted at once (up to one bin more); groups grow with the samples.

28 bytes a row cross the shuffle. Above BINS × ROWS_PER_GROUP samples (4 billion) bins, and with
them groups, grow beyond it.
"""

_BIN_SHIFT = np.uint64(64 - (BINS - 1).bit_length())
_ID_BYTES = SAMPLE_ID_HEX // 2
# An id is two big-endian halves: numpy's `S16` would lose zero bytes at the end of an id.
_HASHED = np.dtype([("hash", "<u8"), ("high", "<u8"), ("low", "<u8"), ("position", "<u4")])
_RANKED = np.dtype([("position", "<u4"), ("rank", "<i8")])


def pack_ids(ids: Sequence[str]) -> bytes:
    """Returns ids as `RankSamples` takes them: 16 bytes each, one after another.

    Args:
        ids: sample ids, 32 hex digits each.

    Raises:
        ValueError: an id has another length or holds something else than hex digits.
    """
    for one in ids:
        if len(one) != SAMPLE_ID_HEX:
            raise ValueError(f"sample id {one!r} has {len(one)} characters, not {SAMPLE_ID_HEX}")
    return bytes.fromhex("".join(ids))


def unpack_ranks(packed: bytes) -> npt.NDArray[np.int64]:
    """Returns the ranks of a part, shape (n,), in the order in which its ids were given."""
    return np.frombuffer(packed, "<i8").astype(np.int64, copy=False)


def hash_ids(packed: bytes, seed: int, purpose: str) -> npt.NDArray[np.uint64]:
    """Returns `schemas.digests.keyed_hash(seed, purpose, id)` of every id, shape (n,).

    Args:
        packed: ids as `pack_ids` packs them; hashed as hex text.
        seed: seed of the recipe.
        purpose: what the order is for.
    """
    # What the digests of all ids begin with is hashed once and copied.
    prefix = hashlib.blake2b(digest_size=8)
    for part in (str(seed).encode(), purpose.encode()):
        prefix.update(len(part).to_bytes(8, "little") + part)
    prefix.update(SAMPLE_ID_HEX.to_bytes(8, "little"))
    text = packed.hex().encode()
    digests = bytearray()
    for start in range(0, len(text), SAMPLE_ID_HEX):
        hasher = prefix.copy()
        hasher.update(text[start : start + SAMPLE_ID_HEX])
        digests += hasher.digest()
    return np.frombuffer(bytes(digests), ">u8").astype(np.uint64)


def hash_part(element: tuple[str, bytes], seed: int, purpose: str) -> tuple[str, bytes]:
    """Returns (part, packed records (hash, id, position)), 28 bytes each, for (part, packed ids).

    Raises:
        ValueError: the bytes are no whole number of ids.
    """
    part, packed = element
    if len(packed) % _ID_BYTES:
        raise ValueError(
            f"part {part!r}: {len(packed)} bytes of ids are no multiple of {_ID_BYTES}; "
            "pack them with `pack_ids`"
        )
    halves = np.frombuffer(packed, ">u8").reshape(-1, 2)
    records = np.empty(len(halves), _HASHED)
    records["hash"] = hash_ids(packed, seed, purpose)
    records["high"], records["low"] = halves[:, 0], halves[:, 1]
    records["position"] = np.arange(len(halves))
    return part, records.tobytes()


def count_bins(element: tuple[str, bytes]) -> npt.NDArray[np.int64]:
    """Returns how many records of a part fall into each bin, shape (BINS,)."""
    _, records = element
    return np.bincount(_bins(np.frombuffer(records, _HASHED)), minlength=BINS)


def cut_by_group(
    element: tuple[str, bytes], totals: npt.NDArray[np.int64], rows_per_group: int
) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Yields (group, (part, records of the group)) for every group that the part has rows in.

    A group is a run of whole bins: the bins whose count of rows before them, divided by
    `rows_per_group`, is the same. It holds fewer than `rows_per_group` rows plus its last bin.

    Args:
        element: part and records, as `hash_part` packs them.
        totals: histogram over all parts, shape (BINS,).
        rows_per_group: see above.
    """
    part, records = element
    rows = np.frombuffer(records, _HASHED)
    group_of_bin = _before(totals) // rows_per_group
    groups = group_of_bin[_bins(rows)]
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    for start, end in pairwise([*starts, len(order)]):
        members = order[start:end]
        yield f"{groups[members[0]]:09d}", (part, rows[members].tobytes())


def rank_group(
    element: tuple[str, Iterable[tuple[str, bytes]]], totals: npt.NDArray[np.int64]
) -> Iterator[tuple[str, bytes]]:
    """Yields (part, packed (position, rank)) for the parts of a whole group, in order of name.

    Args:
        element: group and its (part, records), in any order.
        totals: histogram over all parts, shape (BINS,).

    Raises:
        ValueError: an id occurs twice.
    """
    _, pieces = element
    by_name = sorted(pieces)
    rows = np.concatenate([np.frombuffer(records, _HASHED) for _, records in by_name])
    order = np.lexsort((rows["low"], rows["high"], rows["hash"]))
    high, low = rows["high"][order], rows["low"][order]
    repeated = np.flatnonzero((high[1:] == high[:-1]) & (low[1:] == low[:-1]))
    if repeated.size:
        first = repeated[0]
        raise ValueError(
            f"sample id {int(high[first]):016x}{int(low[first]):016x} is kept twice; `select` "
            "keeps one row of an id: run it again"
        )
    ranked = np.empty(len(rows), _RANKED)
    ranked["position"] = rows["position"]
    ranked["rank"][order] = _before(totals)[_bins(rows).min()] + np.arange(len(rows))
    start = 0
    for part, records in by_name:
        end = start + len(records) // _HASHED.itemsize
        yield part, ranked[start:end].tobytes()
        start = end


def assemble_ranks(element: tuple[str, Iterable[bytes]]) -> tuple[str, bytes]:
    """Returns (part, packed ranks in the order of its ids) from its pieces in any order."""
    part, pieces = element
    ranked = np.frombuffer(b"".join(pieces), _RANKED)
    ranks = np.empty(len(ranked), "<i8")
    ranks[ranked["position"]] = ranked["rank"]
    return part, ranks.tobytes()


class RankSamples(beam.PTransform[PCollection[tuple[str, bytes]], PCollection[tuple[str, bytes]]]):
    """(part, packed ids) -> (part, packed ranks): `pack_ids` packs, `unpack_ranks` unpacks.

    All parts of the input are one series: ranks are a permutation of 0 … n - 1 over all of them.
    The ranks of a part come in the order of its ids. A part without ids yields nothing.
    """

    def __init__(self, seed: int, purpose: str, rows_per_group: int = ROWS_PER_GROUP) -> None:
        super().__init__()
        self._seed = seed
        self._purpose = purpose
        self._rows_per_group = rows_per_group

    def expand(self, parts: PCollection[tuple[str, bytes]]) -> PCollection[tuple[str, bytes]]:
        """Counts hashes by bin, sorts by group, and brings ranks back to the parts."""
        hashed = parts | "Hash ids" >> beam.Map(hash_part, self._seed, self._purpose)
        totals = AsSingleton(
            hashed
            | "Count bins" >> beam.Map(count_bins)
            | "Add up bins" >> beam.CombineGlobally(_add_up)
        )
        ranks: PCollection[tuple[str, bytes]] = (
            hashed
            | "Cut by group" >> beam.FlatMap(cut_by_group, totals, self._rows_per_group)
            | "Collect groups" >> beam.GroupByKey()
            | "Rank group" >> beam.FlatMap(rank_group, totals)
            | "Collect parts" >> beam.GroupByKey()
            | "Assemble ranks" >> beam.Map(assemble_ranks)
        )
        return ranks


def _bins(rows: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    return (rows["hash"] >> _BIN_SHIFT).astype(np.int64)


def _before(totals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the number of rows before each bin, shape (BINS,)."""
    return np.cumsum(totals) - totals


def _add_up(histograms: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    total = np.zeros(BINS, np.int64)
    for one in histograms:
        total += one
    return total
