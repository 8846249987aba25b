"""A proxy before an object store that loses answers and makes up others."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

Answer = tuple[int, list[tuple[str, str]], bytes]


@dataclass
class Fault:
    """What happens to the next request that matches.

    Attributes:
        method: HTTP method of the request.
        words: text that its path or query holds.
        act: called with a function that forwards the request; returns what the client gets.
    """

    method: str
    words: str
    act: Callable[[Callable[[], Answer]], Answer]


@dataclass
class Proxy:
    """A server at `url` that forwards to `upstream`, but for `faults`, each of which acts once."""

    upstream: str
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def act(self, method: str, words: str, act: Callable[[Callable[[], Answer]], Answer]) -> None:
        """Answers the next such request with what `act` returns; see `Fault`."""
        self.faults.append(Fault(method, words, act))

    def refuse(self, method: str, words: str, status: int) -> None:
        """Answers the next such request with an error, without forwarding it."""
        self.act(method, words, lambda forward: (status, [], b"refused"))

    def lose_answer(self, method: str, words: str) -> None:
        """Forwards the next such request, and answers 503."""

        def act(forward: Callable[[], Answer]) -> Answer:
            forward()
            return 503, [], b"lost"

        self.act(method, words, act)


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            proxy.seen.append(f"{self.command} {self.path}")
            matching = (
                fault
                for fault in proxy.faults
                if fault.method == self.command and fault.words in self.path
            )
            fault = next(matching, None)
            if fault is None:
                status, headers, content = self.forward(body)
            else:
                proxy.faults.remove(fault)
                status, headers, content = fault.act(lambda: self.forward(body))
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

        def forward(self, body: bytes) -> Answer:
            upstream = urlsplit(proxy.upstream)
            assert upstream.hostname is not None
            connection = http.client.HTTPConnection(upstream.hostname, upstream.port, timeout=30)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
            connection.close()
            hop = ("content-length", "transfer-encoding", "connection")
            return (
                response.status,
                [
                    (name, value.replace(proxy.upstream, proxy.url))
                    for name, value in response.getheaders()
                    if name.lower() not in hop
                ],
                content,
            )

        def log_message(self, *arguments: object) -> None: ...

    return Handler


@pytest.fixture
def proxy(fake_gcs: str, fake_gcs_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before fake-gcs-server, to which `STORAGE_EMULATOR_HOST` points."""
    proxy = Proxy(fake_gcs)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy)) as server:
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join(timeout=10)
