from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.folders import open_folder
from transforms.shards import gather as gathering
from transforms.shards.gather import ByteRange, Unreadable, gather

CONTENT = {name: bytes((n * 7 + at) % 256 for at in range(5000)) for n, name in enumerate("abc")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = open_folder(str(tmp_path_factory.mktemp("media")))
    for name, data in CONTENT.items():
        folder.create(name, data)
    return folder


def keep(index, data):
    return index, data


wanted = st.lists(
    st.builds(
        ByteRange, st.sampled_from(sorted(CONTENT)), st.integers(0, 4000), st.integers(0, 1000)
    ),
    max_size=60,
)


@given(wanted, st.booleans(), st.integers(1, 20), st.integers(1, 3000))
def test_every_range_comes_in_order(folder, ranges, threaded, rows, bytes_):
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(3) as pool:
        patch.setattr(gathering, "WINDOW_ROWS", rows)
        patch.setattr(gathering, "WINDOW_BYTES", bytes_)
        found = list(gather(folder, ranges, keep, pool if threaded else None))
    assert found == [
        (index, CONTENT[one.file][one.offset : one.offset + one.length])
        for index, one in enumerate(ranges)
    ]


def test_what_cannot_be_read_harms_nothing_else(folder):
    ranges = [
        ByteRange("a", 0, 10),
        ByteRange("a", 4995, 10),
        ByteRange("gone", 0, 1),
        ByteRange("a", 4990, 10),
    ]
    assert list(gather(folder, ranges, keep)) == [
        (0, CONTENT["a"][:10]),
        Unreadable("a ends before byte 5005"),
        Unreadable("gone is missing"),
        (3, CONTENT["a"][4990:]),
    ]


def test_a_store_that_does_not_answer_is_no_fact_about_the_bytes(folder, monkeypatch):
    class Reader:
        size = 5000

        def read_at(self, offset, length):
            raise StorageError(errno.EIO, "the network is down")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(type(folder), "open_reader", lambda *_: Reader())
    with pytest.raises(StorageError, match="network"):
        list(gather(folder, [ByteRange("a", 0, 1)], keep))


def test_a_window_is_bounded_and_read_one_ahead(folder, monkeypatch):
    monkeypatch.setattr(gathering, "WINDOW_ROWS", 4)
    prepared = []

    def note(index, data):
        prepared.append(index)
        return index

    found = gather(folder, [ByteRange("a", at, 1) for at in range(20)], note)
    assert next(found) == 0
    assert len(prepared) == 4
    assert list(found) == list(range(1, 20))
