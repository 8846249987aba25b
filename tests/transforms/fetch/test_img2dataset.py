from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.fetch import Fetch
from schemas.reasons import Reason
from transforms.fetch import img2dataset as module
from transforms.fetch.consent import OptOut
from transforms.fetch.img2dataset import Img2DatasetFetcher, Job, explain
from transforms.fetch.records import ExpectedHash, FetchRequest, FetchResult

if TYPE_CHECKING:
    from tests.transforms.fetch.conftest import HostileServer

BAD, CONNECT = Reason.FETCH_FAILED_BAD_CONTENT, Reason.FETCH_FAILED_CONNECT
HTTP, TIMEOUT = Reason.FETCH_FAILED_HTTP, Reason.FETCH_FAILED_TIMEOUT

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("img2dataset") is None, reason="img2dataset is an extra"
)


@pytest.fixture
def open_settings(settings: Fetch) -> Fetch:
    consent = settings.consent.model_copy(update={"tdm": False})
    return settings.model_copy(update={"consent": consent})


def pretend(bodies: dict[str, bytes | str]) -> Callable[[Job, float], None]:
    """Returns what writes as img2dataset does: out of order, with messages for failures."""

    def run(job: Job, seconds: float) -> None:
        for shard in range(job.shards):
            with pa.memory_map(str(job.folder / f"{shard}.feather")) as file:
                urls = pa.ipc.open_file(file).read_all()["url"].to_pylist()
            rows = []
            for number, url in enumerate(urls):
                body = bodies[url.rsplit("/", 1)[1]]
                failed = isinstance(body, str)
                rows.append(
                    {
                        "url": url,
                        "key": f"{shard}{number:03d}",
                        "status": "failed_to_download" if failed else "success",
                        "error_message": body if failed else None,
                        "jpg": None if failed else body,
                    }
                )
            pq.write_table(pa.Table.from_pylist(rows[::-1]), job.folder / f"{shard}.parquet")

    return run


def test_what_it_brings_is_checked(
    open_settings: Fetch, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 4)
    bodies: dict[str, bytes | str] = {
        "ok": jpeg,
        "html": b"<html>",
        "large": jpeg + bytes(1 << 20),
        "gone": "HTTP Error 404: Not Found",
        "busy": "HTTP Error 503: Service Unavailable",
        "slow": "timed out",
    }
    requests = [FetchRequest(f"http://127.0.0.1/{name}") for name in bodies]
    requests.insert(2, FetchRequest("http://10.0.0.1/ok"))
    requests.insert(3, FetchRequest("ftp://127.0.0.1/ok"))
    wrong = ExpectedHash("md5", bytes(16))
    requests.append(FetchRequest("http://127.0.0.1/ok", wrong))
    with Img2DatasetFetcher(open_settings, run_job=pretend(bodies)) as fetcher:
        results = list(fetcher.fetch(requests))
    assert [result.evidence.url for result in results] == [request.url for request in requests]
    told = [result.refusal for result in results]
    assert [refusal and (refusal.reason, refusal.transient) for refusal in told] == [
        None,
        (BAD, False),
        (Reason.FETCH_FAILED_BLOCKED_ADDRESS, False),
        (Reason.FETCH_FAILED_BLOCKED_ADDRESS, False),
        (Reason.FETCH_FAILED_TOO_LARGE, False),
        (HTTP, False),
        (HTTP, True),
        (TIMEOUT, True),
        (BAD, False),
    ]
    assert results[0].body == jpeg


def test_shards_that_do_not_end_are_for_later(open_settings: Fetch) -> None:
    def run(job: Job, seconds: float) -> None:
        assert seconds > module.START_S
        (job.folder / "0.parquet").write_bytes(b"PAR1 cut off")

    with Img2DatasetFetcher(open_settings, run_job=run) as fetcher:
        results = list(fetcher.fetch([FetchRequest("http://127.0.0.1/a")] * 3))
    assert len(results) == 3
    assert all(result.refusal and result.refusal.transient for result in results)


def test_those_who_opted_out_are_not_handed_over(open_settings: Fetch) -> None:
    opt_out = OptOut.parse(["127.0.0.1"])
    with Img2DatasetFetcher(open_settings, opt_out, run_job=pretend({})) as fetcher:
        (result,) = fetcher.fetch([FetchRequest("http://127.0.0.1/a")])
    assert result.refusal is not None
    assert result.refusal.reason is Reason.FETCH_FAILED_OPT_OUT


def test_messages_keep_their_words() -> None:
    refusal = explain("failed_to_download", "<urlopen error [Errno 111] Connection refused>")
    assert (refusal.reason, refusal.transient) == (CONNECT, True)
    assert "Connection refused" in refusal.error


def test_it_says_what_to_install(open_settings: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"mixwright\[img2dataset\]"):
        Img2DatasetFetcher(open_settings)


@needs_package
def test_the_package_itself(
    server: HostileServer, open_settings: Fetch, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ["/ok.jpg", "/404", "/html-as-image", "/noai", "/closed", "/hops", "/empty"]
    requests = [FetchRequest(server.url(path)) for path in paths]
    with Img2DatasetFetcher(open_settings) as fetcher:
        results: list[FetchResult] = list(fetcher.fetch(requests))
        wanted = [None, HTTP, BAD, Reason.FETCH_FAILED_OPT_OUT, CONNECT, None, BAD]
        assert [result.refusal and result.refusal.reason for result in results] == wanted
        assert results[0].body == results[5].body == jpeg
        # Its own deadline never ends a body that drips; ours does, for the whole shard.
        monkeypatch.setattr(module, "START_S", 20.0)
        server.routes["/drip"] = _drip_for_ever
        start = time.monotonic()
        dripping = [FetchRequest(server.url("/drip")), requests[0]]
        results = list(fetcher.fetch(dripping))
    assert time.monotonic() - start < 40
    assert [result.refusal and result.refusal.reason for result in results] == [TIMEOUT, TIMEOUT]


async def _drip_for_ever(request: object) -> bytes:
    writer = request.writer  # type: ignore[attr-defined]
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.2)
