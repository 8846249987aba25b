from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.fetch import Consent
from schemas.reasons import Reason
from storage.folders import open_folder
from transforms.extract.warc import read_warc
from transforms.fetch.url_rows import UrlRow

PAGE = b'<title>T</title><img src="/a.jpg" alt="one"><img src="/b.jpg" alt="two"><img src="/c.jpg">'
JPEG = b"\xff\xd8\xff" + bytes(1000)


def http(body: bytes, kind: str, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def record(url: str, block: bytes, kind: str = "response") -> bytes:
    content = "application/http; msgtype=response" if kind == "response" else "image/jpeg"
    lines = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        "WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>",
        "WARC-Date: 2026-01-01T00:00:00Z",
        f"WARC-Target-URI: {url}",
        f"Content-Type: {content}",
        f"Content-Length: {len(block)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


RECORDS = [
    record("https://site.example/a.jpg", http(b"moved", "image/jpeg", status="301 Moved")),
    record("https://site.example/", http(PAGE, "text/html; charset=utf-8")),
    record("https://site.example/a.jpg", http(JPEG, "image/jpeg")),
    record("HTTPS://Site.example/b.jpg#x", JPEG[:500], kind="resource"),
    record("https://site.example/a.jpg", http(b"later", "image/jpeg")),
    record("dns:site.example", b"site.example. 1 IN A 192.0.2.1", kind="resource"),
]


def read(tmp_path: Path, data: bytes, **changes: object) -> list[UrlRow]:
    (tmp_path / "crawl.warc.gz").write_bytes(data)
    folder = open_folder(str(tmp_path))
    consent = Consent.model_validate(changes)
    return list(read_warc(folder, "crawl.warc.gz", consent, "mixwright", 2000))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_images_of_the_same_crawl_are_taken_from_it(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    first, second, third = read(tmp_path, b"".join(map(pack, RECORDS)))
    assert first.sample.media[0].data == JPEG
    assert second.sample.media[0].data == JPEG[:500]
    assert third.request is not None
    assert third.request.url == "https://site.example/c.jpg"
    assert first.sample.locator == "https://site.example/#https://site.example/a.jpg"
    assert first.sample.meta["page_url"] == "https://site.example/"


def test_packed_bodies(tmp_path: Path) -> None:
    packed = gzip.compress(PAGE)
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    headers = ("Transfer-Encoding: chunked", "Content-Encoding: gzip")
    rows = read(tmp_path, record("https://site.example/", http(chunked, "text/html", *headers)))
    assert len(rows) == 3
    bomb = gzip.compress(bytes(100 << 20))
    headers = ("Content-Encoding: gzip",)
    image = record("https://site.example/a.jpg", http(bomb, "image/jpeg", *headers))
    rows = read(tmp_path, RECORDS[1] + image)
    assert rows[0].sample.reason is Reason.MEDIA_TOO_LARGE


def test_headers_that_refuse(tmp_path: Path) -> None:
    page = record("https://site.example/", http(PAGE, "text/html", "X-Robots-Tag: noai"))
    rows = read(tmp_path, page + RECORDS[2])
    assert [row.sample.reason for row in rows] == [Reason.FETCH_FAILED_OPT_OUT] * 3
    image = record("https://site.example/a.jpg", http(JPEG, "image/jpeg", "TDM-Reservation: 1"))
    rows = read(tmp_path, RECORDS[1] + image)
    assert rows[0].sample.reason is Reason.FETCH_FAILED_OPT_OUT
    rows = read(tmp_path, RECORDS[1] + image, tdm=False)
    assert rows[0].sample.reason is None


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_warc_that_breaks_off_is_read_until_then(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    whole = pack(RECORDS[1])
    rows = read(tmp_path, whole + pack(RECORDS[1])[:-60])
    assert [row.sample.reason for row in rows][-1] in (Reason.CONTAINER_TRUNCATED, None)
    assert len(rows) >= 3
    rows = read(tmp_path, whole + pack(RECORDS[2])[: -len(pack(RECORDS[2])) // 3])
    assert rows[1].sample.reason is None
    assert len(rows) in (3, 4)


@pytest.mark.parametrize("data", [b"", b"hello " * 1000, b"\x1f\x8b" + bytes(100), b"WARC/1.0\r\n"])
def test_what_is_no_warc_is_one_row(tmp_path: Path, data: bytes) -> None:
    (row,) = read(tmp_path, data)
    assert row.sample.reason in (Reason.MEDIA_MISSING, Reason.CONTAINER_TRUNCATED)
    assert row.sample.locator == "crawl.warc.gz"
