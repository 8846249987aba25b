from __future__ import annotations

import math

import pytest

from transforms.ingest.json_values import parse_json


def test_strict_json():
    assert parse_json('{"a": [1, 2.5, null, "é"]}'.encode()) == {"a": [1, 2.5, None, "é"]}


def test_what_other_writers_make_is_read_too():
    assert math.isnan(parse_json(b'{"a": NaN}')["a"])
    assert parse_json(rb'{"a": "\ud83d"}') == {"a": "\ud83d"}
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_bytes_that_are_not_utf8_cost_one_string_only():
    assert parse_json(b'{"a": "caf\xe9", "b": "fine"}') == {"a": "caf\udce9", "b": "fine"}


@pytest.mark.parametrize("data", [b"", b"{", b"{'a': 1}", b"\0", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json_is_a_value_error(data):
    with pytest.raises(ValueError):
        parse_json(data)
