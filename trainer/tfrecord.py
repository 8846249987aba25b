"""Reads TFRecord files of `tf.train.Example` records, without TensorFlow.

A record is its length (uint64), a checksum of that, the data, a checksum of those; all
little-endian, checksums masked CRC-32C (tensorflow/core/lib/io/record_writer.h). An Example is a
protocol buffer: a map from names to lists of bytes, floats or integers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

MAX_RECORD_BYTES = 1 << 28
"""A longer record is refused, whatever its header says."""

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")

_BYTES_LIST, _INT64_LIST = 1, 3
"""Field numbers of `tf.train.Feature`."""


class RecordError(ValueError):
    """A file is no TFRecord, or is damaged."""


def read_records(file: BinaryIO) -> Iterator[bytes]:
    """Yields the data of each record.

    Args:
        file: read from where it stands to its end.

    Raises:
        RecordError: a checksum does not fit, or the file ends within a record.
    """
    number = 0
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise RecordError(f"record {number}: the file ends in its header")
        length, checksum = _HEADER.unpack(header)
        if _masked_crc(header[:8]) != checksum:
            raise RecordError(f"record {number}: the checksum of its length does not fit")
        if length > MAX_RECORD_BYTES:
            raise RecordError(f"record {number}: {length} bytes, more than {MAX_RECORD_BYTES}")
        data, footer = file.read(length), file.read(_FOOTER.size)
        if len(data) < length or len(footer) < _FOOTER.size:
            raise RecordError(f"record {number}: the file ends within it")
        if _masked_crc(data) != _FOOTER.unpack(footer)[0]:
            raise RecordError(f"record {number}: the checksum of its data does not fit")
        yield data
        number += 1


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def parse_example(data: bytes) -> dict[str, list[bytes] | list[int]]:
    """Returns the lists of bytes and of integers of an Example by name; floats are left out.

    Raises:
        RecordError: the data are no Example.
    """
    found: dict[str, list[bytes] | list[int]] = {}
    for features in _messages(memoryview(data), 1):
        for entry in _messages(features, 1):
            name = b"".join(bytes(part) for part in _messages(entry, 1))
            for feature in _messages(entry, 2):
                values = _values(feature)
                if values is not None:
                    found[name.decode("utf-8", "replace")] = values
    return found


def _values(feature: memoryview) -> list[bytes] | list[int] | None:
    for number, value in _fields(feature):
        if number == _BYTES_LIST and isinstance(value, memoryview):
            return [bytes(one) for one in _messages(value, 1)]
        if number == _INT64_LIST and isinstance(value, memoryview):
            return [_signed(one) for one in _integers(value)]
    return None


def _integers(data: memoryview) -> Iterator[int]:
    for number, value in _fields(data):
        if number != 1:
            continue
        if isinstance(value, int):
            yield value
            continue
        at = 0
        while at < len(value):
            one, at = _varint(value, at)
            yield one


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    """Yields the length-delimited fields of a number."""
    for number, value in _fields(data):
        if number == wanted and isinstance(value, memoryview):
            yield value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields numbers and values of a message's fields, in the wire format of protocol buffers."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise RecordError(f"a field of wire type {kind}: the data are no tf.train.Example")
        if size > len(data) - at:
            raise RecordError("a field is longer than its message: no tf.train.Example")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Returns the integer at a position, modulo 2**64, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise RecordError("an integer ends with its message: no tf.train.Example")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & ((1 << 64) - 1), at
    raise RecordError("an integer of more than ten bytes: no tf.train.Example")
