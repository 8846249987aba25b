"""From URL lists and pages on a loopback server to rows, and the second try of what failed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines import fetch
from pipelines.engine import LocalEngine
from pipelines.jobs import Settings
from pipelines.recipes import load_recipe
from schemas.recipe import Recipe
from transforms.parts.tables import read_table
from transforms.work import Work

DEMO = Path(__file__).parents[2] / "examples" / "demo"

RECIPE = """
name = "web"

[[sources]]
name = "list"
type = "urls"
path = "list.tsv"

[[sources]]
name = "pages"
type = "html"
path = "pages"
page_root = "http://site.invalid/"

[fetch]
contact = "tests@mixwright.invalid"
allow_networks = ["127.0.0.0/8"]

[fetch.deadlines]
connect_s = 2
total_s = 5

[fetch.retries]
attempts = 1

[dedupe]
edges = []
"""


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def serve(port: int = 0) -> Iterator[int]:
    handler = partial(Handler, directory=str(DEMO))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def later_port() -> int:
    return free_port()


@pytest.fixture
def work(tmp_path: Path, later_port: int, run_route: Callable[..., Work]) -> Iterator[Work]:
    photos = ["cup", "fish1", "dam1"]
    with serve() as port:
        lines = ["url\tcaption"]
        lines += [f"http://a.invalid/photos/categorization_{one}.jpg\ta {one}" for one in photos]
        lines += ["http://a.invalid/photos/none.jpg\tnothing", "http://b.invalid/LICENSE\tlater"]
        lines += ["http://b.invalid/photos/categorization_plate.jpg\ta plate, but later"]
        lines += ["ftp://a.invalid/x.jpg\tanother scheme", "http://10.0.0.1/x.jpg\tprivate"]
        (tmp_path / "list.tsv").write_text("\n".join(lines) + "\n")
        (tmp_path / "pages").mkdir()
        page = '<p>A page</p><img src="/photos/categorization_cup.jpg" alt="a cup on a page">'
        (tmp_path / "pages" / "index.html").write_text(page)
        (tmp_path / "recipe.toml").write_text(RECIPE)
        recipe = load_recipe(tmp_path / "recipe.toml")
        assert recipe.fetch is not None
        places = {
            "a.invalid": f"127.0.0.1:{port}",
            "site.invalid": f"127.0.0.1:{port}",
            "b.invalid": f"127.0.0.1:{later_port}",
        }
        settings = recipe.fetch.model_copy(update={"connect_to": places})
        connected: Recipe = recipe.model_copy(update={"fetch": settings})
        yield run_route(connected, tmp_path / "work", last="select")


def rows_of(work: Work, source: str) -> dict[str, dict[str, object]]:
    (file,) = [one for one in work.parts(*work.intakes()) if one.part.source == source]
    return {row["locator"]: row for row in read_table(work.ingest, file.name).to_pylist()}


def test_every_url_has_one_row_with_its_reason(work: Work) -> None:
    statuses = {
        name.rpartition("/")[2]: row["status"] for name, row in rows_of(work, "list").items()
    }
    assert statuses == {
        "categorization_cup.jpg": "ok",
        "categorization_fish1.jpg": "ok",
        "categorization_dam1.jpg": "ok",
        "none.jpg": "fetch_failed_http",
        "LICENSE": "fetch_failed_connect",
        "categorization_plate.jpg": "fetch_failed_connect",
        "x.jpg": "fetch_failed_blocked_address",
    }
    (page,) = rows_of(work, "pages").values()
    assert page["status"] == "ok"
    assert page["text"] == "a cup on a page"
    stored = work.ingest.child("pages/i0")
    (media,) = page["media"]
    data = stored.read_range(media["part_tar"], media["offset"], media["length"])
    assert data == (DEMO / "photos" / "categorization_cup.jpg").read_bytes()


def test_a_second_try_asks_for_what_may_have_passed_and_for_nothing_else(
    work: Work, later_port: int, run_route: Callable[..., Work]
) -> None:
    before = rows_of(work, "list")
    files = {entry.name: work.ingest.read(entry.name) for entry in work.ingest.list()}
    with serve(later_port):
        jobs = list(run_jobs(work))
    assert jobs == [2]
    after = rows_of(work, "list")
    plate = "http://b.invalid/photos/categorization_plate.jpg"
    assert after[plate]["status"] == "ok"
    assert after["http://b.invalid/LICENSE"]["status"] == "fetch_failed_http"
    for locator, row in before.items():
        if not locator.startswith("http://b.invalid"):
            assert after[locator] == row
    for name, data in files.items():
        assert work.ingest.read(name) == data, "a committed file was changed"
    assert list(run_jobs(work)) == []
    run_route(work.recipe, work.folder.uri, last="select")
    (file,) = [one for one in work.parts(*work.intakes()) if one.part.source == "list"]
    assert file.version == 2
    ledger = read_table(work.ledgers()["i0"], file.name).to_pylist()
    assert [row["decision"] for row in ledger].count("kept") == 4


def run_jobs(work: Work) -> Iterator[int]:
    for job in fetch.jobs(work, Settings()):
        LocalEngine().execute(job.build)
        yield job.rows
