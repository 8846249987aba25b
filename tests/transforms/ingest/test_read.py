from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.samples import MediaRole, RawMedia, RawSample
from transforms.ingest.read import cut_chunks


def sample(size: int) -> RawSample:
    return RawSample("l", media=(RawMedia(MediaRole.IMAGE, bytes(size)),) if size else ())


@given(st.lists(st.integers(0, 50)), st.integers(1, 5), st.integers(1, 60))
def test_chunks_hold_few_samples_and_bytes(sizes, most, most_bytes):
    chunks = list(cut_chunks(map(sample, sizes), most, most_bytes))
    held = [[sum(len(media.data) for media in one.media) for one in chunk] for chunk in chunks]
    assert [size for chunk in held for size in chunk] == sizes
    for chunk in held:
        assert 0 < len(chunk) <= most
        assert sum(chunk) <= most_bytes or len(chunk) == 1


def test_chunks_are_cut_as_late_as_possible():
    chunks = cut_chunks(map(sample, [3, 3, 3, 3, 20, 1]), 3, 10)
    assert [len(chunk) for chunk in chunks] == [3, 1, 1, 1]


def test_samples_are_read_no_faster_than_they_are_taken():
    taken = []

    def feed():
        for number in range(10):
            taken.append(number)
            yield sample(1)

    next(cut_chunks(feed(), 2, 100))
    assert len(taken) == 3
