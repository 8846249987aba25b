from __future__ import annotations

import gzip
import io
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.ingest.tars import MAX_HEADER_BYTES, TarMembers

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def read(data: bytes, wanted=lambda name, size: size):
    members = TarMembers(io.BytesIO(data), len(data), wanted)
    return [(member.name, member.size, member.data) for member in members], members.broken


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **more: str) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, more.get("link", "")
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("packed", [False, True])
def test_members_come_in_order_whatever_their_size(make_tar, form, packed):
    members = [
        (f"{size}.bin", np.random.default_rng(size).bytes(size))
        for size in (0, 1, 511, 512, 513, 1024, 70_000)
    ]
    data = make_tar(*members, form=form)
    found, broken = read(gzip.compress(data) if packed else data)
    assert found == [(name, len(content), content) for name, content in members]
    assert broken == ""


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_odd_names(make_tar, form):
    name = "é/" * 90 + "x.jpg"
    assert read(make_tar((name, b"1"), form=form))[0] == [(name, 1, b"1")]
    latin = header("caf\udce9.jpg", 0) + bytes(1024)
    assert read(latin)[0] == [("caf\udce9.jpg", 0, b"")]


@pytest.mark.parametrize("packed", [False, True])
def test_only_what_is_wanted_is_read(make_tar, packed):
    data = make_tar(("a", b"x" * 5000), ("b", b"y" * 5000), ("c", b"z"))
    found, broken = read(
        gzip.compress(data) if packed else data,
        {"a": 0, "b": 512}.get,
    )
    assert found == [("a", 5000, b""), ("b", 5000, b"y" * 512), ("c", 1, b"z")]
    assert broken == ""


def test_folders_links_devices_and_sparse_files_are_passed_over():
    kinds = [
        *(tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE),
        *(tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE),
    ]
    data = b"".join(
        header(f"{number}.jpg", kind=kind, link="/etc/passwd") for number, kind in enumerate(kinds)
    )
    data += header("../../evil.jpg", 1) + b"1".ljust(512, b"\0") + header("/abs.jpg") + bytes(1024)
    assert read(data) == ([("../../evil.jpg", 1, b"1"), ("/abs.jpg", 0, b"")], "")


def test_an_empty_archive_is_whole_and_an_empty_file_is_not(make_tar):
    assert read(make_tar()) == ([], "")
    assert read(b"") == ([], "the file is empty: 0 bytes")


@pytest.mark.parametrize("packed", [False, True])
def test_members_before_a_break_survive(make_tar, packed):
    names = [f"{number:03}.jpg" for number in range(20)]
    data = make_tar(*((name, np.random.default_rng(int(name[:3])).bytes(1000)) for name in names))
    for cut in range(1, 20 * 1536, 700):
        part = data[:cut]
        found, broken = read(_cut_gzip(part) if packed else part)
        assert [name for name, _, _ in found] == names[: len(found)]
        assert len(found) == max(0, (cut - 512 - 1000) // 1536 + 1) or packed
        assert broken.startswith("the tar breaks off: ")


def _cut_gzip(data: bytes) -> bytes:
    return gzip.compress(data)[:-9]


def test_a_missing_end_is_a_break(make_tar):
    data = make_tar(("a.jpg", b"1"))
    found, broken = read(data[:1024])
    assert len(found) == 1
    assert "no end of the archive" in broken


def test_damage_in_the_middle_is_a_break(make_tar):
    data = bytearray(make_tar(("a.jpg", b"1"), ("b.jpg", b"2"), ("c.jpg", b"3")))
    data[1024 + 20] ^= 0xFF
    found, broken = read(bytes(data))
    assert [name for name, _, _ in found] == ["a.jpg"]
    assert "no valid header" in broken


@pytest.mark.parametrize(
    "data", [b"junk" * 1000, b"\x1f\x8bjunk" * 100, b"\0" * 100, b"PK\3\4" * 200]
)
def test_what_is_no_tar_is_broken(data):
    found, broken = read(data)
    assert found == []
    assert broken


@pytest.mark.parametrize("size", [-512, -1024, -(1 << 40), 1 << 62, 1 << 86])
def test_sizes_that_make_no_sense_end_the_archive(size):
    info = tarfile.TarInfo("a.jpg")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (b"\x80" if size >= 0 else b"\xff") + (size % (1 << 88)).to_bytes(11, "big")
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    found, broken = read(header("first.jpg") + bytes(block) + bytes(1024))
    assert [name for name, _, _ in found] == ["first.jpg"]
    assert broken


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_headers_without_end_are_not_read(kind):
    class Counting(io.BytesIO):
        most = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.most = max(self.most, size if size is not None and size >= 0 else 1 << 60)
            return super().read(size)

    bomb = header("x", 1 << 30, kind) + b"1" * (1 << 20)
    file = Counting(bomb)
    members = TarMembers(file, 1 << 40, lambda name, size: size)
    assert list(members) == []
    assert "bytes of headers" in members.broken
    assert file.most <= MAX_HEADER_BYTES
    chain = header("x", 0, kind) * 5000 + header("a.jpg") + bytes(1024)
    assert read(chain)[0] == [] or kind == tarfile.GNUTYPE_LONGNAME


@given(st.data())
def test_damaged_headers_never_raise(data):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=data.draw(st.sampled_from(FORMATS))) as tar:
        for number in range(3):
            info = tarfile.TarInfo(
                "d" * data.draw(st.sampled_from([1, 90, 150])) + f"/{number}.jpg"
            )
            info.size = 600
            tar.addfile(info, io.BytesIO(bytes([number]) * 600))
    raw = bytearray(sink.getvalue()[:-8192])
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=10)
    ):
        raw[at] = value
    for start in range(0, len(raw) - 511, 512):
        block = raw[start : start + 512]
        if data.draw(st.booleans()):
            total = sum(block[:148]) + 8 * 32 + sum(block[156:])
            raw[start + 148 : start + 156] = b"%06o\0 " % total
    found, broken = read(bytes(raw))
    assert all(len(content) == size for _, size, content in found)
    assert isinstance(broken, str)
