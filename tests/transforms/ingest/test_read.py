from __future__ import annotations

import gzip

from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from schemas.samples import MediaRole, RawMedia, RawSample
from schemas.sources import FolderSource, TableSource, WebDatasetSource
from storage.folders import open_folder
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


def test_sources_in_a_bucket(fake_gcs_bucket, read_source, make_tar, image):
    folder = open_folder(f"{fake_gcs_bucket}/data")
    for number in range(20):
        folder.create(f"images/{number}.png", image(number))
        folder.create(f"images/{number}.txt", b"text %d" % number)
    lines = "".join(f"images/{number}.png,text {number}\n" for number in range(21))
    folder.create("a.csv.gz", gzip.compress(f"file_name,text\n{lines}".encode()))
    members = [
        (f"{n}.{end}", image(n) if end == "png" else b"text %d" % n)
        for n in range(20)
        for end in ("png", "txt")
    ]
    folder.create("tars/0.tar", make_tar(*members))
    uri = f"{fake_gcs_bucket}/data"
    sources = [
        TableSource(name="t", type="table", path=f"{uri}/a.csv.gz"),
        FolderSource(name="f", type="folder", path=f"{uri}/images"),
        WebDatasetSource(name="w", type="webdataset", path=f"{uri}/tars/"),
    ]
    expected = {(f"text {number}", image(number)) for number in range(20)}
    for source in sources:
        samples = read_source(source)
        sound = [one for one in samples if one.reason is None]
        assert {(one.texts[0].text, one.media[0].data) for one in sound} == expected
        missing = [one.reason for one in samples if one.reason is not None]
        assert missing == ([Reason.MEDIA_MISSING] if source.type == "table" else [])
