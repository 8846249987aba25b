from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from schemas.fetch import Deadlines, Fetch
from schemas.reasons import Reason
from transforms.fetch.fetcher import Fetcher
from transforms.fetch.records import FetchRequest
from transforms.fetch.transport import Answer, Exchange, Transport
from transforms.fetch.urls import parse_url

if TYPE_CHECKING:
    from tests.transforms.fetch.conftest import Certificate, HostileServer

h2_connection = pytest.importorskip("h2.connection")
h2_config = pytest.importorskip("h2.config")
h2_events = pytest.importorskip("h2.events")


class Http2Server(threading.Thread):
    """Answers every request over HTTP/2 with the same image."""

    def __init__(self, certificate: Certificate, body: bytes) -> None:
        super().__init__(daemon=True)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.chain, certificate.key)
        self._context.set_alpn_protocols(["h2"])
        self._body = body
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self.connections = 0
        self.start()
        self._listening.wait(10)

    def run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self.join(10)

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._ended.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        http = h2_connection.H2Connection(h2_config.H2Configuration(client_side=False))
        http.initiate_connection()
        writer.write(http.data_to_send())
        while data := await reader.read(1 << 16):
            for event in http.receive_data(data):
                if isinstance(event, h2_events.RequestReceived):
                    headers = [(":status", "200"), ("content-type", "image/jpeg")]
                    http.send_headers(event.stream_id, headers)
                    http.send_data(event.stream_id, self._body, end_stream=True)
            writer.write(http.data_to_send())
        writer.close()


@pytest.fixture
def http2_server(certificate: Certificate, jpeg: bytes) -> Iterator[Http2Server]:
    server = Http2Server(certificate, jpeg)
    yield server
    server.close()


def test_http2_shares_connections(
    http2_server: Http2Server, certificate: Certificate, settings: Fetch, jpeg: bytes
) -> None:
    trusting = settings.model_copy(
        update={
            "ca_file": str(certificate.authority),
            "consent": settings.consent.model_copy(update={"tdm": False}),
        }
    )
    url = f"https://site.test:{http2_server.port}/a.jpg"
    with Fetcher(trusting, lookup=lambda host: ["127.0.0.1"]) as fetcher:
        results = fetcher.fetch_batch([FetchRequest(f"{url}?{n}") for n in range(30)])
    assert [result.refusal for result in results] == [None] * 30
    assert {result.body for result in results} == {jpeg}
    assert {result.evidence.http_version for result in results} == {"2"}
    assert http2_server.connections < 5


def send(settings: Fetch, url: str, pinned: str, total_s: float = 1.0) -> Answer:
    async def run() -> Answer:
        transport = Transport(settings)
        parsed = parse_url(url)
        try:
            return await transport.send(
                Exchange(
                    parsed, [ip_address(pinned)], total_s, 1 << 20, lambda status, headers: None
                )
            )
        finally:
            await transport.close()

    return asyncio.run(run())


def test_no_socket_is_opened_to_a_refused_address(server: HostileServer, settings: Fetch) -> None:
    """The last line: even where the guard above it were wrong."""
    url = server.url("/ok.jpg")
    for chosen in (settings.model_copy(update={"allow_networks": ()}), settings):
        pinned = "127.0.0.1" if not chosen.allow_networks else "127.0.0.2"
        answer = send(chosen, url, pinned)
        assert answer.refusal is not None
        assert answer.refusal.refusal.reason is Reason.FETCH_FAILED_BLOCKED_ADDRESS
    assert server.connections == 0


async def _part_then_silence(request: Any) -> bytes:
    request.writer.write(request.image(bytes(100_000))[:5_000])
    await asyncio.sleep(60)
    return b""


@pytest.mark.parametrize("path", ["/silence", "/part"])
def test_silence_ends_before_the_total_deadline(
    server: HostileServer, settings: Fetch, path: str
) -> None:
    server.routes["/part"] = _part_then_silence
    patient = settings.model_copy(update={"deadlines": Deadlines(stall_s=1, total_s=30)})
    start = time.monotonic()
    answer = send(patient, server.url(path), "127.0.0.1", total_s=30)
    assert 1 <= time.monotonic() - start < 4
    assert answer.refusal is not None
    assert answer.refusal.refusal.reason is Reason.FETCH_FAILED_TIMEOUT


def test_a_caller_that_takes_its_time_is_no_stall(server: HostileServer, settings: Fetch) -> None:
    async def late(request: Any) -> bytes:
        await asyncio.sleep(0.5)
        return request.image(bytes.fromhex("ffd8ff") + bytes(100))

    server.routes["/late"] = late
    free = settings.consent.model_copy(update={"tdm": False})
    patient = settings.model_copy(
        update={"deadlines": Deadlines(stall_s=1, total_s=30), "consent": free}
    )
    with Fetcher(patient) as fetcher:
        urls = [server.url("/ok.jpg"), *[server.url("/late")] * 5]
        results = fetcher.fetch(map(FetchRequest, urls))
        assert next(results).refusal is None
        time.sleep(2)
        assert [result.refusal for result in results] == [None] * 5


def test_large_bodies_come_whole_through_the_disk(
    server: HostileServer, settings: Fetch, monkeypatch: pytest.MonkeyPatch, jpeg: bytes
) -> None:
    monkeypatch.setattr("transforms.fetch.transport.SPOOL_BYTES", 100)
    answer = send(settings, server.url("/ok.jpg"), "127.0.0.1")
    assert answer.refusal is None
    assert answer.body == jpeg
    assert answer.timings.connect > 0
    assert answer.timings.wait > 0
