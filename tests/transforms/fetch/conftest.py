"""A server on loopback that does everything that servers do to crawlers."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import io
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from PIL import Image

from schemas.fetch import Consent, Deadlines, Fetch, Politeness, Retries


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    number: int
    writer: asyncio.StreamWriter

    def answer(self, status: str, body: bytes = b"", **headers: str) -> bytes:
        """Returns a whole response; `_` in names of headers stands for `-`."""
        headers.setdefault("Content_Length", str(len(body)))
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def image(self, body: bytes, **headers: str) -> bytes:
        return self.answer("200 OK", body, Content_Type="image/jpeg", **headers)


Reply = Callable[[Request], Awaitable[bytes] | bytes]


def make_jpeg(seed: int = 0, side: int = 64) -> bytes:
    sink = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(sink, "JPEG")
    return sink.getvalue()


JPEG = make_jpeg()


async def _drip(request: Request) -> bytes:
    request.writer.write(request.image(b"", Content_Length="100000") + JPEG[:64])
    for byte in JPEG[64:]:
        await asyncio.sleep(0.05)
        request.writer.write(bytes([byte]))
        await request.writer.drain()
    return b""


async def _endless(request: Request) -> bytes:
    request.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG)
    while True:
        request.writer.write(bytes(1 << 16))
        await request.writer.drain()


async def _silence(_request: Request) -> bytes:
    await asyncio.sleep(60)
    return b""


async def _reset(request: Request) -> bytes:
    request.writer.write(request.image(JPEG)[:300])
    await request.writer.drain()
    await asyncio.sleep(0.05)
    raw = request.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.writer.transport.abort()
    return b""


def _then_close(data: bytes) -> Reply:
    def reply(request: Request) -> bytes:
        request.writer.write(data)
        request.writer.close()
        return b""

    return reply


def _redirect(to: str, status: str = "302 Found", **headers: str) -> Reply:
    return lambda request: request.answer(status, b"gone", Location=to, **headers)


def _status(status: str, **headers: str) -> Reply:
    return lambda request: request.answer(status, b"sorry", **headers)


def _first_then(first: Reply, later: Reply) -> Reply:
    return lambda request: (first if request.number == 1 else later)(request)


def _image(body: bytes = JPEG, **headers: str) -> Reply:
    return lambda request: request.image(body, **headers)


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
_GZIPPED = gzip.compress(bytes(50 << 20))

ROUTES: dict[str, Reply] = {
    "/ok.jpg": _image(),
    "/404": _status("404 Not Found"),
    "/404-huge": lambda request: request.answer("404 Not Found", bytes(1 << 20)),
    "/410": _status("410 Gone"),
    "/204": _status("204 No Content"),
    "/429": _status("429 Too Many Requests"),
    "/429-long": _status("429 Too Many Requests", Retry_After="3600"),
    "/429-then-ok": _first_then(_status("429 Too Many Requests", Retry_After="1"), _image()),
    "/503": _status("503 Service Unavailable"),
    "/500-then-ok": _first_then(_status("500 Internal Server Error"), _image()),
    "/loop": _redirect("/loop"),
    "/hops": _redirect("/hop"),
    "/hop": _redirect("ok.jpg", "301 Moved Permanently"),
    "/to-private": _redirect("http://10.0.0.1/ok.jpg"),
    "/to-metadata": _redirect("http://169.254.169.254/latest/meta-data"),
    "/to-file": _redirect("file:///etc/passwd"),
    "/to-credentials": _redirect("http://root:toor@127.0.0.1/"),
    "/to-nowhere": lambda request: request.answer("302 Found"),
    "/drip": _drip,
    "/endless": _endless,
    "/silence": _silence,
    "/reset": _reset,
    "/short": _then_close(_HEAD + b"Content-Length: 9999\r\n\r\n" + JPEG[:100]),
    "/long": _then_close(_HEAD + b"Content-Length: 100\r\n\r\n" + JPEG),
    "/bad-chunks": _then_close(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nXYZ\r\n" + JPEG),
    "/cut-chunks": _then_close(
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n40\r\n" + JPEG[:64] + b"\r\n"
    ),
    "/chunks": lambda _request: (
        _HEAD
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n" % len(JPEG)
        + JPEG
        + b"\r\n0\r\nX-Trailer: noai\r\n\r\n"
    ),
    "/early": lambda request: (
        b"HTTP/1.1 103 Early Hints\r\nX-Robots-Tag: noai\r\n\r\n" + request.image(JPEG)
    ),
    "/bomb": _image(_GZIPPED, Content_Encoding="gzip"),
    "/gzip": _image(_GZIPPED),
    "/html": lambda request: request.answer("200 OK", b"<html>", Content_Type="text/html"),
    "/html-as-image": _image(b"<!DOCTYPE html><html>no image here</html>" * 10),
    "/untold": lambda request: request.answer("200 OK", JPEG),
    "/truncated.jpg": _image(JPEG[:200]),
    "/empty": _image(b""),
    "/tiny": _image(b"x"),
    "/large": _image(JPEG + bytes(1 << 20)),
    "/flood": lambda _request: b"HTTP/1.1 200 OK\r\n" + b"X-Flood: aaaaaaaaaaaaaaaa\r\n" * 20_000,
    "/one-long-header": lambda _request: b"HTTP/1.1 200 OK\r\nX-Flood: " + b"a" * (1 << 20),
    "/not-http": _then_close(b"SSH-2.0-OpenSSH_9.2\r\n" * 8),
    "/closed": _then_close(b""),
    "/noai": _image(X_Robots_Tag="noai"),
    "/noai-for-us": _image(X_Robots_Tag="mixwright: noai"),
    "/noai-for-others": _image(X_Robots_Tag="otherbot: noai"),
    "/none": _image(X_Robots_Tag="none"),
    "/tdm": _image(tdm_reservation="1", tdm_policy="https://example.org/policy"),
    "/noai-redirect": _redirect("/ok.jpg", X_Robots_Tag="noai"),
    "/refused/by-robots.jpg": _image(),
}


class HostileServer:
    """Answers by path, in a thread of its own; `/robots.txt` and the like are set by the tests.

    Attributes:
        routes: replies by path, without the query.
        hits: requests by path.
        seen: every request, in order of arrival.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.routes = dict(ROUTES)
        self.hits: Counter[str] = Counter()
        self.seen: list[Request] = []
        self.connections = 0
        self.most_connections = 0
        self._open = 0
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.port = self._ready.result(10)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        scheme = "https" if self._context else "http"
        return f"{scheme}://{host}:{self.port}{path}"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._context)
        self._ready.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self._open += 1
        self.most_connections = max(self.most_connections, self._open)
        try:
            while not writer.is_closing():
                await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except asyncio.CancelledError:
            pass
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1].partition("?")[0]
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        self.hits[path] += 1
        request = Request(path, headers, self.hits[path], writer)
        self.seen.append(request)
        reply = self.routes.get(path, _status("404 Not Found"))(request)
        data = reply if isinstance(reply, bytes) else await reply
        if data:
            writer.write(data)
            await writer.drain()


@pytest.fixture
def server() -> Iterator[HostileServer]:
    server = HostileServer()
    yield server
    server.close()


@dataclass(frozen=True)
class Certificate:
    authority: Path
    chain: Path
    key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for `site.test` that is its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "site.test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("site.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM)
    (folder / "chain.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Certificate(folder / "chain.pem", folder / "chain.pem", folder / "key.pem")


@pytest.fixture
def tls_server(certificate: Certificate) -> Iterator[HostileServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    server = HostileServer(context)
    yield server
    server.close()


@pytest.fixture
def settings() -> Fetch:
    """Loopback allowed, short deadlines, no robots, one try, hosts that bear anything."""
    return Fetch(
        contact="crawl@example.org",
        allow_networks=("127.0.0.1/32",),
        max_bytes=1 << 20,
        deadlines=Deadlines(dns_s=2, connect_s=2, stall_s=2, total_s=2),
        politeness=Politeness(
            requests_per_s=1e6, burst=1_000_000, connections=100, breaker_failures=0
        ),
        consent=Consent(robots=False, tdm=True),
        retries=Retries(attempts=1, pause_s=0.05),
    )


@pytest.fixture
def jpeg() -> bytes:
    """The image that the server has."""
    return JPEG
