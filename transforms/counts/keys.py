"""Packed arrays of 128-bit keys: how counts cross a shuffle.

A record is a few machine words; a PCollection element is one `bytes` of many records, so that a
shuffle carries arrays and never rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from schemas.digests import digest

KEY = np.dtype([("hi", "<u8"), ("lo", "<u8")])
"""A 128-bit key as two words. Never `S16`, from which numpy strips trailing zero bytes."""

ASK = np.dtype([("hi", "<u8"), ("lo", "<u8"), ("n", "<i8"), ("part", "<i4")])
"""`n` occurrences of a key, and the number of the part that asks for its total (-1: none)."""

TOTAL = np.dtype([("hi", "<u8"), ("lo", "<u8"), ("n", "<i8")])
"""A key and its total."""

Records = npt.NDArray[np.void]
Order = npt.NDArray[np.intp]


def keys_of(values: Sequence[str]) -> Records:
    """Returns the 128-bit keys (`KEY`) of strings, by digest."""
    return np.frombuffer(b"".join(digest(value) for value in values), dtype=KEY)


def keys_of_hex(values: Sequence[str]) -> Records:
    """Returns the keys that are the first 32 hex digits of digests."""
    return np.frombuffer(bytes.fromhex("".join(value[:32] for value in values)), dtype=KEY)


def unpack(values: Iterable[bytes], dtype: np.dtype[np.void]) -> Records:
    """Returns all records of packed arrays, one after another."""
    return np.frombuffer(b"".join(values), dtype=dtype)


def sort_order(records: Records) -> Order:
    """Returns the order that sorts records by key."""
    return np.lexsort((records["lo"], records["hi"]))


def run_starts(ordered: Records) -> Order:
    """Returns where each run of equal keys starts in records sorted by key."""
    if not len(ordered):
        return np.empty(0, dtype=np.intp)
    change = (ordered["hi"][1:] != ordered["hi"][:-1]) | (ordered["lo"][1:] != ordered["lo"][:-1])
    return np.concatenate(([0], np.flatnonzero(change) + 1))


def distinct(records: Records) -> Records:
    """Returns records sorted by all their fields, each once.

    `np.unique` compares structured values one by one; sorting by columns is 20 times faster.
    """
    names = records.dtype.names or ()
    ordered = records[np.lexsort([records[name] for name in reversed(names)])]
    if not len(ordered):
        return ordered
    change = np.zeros(len(ordered) - 1, dtype=bool)
    for name in names:
        change |= ordered[name][1:] != ordered[name][:-1]
    return ordered[np.concatenate(([True], change))]


def sum_by_key(records: Records) -> Records:
    """Sums `n` over equal keys; returns `TOTAL` records sorted by key."""
    ordered = records[sort_order(records)]
    starts = run_starts(ordered)
    totals = np.zeros(len(starts), dtype=TOTAL)
    totals["hi"], totals["lo"] = ordered["hi"][starts], ordered["lo"][starts]
    totals["n"] = np.add.reduceat(ordered["n"], starts) if len(starts) else 0
    return totals


def look_up(sorted_records: Records, keys: Records) -> Order:
    """Returns the position of each key in records sorted by key, which must hold all of them.

    Raises:
        KeyError: a key is missing: the records are not the answer to what was asked.
    """
    if not len(keys):
        return np.empty(0, dtype=np.intp)
    if not len(sorted_records):
        raise KeyError(f"{len(keys)} keys asked, none answered")
    # Equal high words are rare (64-bit collisions): search by them, then step over the few ties.
    position = np.searchsorted(sorted_records["hi"], keys["hi"])
    position = np.minimum(position, len(sorted_records) - 1)
    while True:
        behind = (sorted_records["hi"][position] == keys["hi"]) & (
            sorted_records["lo"][position] < keys["lo"]
        )
        behind &= position < len(sorted_records) - 1
        if not behind.any():
            break
        position = position + behind
    found = sorted_records[position]
    missing = (found["hi"] != keys["hi"]) | (found["lo"] != keys["lo"])
    if missing.any():
        raise KeyError(f"{int(missing.sum())} of {len(keys)} keys were not answered")
    return position


def asks(keys: Records, part: int, n: npt.NDArray[np.int64] | None = None) -> Records:
    """Returns `ASK` records of a part: its distinct keys with their occurrences, sorted by key.

    Args:
        keys: keys of the part's rows, with repetitions.
        part: number of the part; -1 to contribute occurrences without asking for the total.
        n: occurrences of each key; 1 each where absent.
    """
    counted = np.zeros(len(keys), dtype=TOTAL)
    counted["hi"], counted["lo"] = keys["hi"], keys["lo"]
    counted["n"] = 1 if n is None else n
    totals = sum_by_key(counted)
    records = np.zeros(len(totals), dtype=ASK)
    records["hi"], records["lo"], records["n"] = totals["hi"], totals["lo"], totals["n"]
    records["part"] = part
    return records


def split_by_partition(records: Records, partitions: int) -> Iterator[tuple[str, bytes]]:
    """Yields (partition, packed records): equal keys go to the same partition.

    Args:
        records: records with a `lo` word, uniformly distributed.
        partitions: a power of two.
    """
    if not len(records):
        return
    partition = (records["lo"] & np.uint64(partitions - 1)).astype(np.int64)
    order = np.argsort(partition, kind="stable")
    ordered, partition = records[order], partition[order]
    bounds = np.searchsorted(partition, np.arange(partitions + 1))
    for number in range(partitions):
        start, stop = bounds[number], bounds[number + 1]
        if start < stop:
            yield str(number), ordered[start:stop].tobytes()


def split_by_part(records: Records) -> Iterator[tuple[str, bytes]]:
    """Yields (part number, packed records without `part`) for every part that asked."""
    names = [name for name in records.dtype.names or () if name != "part"]
    fields = np.dtype([(name, records.dtype[name]) for name in names])
    asked = records[records["part"] >= 0]
    asked = asked[np.lexsort((asked["lo"], asked["hi"], asked["part"]))]
    starts = np.flatnonzero(np.diff(asked["part"], prepend=-1))
    stops = np.append(starts[1:], len(asked))[: len(starts)]
    for start, stop in zip(starts, stops, strict=True):
        answer = np.zeros(stop - start, dtype=fields)
        for name in names:
            answer[name] = asked[name][start:stop]
        yield str(asked["part"][start]), answer.tobytes()


def partitions_for(rows: int, rows_per_partition: int = 1_000_000) -> int:
    """Returns how many partitions `rows` rows need: a power of two."""
    return 1 << max(0, (max(rows, 1) - 1) // rows_per_partition).bit_length()
