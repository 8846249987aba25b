"""Parses JSON that other people wrote."""

from __future__ import annotations

import json
from typing import Any

import orjson


def parse_json(data: bytes) -> Any:
    r"""Returns the value of a JSON text.

    Strict JSON takes the fast road. What Python's own writer makes is read too: `NaN`, lone
    surrogates. Bytes that are not UTF-8 come out as lone surrogates (PEP 383) in the strings that
    hold them, so that one bad string does not cost the whole record.

    Raises:
        ValueError: the text is not JSON, or nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
