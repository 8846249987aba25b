import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import tfrecord
from trainer.tfrecord import RecordError, parse_example, read_records


def test_the_first_bytes_of_an_event_file(record):
    # Every TensorBoard file begins with a record of 24 bytes and this checksum of its length.
    assert record(b"\0" * 24)[:12] == bytes.fromhex("1800000000000000a37f4b22")
    assert record(b"")[12:] == struct.pack("<I", 0xA282EAD8)


@given(records=st.lists(st.binary(max_size=300), max_size=5))
def test_records_come_back(record, records):
    assert list(read_records(io.BytesIO(b"".join(map(record, records))))) == records


@given(data=st.data())
def test_a_changed_or_missing_byte_is_found(record, data):
    good = record(b"first") + record(b"second")
    at = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RecordError, match=r"record [01]: "):
        list(read_records(io.BytesIO(changed)))
    if at not in (0, len(record(b"first"))):
        with pytest.raises(RecordError, match="the file ends"):
            list(read_records(io.BytesIO(good[:at])))


def test_an_enormous_record_is_refused_before_it_is_read(record, monkeypatch):
    monkeypatch.setattr(tfrecord, "MAX_RECORD_BYTES", 10)
    with pytest.raises(RecordError, match="11 bytes, more than 10"):
        list(read_records(io.BytesIO(record(b"x" * 11))))


@given(
    numbers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
    values=st.lists(st.binary(max_size=20), min_size=1),
    packed=st.booleans(),
)
def test_examples_come_back(example, numbers, values, packed):
    features = {"class_id": numbers, "image_bytes": values, "key": [b"a/b.jpg"], "score": [0.5]}
    found = parse_example(example(features, packed))
    del features["score"]
    assert found == features


@given(st.binary(max_size=200))
def test_anything_parses_or_is_refused(data):
    try:
        found = parse_example(data)
    except RecordError:
        return
    assert isinstance(found, dict)
