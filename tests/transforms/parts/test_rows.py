from __future__ import annotations

import pyarrow as pa
import pytest

from schemas.tables import MEDIA
from transforms.parts.rows import first_media

LISTS = [["a"], [], ["b", "c"], [], ["d"]]
FIRST = ["a", None, "b", None, "d"]


def media(names):
    return [
        {"role": "image", "media_id": name, "part_tar": "t", "offset": 1, "length": 2}
        for name in names
    ]


@pytest.fixture
def array():
    return pa.array([media(names) for names in LISTS], pa.list_(MEDIA))


def ids(structs):
    return [one and one["media_id"] for one in structs.to_pylist()]


def test_each_row_has_its_first_media_or_none(array):
    assert ids(first_media(array)) == FIRST


@pytest.mark.parametrize(("start", "length"), [(1, 3), (2, 3), (4, 1), (0, 0)])
def test_a_slice_has_the_media_of_its_own_rows(array, start, length):
    assert ids(first_media(array.slice(start, length))) == FIRST[start : start + length]


def test_chunks_are_one_column(array):
    chunked = pa.chunked_array([array.slice(3), array.slice(0, 3)])
    assert ids(first_media(chunked)) == FIRST[3:] + FIRST[:3]
    assert ids(first_media(pa.chunked_array([], pa.list_(MEDIA)))) == []
