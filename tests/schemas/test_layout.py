from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import layout
from schemas.layout import Part, committed_name, parse_committed
from storage.names import check_name

PART = Part("i0", "web", "part-0123456789abcdef")

names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
parts = st.builds(
    Part, names, names, st.integers(0, 2**64 - 1).map(lambda number: f"part-{number:016x}")
)


@given(parts, st.integers(1, 10**9))
def test_a_committed_name_says_its_part_and_version(part, version):
    assert parse_committed(committed_name(part.stem, version)) == (part.stem, version)


@pytest.mark.parametrize(
    "name",
    [
        "web/i0/parts.parquet",
        "web/i0/part-0123456789abcdef.parquet",
        "web/i0/part-0123456789abcdef.v0.parquet",
        "web/i0/part-0123456789abcdef.v01.parquet",
        "web/i0/part-0123456789ABCDEF.v1.parquet",
        "web/i0/part-0123456789abcde.v1.parquet",
        "web/i0/part-0123456789abcdef.v1.parquet.tmp",
        "web/i0/part-0123456789abcdef.0123.tar",
        "000000.idx.parquet",
        "",
    ],
)
def test_any_other_name_is_no_committed_part(name):
    assert parse_committed(name) is None


def test_parts_order_by_intake_first():
    parts = [Part("i1", "art", "part-0"), Part("i0", "web", "part-1"), Part("i0", "web", "part-0")]
    assert sorted(parts) == [parts[2], parts[1], parts[0]]
    assert PART.stem == "web/i0/part-0123456789abcdef"


def test_records_of_intakes_list_in_the_order_in_which_they_came():
    records = [layout.intake_record(number) for number in (0, 9, 10, 100, 99_999)]
    assert records == sorted(records)
    assert records[0] == "intakes/000000.json"


def test_every_place_is_a_name_below_the_work_directory():
    places = [
        layout.LOCK,
        layout.REPORT,
        layout.SUPPRESSIONS,
        layout.intake_record(3),
        layout.parts_table("web", "i0"),
        layout.family("measure/image", "ab"),
        layout.stage_record("ingest"),
        layout.shard_folder("web", "i0", "train", "ab"),
        layout.manifest("default"),
        layout.interleaved_manifest("default"),
        layout.interleaved_folder("default", "ab"),
    ]
    assert len(set(places)) == len(places)
    for place in places:
        assert check_name(place) == place
