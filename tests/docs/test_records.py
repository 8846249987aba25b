from __future__ import annotations

import pyarrow as pa
import pytest

from docs import records
from schemas import shards, tables
from schemas.reasons import REASONS, Reason
from schemas.signals import SIGNALS
from schemas.tables import TABLES, TableInfo


@pytest.fixture(scope="module")
def page() -> str:
    return records.page()


@pytest.mark.parametrize("info", TABLES.values(), ids=list(TABLES))
def test_every_column_of_a_table_has_a_meaning(info: TableInfo) -> None:
    names = [name for name, _ in records.flat_fields(info.schema)]

    assert list(info.columns) == names
    assert all(meaning.endswith((".", "…")) for meaning in info.columns.values())


def test_every_schema_is_documented() -> None:
    schemas = [value for value in vars(tables).values() if isinstance(value, pa.Schema)]
    families = {signal.family for signal in SIGNALS}

    assert all(any(one.equals(info.schema) for info in TABLES.values()) for one in schemas)
    assert any(shards.INDEX.equals(info.schema) for info in TABLES.values())
    assert families <= set(TABLES)


def test_page_has_every_table_and_column(page: str) -> None:
    for name, info in TABLES.items():
        section = page.partition(f"### Table {name}\n")[2].partition("\n### ")[0]
        known = {signal.name for signal in SIGNALS}
        assert info.path in section
        for column, meaning in info.columns.items():
            if column not in known:
                assert f"| `{column}` |" in section
                assert meaning in section


def test_page_has_every_signal_with_its_facts(page: str) -> None:
    for signal in SIGNALS:
        (row,) = (
            line
            for line in page.splitlines()
            if line.startswith(f"| `{signal.name}` | {signal.dtype}")
        )
        for fact in (signal.unit, signal.range, signal.meaning, signal.source):
            assert fact in row


def test_page_has_every_reason_with_its_remedy(page: str) -> None:
    for reason in Reason:
        assert f"| `{reason}` | {REASONS[reason].meaning} | {REASONS[reason].remedy} |" in page


def test_page_has_the_fields_of_the_recipe(page: str) -> None:
    section = page.partition("### `[count]`\n")[2].partition("\n### ")[0]

    assert (
        "| `ngram_vocabulary_size` | integer, ≥ 1 | `100000000` | How many of the most" in section
    )
    assert '`type` is one of `"table"`' in page
    assert '| `path_column` | text | `""` |' in page


def test_page_has_the_rules_of_the_profiles(page: str) -> None:
    section = page.partition("### ALIGN (2021)\n")[2].partition("\n### ")[0]

    assert "| `image.short_side_px` | `> 200` | `image_too_small` |" in section
    assert "arXiv 2102.05918" in section
