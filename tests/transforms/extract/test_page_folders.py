from __future__ import annotations

from pathlib import Path

import pytest

from schemas.fetch import Consent
from schemas.reasons import Reason
from schemas.sources import HtmlSource
from storage.folders import open_folder
from transforms.extract.page_folders import read_page_file
from transforms.fetch.url_rows import UrlRow

PAGE = """<html><head><title>Dogs</title>{head}</head><body>
<img src="a.jpg" alt="one"><img src="/up/b.jpg" alt="two"><img src="gone.jpg" alt="three">
<img src="https://other.example/c.jpg" alt="four"><img src="../../etc/passwd" alt="five">
<img src="data:image/gif;base64,R0lG" alt="six"><img src="data:;base64,A" alt="seven">
</body></html>"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("dogs/a.jpg", "up/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def read(
    root: Path, html: str, page_root: str = "", consent: Consent | None = None
) -> list[UrlRow]:
    (root / "dogs" / "my page.html").write_text(html)
    source = HtmlSource(type="html", name="site", path=str(root), page_root=page_root)
    folder = open_folder(str(root))
    rows = read_page_file(
        folder, "dogs/my page.html", source, consent or Consent(), "mixwright", 1000
    )
    return list(rows)


def told(rows: list[UrlRow]) -> list[str | bytes]:
    return [
        row.request.url
        if row.request
        else str(row.sample.reason)
        if row.sample.reason
        else row.sample.media[0].data
        for row in rows
    ]


def test_a_folder_of_pages(root: Path) -> None:
    rows = read(root, PAGE.format(head='<link rel=license href="https://cc.example/by">'))
    assert told(rows) == [
        b"dogs/a.jpg",
        b"up/b.jpg",
        "media_missing",
        "https://other.example/c.jpg",
        "media_missing",
        b"GIF",
        "fetch_failed_bad_content",
    ]
    assert all(row.sample.licence == "https://cc.example/by" for row in rows)
    assert rows[0].sample.meta["page_title"] == "Dogs"
    assert "page_url" not in rows[0].sample.meta
    assert rows[3].sample.locator == "dogs/my page.html#https://other.example/c.jpg"
    assert len({row.sample.locator for row in rows}) == len(rows)


def test_a_mirror_of_a_site(root: Path) -> None:
    rows = read(root, PAGE.format(head=""), page_root="https://site.example")
    assert told(rows)[:4] == [
        b"dogs/a.jpg",
        b"up/b.jpg",
        "https://site.example/dogs/gone.jpg",
        "https://other.example/c.jpg",
    ]
    assert rows[0].sample.meta["page_url"] == "https://site.example/dogs/my%20page.html"


def test_a_page_whose_owner_refuses(root: Path) -> None:
    html = PAGE.format(head="<meta name=robots content='noimageai'>")
    rows = read(root, html)
    assert {row.sample.reason for row in rows} == {Reason.FETCH_FAILED_OPT_OUT}
    assert all(row.request is None and not row.sample.media for row in rows)
    assert len({row.sample.locator for row in rows}) == len(rows)
    free = read(root, html, consent=Consent(directives=()))
    assert free[0].sample.reason is None


def test_pages_without_images_and_images_that_are_too_large(root: Path) -> None:
    (row,) = read(root, "<p>no image</p>")
    assert (row.sample.reason, row.sample.locator) == (Reason.MEDIA_MISSING, "dogs/my page.html")
    (root / "dogs" / "a.jpg").write_bytes(bytes(1001))
    (row,) = read(root, "<img src=a.jpg>")
    assert row.sample.reason is Reason.MEDIA_TOO_LARGE
