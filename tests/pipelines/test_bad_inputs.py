"""Bad input: each gets a ledger row with its reason, and none harms its neighbours."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from schemas.reasons import Reason
from transforms.work import Work

Row = dict[str, Any]
Picture = Callable[..., bytes]
Expected = dict[str, Reason | None]

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><rect width="9"/></svg>'
HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"


def encode(image: Image.Image, name: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, name, **options)
    return sink.getvalue()


def bomb() -> bytes:
    """Returns a PNG of some hundred bytes that announces 400 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def images(picture: Picture) -> dict[str, tuple[bytes, Reason | None]]:
    """Returns files that are named like images, with what has to become of each."""
    first = Image.open(io.BytesIO(picture(1)))
    ramp = np.add.outer(np.arange(90), np.arange(80)).astype(np.uint16) * 256
    film = [Image.open(io.BytesIO(picture(number))) for number in (2, 3)]
    return {
        "truncated.jpg": (picture(4, name="JPEG")[:900], Reason.MEDIA_UNREADABLE),
        "empty.jpg": (b"", Reason.MEDIA_UNREADABLE),
        "bomb.png": (bomb(), Reason.MEDIA_TOO_MANY_PIXELS),
        "drawing.jpg": (SVG, Reason.MEDIA_UNREADABLE),
        "page.jpg": (HTML, Reason.MEDIA_UNREADABLE),
        "cmyk.jpg": (encode(first.convert("CMYK"), "JPEG"), None),
        "sixteen.png": (encode(Image.fromarray(ramp), "PNG"), None),
        "palette.png": (encode(first.convert("P"), "PNG"), None),
        "animated.gif": (encode(film[0], "GIF", save_all=True, append_images=film[1:]), None),
        "named-wrongly.jpg": (picture(5, name="WEBP"), None),
    }


def tar_of(members: Sequence[tuple[str, bytes]]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def tars(picture: Picture) -> dict[str, tuple[bytes, Expected]]:
    """Returns tars, with what has to become of each of their samples."""
    texts = {
        "latin1": (b"a caf\xe9 by the sea", Reason.TEXT_UNDECODABLE),
        "nul": (b"a boat\0 on the lake", Reason.TEXT_UNDECODABLE),
        "endless": (b"word " * 200_000, Reason.TEXT_TOO_LARGE),
        "blank": (b" \n\t", Reason.TEXT_MISSING),
    }
    odd = [
        (f"{key}.{extension}", data)
        for number, (key, (text, _)) in enumerate(texts.items())
        for extension, data in (("png", picture(20 + number)), ("txt", text))
    ]
    lonely = [("silent.png", picture(30)), ("unseen.txt", b"a text without an image")]
    late = [(f"late{number}.png", picture(40 + number)) for number in range(5)]
    late += [(f"late{number}.txt", f"a late text {number}".encode()) for number in range(5)]
    twice = [
        (f"twice.{extension}", data)
        for number in range(2)
        for extension, data in (("png", picture(50 + number)), ("txt", b"a key that repeats"))
    ]
    whole = [
        (f"{number}.{extension}", data)
        for number in range(4)
        for extension, data in (("png", picture(60 + number)), ("txt", b"a tar that is cut"))
    ]
    again = hashlib.blake2b(digest_size=8)
    for part in (b"png", picture(51), b"txt", b"a key that repeats"):
        again.update(len(part).to_bytes(8, "little") + part)
    cut = tar_of(whole)
    with tarfile.open(fileobj=io.BytesIO(cut)) as tar:
        middle = tar.getmember("2.png").offset_data + 100
    return {
        "odd.tar": (
            tar_of(odd + lonely),
            {f"odd.tar/{key}": reason for key, (_, reason) in texts.items()}
            | {
                "odd.tar/silent": Reason.TEXT_MISSING,
                "odd.tar/unseen": Reason.MEDIA_MISSING,
            },
        ),
        "late.tar": (tar_of(late), {f"late.tar/late{number}": None for number in range(5)}),
        "twice.tar": (
            tar_of(twice),
            {"twice.tar/twice": None, f"twice.tar/twice#{again.hexdigest()}": None},
        ),
        "empty.tar": (b"", {"empty.tar": Reason.CONTAINER_TRUNCATED}),
        "hollow.tar": (tar_of([]), {"hollow.tar": Reason.CONTAINER_TRUNCATED}),
        "cut.tar": (
            cut[:middle],
            {"cut.tar/0": None, "cut.tar/1": None, "cut.tar": Reason.CONTAINER_TRUNCATED},
        ),
    }


CSV = (
    b'file_name,caption,colour,"price, in euro"\n'
    b'one.png,"a caption of\ntwo lines, with a comma and ""quotes""",green,1\n'
    b"two.png,a caption of one line,,\n"
    b"one column\n"
    b'three.png,"a quote that opens and never closes\n'
    b"four.png,lost in the quote,red,2\n"
)


@pytest.fixture(scope="module")
def folder(picture: Picture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    for name in ("images", "tars", "table"):
        (folder / name).mkdir()
    for name, (data, _) in images(picture).items():
        (folder / "images" / name).write_bytes(data)
        path = folder / "images" / f"{name.partition('.')[0]}.txt"
        path.write_text(f"what {name} shows")
    for name, (data, _) in tars(picture).items():
        (folder / "tars" / name).write_bytes(data)
    (folder / "table" / "rows.csv").write_bytes(CSV)
    for number, name in enumerate(("one", "two", "three", "four")):
        (folder / "table" / f"{name}.png").write_bytes(picture(70 + number))
    return folder


@pytest.fixture(scope="module")
def work(folder: Path, run_route: Callable[..., Work], write_recipe: Callable[..., Path]) -> Work:
    sources = [
        {"name": "images", "type": "folder", "path": "images"},
        {"name": "tars", "type": "webdataset", "path": "tars"},
        {"name": "table", "type": "table", "path": "table"},
    ]
    return run_route(write_recipe(folder, sources), folder / "work")


@pytest.fixture(scope="module")
def rows(work: Work, outcomes: Callable[[Work], list[Row]]) -> list[Row]:
    return outcomes(work)


def reasons(rows: list[Row], source: str) -> Expected:
    found = [row for row in rows if row["source"] == source]
    assert len({row["locator"] for row in found}) == len(found)
    return {row["locator"]: row["reason"] for row in found}


def test_images_that_are_none_drop_and_odd_ones_are_kept(picture: Picture, rows: list[Row]) -> None:
    expected = {name: reason for name, (_, reason) in images(picture).items()}
    assert reasons(rows, "images") == expected
    details = {row["locator"]: row["detail"] for row in rows}
    assert details["empty.jpg"] == "no bytes"
    assert "an SVG drawing" in details["drawing.jpg"]
    assert "an HTML page" in details["page.jpg"]
    assert "20000 × 20000" in details["bomb.png"]


def test_odd_images_lie_in_the_shards_as_they_came(picture: Picture, work: Work) -> None:
    kept = {_sha256(data) for data, reason in images(picture).values() if reason is None}
    (series,) = (series for series in work.series() if series.source == "images")
    stored: dict[str, bytes] = {}
    for entry in series.folder.list():
        if entry.name.endswith(".tar"):
            with tarfile.open(series.folder.locate(entry.name)) as tar:
                stored |= {member.name: _read(tar, member) for member in tar}
    media = {name: data for name, data in stored.items() if not name.endswith(("txt", "json"))}
    assert {_sha256(data) for data in media.values()} == kept
    assert sorted(name.partition(".")[2] for name in media) == ["gif", "jpg", "png", "png", "webp"]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def test_every_sample_of_a_bad_tar_is_accounted_for(picture: Picture, rows: list[Row]) -> None:
    expected = {key: reason for _, told in tars(picture).values() for key, reason in told.items()}
    found = reasons(rows, "tars")
    partial = {key: reason for key, reason in found.items() if key not in expected}
    assert {key: found[key] for key in expected} == expected
    # The sample that the cut runs through is a row of its own.
    assert set(partial.values()) <= {Reason.CONTAINER_TRUNCATED}
    assert all(key.startswith("cut.tar/") for key in partial)
    details = {row["locator"]: row["detail"] for row in rows}
    assert details["empty.tar"] == "the file is empty: 0 bytes"
    assert details["hollow.tar"] == "the tar holds no sample"
    assert "more than 65536 bytes" in details["odd.tar/endless"]


def test_quoted_line_breaks_and_broken_rows_of_a_csv(rows: list[Row]) -> None:
    found = {row["locator"]: row for row in rows if row["source"] == "table"}
    assert found["one.png"]["text"] == 'a caption of\ntwo lines, with a comma and "quotes"'
    assert found["two.png"]["decision"] == "kept"
    broken = [row for locator, row in found.items() if locator not in ("one.png", "two.png")]
    assert {row["reason"] for row in broken} == {Reason.ROW_MALFORMED}
    details = sorted(row["detail"] for row in broken)
    assert details[0].startswith("1 columns instead of 4: one column")
    assert details[1].startswith("a quote is opened and never closed: three.png")
    assert len(broken) == 2
