"""Builds the parts and recipes that deciding is tested on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from schemas.recipe import Recipe
from schemas.signals import SIGNALS_BY_NAME

Row = Mapping[str, Any]

_COLUMNS = {
    "sample_id": pa.string(),
    "source": pa.string(),
    "media": pa.list_(pa.struct([pa.field("media_id", pa.string())])),
    "row_digest": pa.string(),
    "status": pa.string(),
    "error": pa.string(),
    "image_status": pa.string(),
    "image_error": pa.string(),
    "cluster_id": pa.string(),
}
_DEFAULTS: dict[str, Any] = {
    "source": "web",
    "media": [],
    "status": "ok",
    "error": "",
    "image_status": "ok",
    "image_error": "",
}


@pytest.fixture(scope="session")
def make_part() -> Callable[[Sequence[Row]], pa.Table]:
    """Returns a function from rows to the table of a part.

    A row names what matters to its test. Ids count from 0, statuses are `ok`, and any other column
    is null; every signal that a row names is a column.
    """

    def make(rows: Sequence[Row]) -> pa.Table:
        signals = dict.fromkeys(name for row in rows for name in row if name not in _COLUMNS)
        types = {name: pa.type_for_alias(SIGNALS_BY_NAME[name].dtype) for name in signals}
        filled = [
            {**_DEFAULTS, "sample_id": f"{at:032x}", "row_digest": f"{at:032x}", **row}
            for at, row in enumerate(rows)
        ]
        return pa.Table.from_pydict(
            {
                name: pa.array([row.get(name) for row in filled], dtype)
                for name, dtype in (_COLUMNS | types).items()
            }
        )

    return make


@pytest.fixture(scope="session")
def make_recipe() -> Callable[..., Recipe]:
    """Returns a function from rules, as plain values, to a recipe of the sources web and art."""

    def make(rules: Sequence[Row] = (), **sections: Any) -> Recipe:
        sources = [{"type": "folder", "name": name, "path": name} for name in ("web", "art")]
        values = {"name": "test", "sources": sources, "select": {"rules": list(rules)}}
        return Recipe.model_validate(values | sections)

    return make
