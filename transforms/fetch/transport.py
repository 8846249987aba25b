"""The wire: one HTTP request at a time per handle, many handles, on libcurl.

libcurl speaks HTTP/1.1 and HTTP/2, keeps connections alive, and spends less of a processor on a
response than any client in Python. It follows no redirect, reads no environment and no cookie, and
asks us before it opens a socket.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, BinaryIO

import certifi
import pycurl

from schemas.fetch import Fetch
from schemas.reasons import Reason
from transforms.fetch.addresses import Address, parse_networks, refuse_address
from transforms.fetch.records import RefusedError, Timings
from transforms.fetch.retries import curl_refusal
from transforms.fetch.urls import FetchUrl

MAX_HEADER_BYTES = 64 << 10
MAX_IGNORED_BYTES = 64 << 10
"""Of the body of an error or redirect, so much is read to keep the connection."""

SPOOL_BYTES = 1 << 20
"""Larger bodies go to disk while they come in."""

MAX_CONNECTION_AGE_S = 300

WATCH_S = 0.25
"""How often stalled requests are looked for."""

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request.

    Attributes:
        url: what to ask for.
        addresses: where to connect to; nowhere else.
        total_s: seconds for all of it.
        max_bytes: cap of the body.
        judge: called with status and headers before the body; raises `RefusedError`.
        judge_head: called with the first bytes of a body, as `content.refuse_head` wants them, or
            never where None; raises `RefusedError`.
        head_bytes: how many bytes `judge_head` wants.
    """

    url: FetchUrl
    addresses: Sequence[Address]
    total_s: float
    max_bytes: int
    judge: Callable[[int, Headers], None]
    judge_head: Callable[[bytes], None] | None = None
    head_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; of anything but a success, without the body.

    Attributes:
        refusal: why it broke off, or was broken off; None where it did not.
    """

    status: int
    headers: Headers
    body: bytes
    http_version: str
    timings: Timings
    refusal: RefusedError | None

    def header(self, name: str) -> str:
        """Returns the last value of a header, named in lower case; empty where there is none."""
        return next((value for key, value in reversed(self.headers) if key == name), "")


class Transport:
    """Sends requests, as many at once as it is asked to."""

    def __init__(self, settings: Fetch) -> None:
        """Makes no connection yet."""
        self._settings = settings
        self._allowed = parse_networks(settings.allow_networks)
        self._multi = pycurl.AsyncCurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, settings.connections)
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        self._idle: list[_Handle] = []
        self._active: set[_Handle] = set()
        self._watch_due = 0.0
        self._is_watched = False

    async def send(self, exchange: Exchange) -> Answer:
        """Sends a request and returns the answer, broken or not."""
        handle = self._idle.pop() if self._idle else _Handle(self._settings, self._refuse)
        handle.begin(exchange)
        answering = self._multi.add_handle(handle.curl)
        handle.answering = answering
        self._active.add(handle)
        if not self._is_watched:
            self._watch_again()
        code = 0
        try:
            await answering
        except pycurl.error as error:
            code = error.args[0]
        except asyncio.CancelledError:
            handle.curl.close()
            raise
        finally:
            self._active.discard(handle)
        answer = handle.finish(code)
        self._idle.append(handle)
        return answer

    async def close(self) -> None:
        """Closes all connections."""
        await self._multi.aclose()
        for handle in self._idle:
            handle.curl.close()

    def _watch_again(self) -> None:
        loop = asyncio.get_running_loop()
        self._is_watched = True
        self._watch_due = loop.time() + WATCH_S
        loop.call_at(self._watch_due, self._watch)

    def _watch(self) -> None:
        """Gives up requests that stall: libcurl, which averages the speed, takes seconds longer."""
        late_s = time.monotonic() - self._watch_due
        for handle in list(self._active):
            if late_s > WATCH_S:
                # The loop stood still: what has come since then is not read yet.
                handle.excuse(late_s)
            elif handle.is_stalled():
                handle.give_up()
        self._is_watched = False
        if self._active:
            self._watch_again()

    def _refuse(self, address: Address) -> str:
        return refuse_address(address, self._allowed)


class _Handle:
    """An easy handle of libcurl with what receives its answer; used again and again.

    Attributes:
        answering: done when the answer is whole, or broken.
    """

    answering: asyncio.Future[Any]

    def __init__(self, settings: Fetch, refuse: Callable[[Address], str]) -> None:
        self._refuse = refuse
        self._connect_s = settings.deadlines.connect_s
        self._stall_s = settings.deadlines.stall_s
        self._port_of = settings.port_of
        self.curl = pycurl.Curl()
        for option, value in _fixed_options(settings):
            self.curl.setopt(option, value)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._on_header)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._on_body)
        self.curl.setopt(pycurl.OPENSOCKETFUNCTION, self._on_socket)

    def begin(self, exchange: Exchange) -> None:
        """Prepares the handle for a request."""
        self._exchange = exchange
        self._status = 0
        self._version = ""
        self._headers: list[tuple[str, str]] = []
        self._header_bytes = 0
        self._headers_done = False
        self._head: bytes | None = b"" if exchange.judge_head else None
        self._received = 0
        self._body = _Body()
        self._refusal: RefusedError | None = None
        self._enough = False
        self._began = time.monotonic()
        self._heard = 0.0
        url, curl = exchange.url, self.curl
        curl.setopt(pycurl.URL, url.text)
        milliseconds = max(1, int(exchange.total_s * 1000))
        curl.setopt(pycurl.TIMEOUT_MS, milliseconds)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, min(milliseconds, int(self._connect_s * 1000)))
        if url.address is None:
            pins = ",".join(_bracketed(address) for address in exchange.addresses)
            port = self._port_of(url.host, url.port)
            curl.setopt(pycurl.RESOLVE, [f"+{url.host}:{port}:{pins}"])
            if port != url.port:
                curl.setopt(pycurl.CONNECT_TO, [f"{url.host}:{url.port}:{url.host}:{port}"])

    def is_stalled(self) -> bool:
        """Returns whether the other side has been silent for too long, once it was connected to."""
        heard = self._heard
        if not heard:
            sent = self.curl.getinfo(pycurl.PRETRANSFER_TIME_T)
            heard = self._began + sent / 1e6 if sent else float("inf")
        return time.monotonic() - heard > self._stall_s

    def excuse(self, seconds: float) -> None:
        """Leaves so many seconds out of account."""
        self._began += seconds
        self._heard += seconds if self._heard else 0.0

    def give_up(self) -> None:
        """Ends the request as libcurl does when the time is up."""
        if not self.answering.done():
            self.answering.set_exception(pycurl.error(pycurl.E_OPERATION_TIMEDOUT, "stalled"))

    def finish(self, code: int) -> Answer:
        """Returns the answer once libcurl is done; `code` is its error, 0 for none."""
        refusal = self._refusal
        if refusal is None and code and not self._enough:
            refusal = self._explain(code)
        body = self._body.close() if refusal is None else self._body.discard()
        if refusal is None and self._head is not None and self._headers_done and self._is_success:
            refusal = self._judged_head()
        return Answer(
            self._status, tuple(self._headers), body, self._version, self._timings(), refusal
        )

    @property
    def _is_success(self) -> bool:
        return 200 <= self._status < 300

    def _explain(self, code: int) -> RefusedError:
        if code == pycurl.E_OPERATION_TIMEDOUT:
            connected = self.curl.getinfo(pycurl.PRETRANSFER_TIME_T) > 0
            phase = "the answer" if connected else "the connection"
            error = f"{phase} is not complete in time"
            return RefusedError(Reason.FETCH_FAILED_TIMEOUT, error, transient=True)
        if code in (pycurl.E_WRITE_ERROR, pycurl.E_OUT_OF_MEMORY, pycurl.E_UNKNOWN_OPTION):
            raise RuntimeError(f"libcurl: {self.curl.errstr()}")
        told = curl_refusal(code)
        return RefusedError(told.reason, told.error, told.transient)

    def _timings(self) -> Timings:
        get = self.curl.getinfo
        connected = max(get(pycurl.CONNECT_TIME_T), get(pycurl.APPCONNECT_TIME_T))
        sent = get(pycurl.PRETRANSFER_TIME_T)
        first, total = get(pycurl.STARTTRANSFER_TIME_T), get(pycurl.TOTAL_TIME_T)
        return Timings(
            connect=connected / 1e6,
            wait=max(0, first - sent) / 1e6,
            transfer=max(0, total - first) / 1e6 if first else 0.0,
        )

    def _on_socket(self, _purpose: int, address: Any) -> Any:
        """Opens a socket, unless to where none must lead: libcurl may have looked up by itself."""
        target = ip_address(address.addr[0])
        error = self._refuse(target)
        if not error and self._exchange.addresses and target not in self._exchange.addresses:
            error = f"{target} is not the address that was looked up"
        if error:
            self._refusal = RefusedError(Reason.FETCH_FAILED_BLOCKED_ADDRESS, error)
            return pycurl.SOCKET_BAD
        return socket.socket(address.family, address.socktype, address.protocol)

    def _on_header(self, line: bytes) -> int | None:
        self._heard = time.monotonic()
        self._header_bytes += len(line)
        if self._header_bytes > MAX_HEADER_BYTES:
            error = f"more than {MAX_HEADER_BYTES} bytes of headers"
            return self._stop(RefusedError(Reason.FETCH_FAILED_TOO_LARGE, error))
        if self._headers_done:
            return None
        if line.startswith(b"HTTP/"):
            words = line.split(None, 2)
            self._version = words[0][5:].decode("ascii", "replace")
            self._status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
            self._headers.clear()
        elif line.strip():
            name, _, value = line.decode("latin-1").partition(":")
            self._headers.append((name.strip().lower(), value.strip()))
        elif self._status >= 200:
            self._headers_done = True
            try:
                self._exchange.judge(self._status, tuple(self._headers))
            except RefusedError as refusal:
                return self._stop(refusal)
        return None

    def _on_body(self, data: bytes) -> int | None:
        self._heard = time.monotonic()
        self._received += len(data)
        if not self._is_success:
            self._enough = self._received > MAX_IGNORED_BYTES
            return 0 if self._enough else None
        if self._received > self._exchange.max_bytes:
            error = f"the body has more than {self._exchange.max_bytes} bytes"
            return self._stop(RefusedError(Reason.FETCH_FAILED_TOO_LARGE, error))
        if self._head is not None:
            self._head += data[: self._exchange.head_bytes]
            if len(self._head) >= self._exchange.head_bytes:
                refusal = self._judged_head()
                if refusal is not None:
                    return self._stop(refusal)
        self._body.write(data)
        return None

    def _judged_head(self) -> RefusedError | None:
        """Has the first bytes judged, once."""
        head, self._head = self._head, None
        if self._exchange.judge_head is not None and head is not None:
            try:
                self._exchange.judge_head(head)
            except RefusedError as refusal:
                return refusal
        return None

    def _stop(self, refusal: RefusedError) -> int:
        """Has libcurl break off: it does where a callback has not taken all bytes."""
        self._refusal = refusal
        return 0


class _Body:
    """A body while it comes in: in memory, and on disk once it is large."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._file: BinaryIO | None = None

    def write(self, chunk: bytes) -> None:
        """Adds what has come."""
        self._size += len(chunk)
        if self._file is None:
            self._chunks.append(chunk)
            if self._size <= SPOOL_BYTES:
                return
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            chunk = b"".join(self._chunks)
            self._chunks.clear()
        self._file.write(chunk)

    def close(self) -> bytes:
        """Returns the whole body."""
        if self._file is None:
            return b"".join(self._chunks)
        with self._file as file:
            file.seek(0)
            return file.read()

    def discard(self) -> bytes:
        """Returns nothing."""
        if self._file is not None:
            self._file.close()
        return b""


def _fixed_options(settings: Fetch) -> list[tuple[int, Any]]:
    return [
        (pycurl.NOSIGNAL, 1),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
        (pycurl.HTTP09_ALLOWED, 0),
        (pycurl.PIPEWAIT, 1),
        (pycurl.FOLLOWLOCATION, 0),
        # An empty proxy overrules the environment: a proxy would connect where we do not look.
        (pycurl.PROXY, ""),
        (pycurl.USERAGENT, settings.user_agent),
        # A body that unfolds while it comes in is a bomb; images gain nothing from packing.
        (pycurl.HTTPHEADER, ["Accept-Encoding: identity"]),
        (pycurl.CAINFO, settings.ca_file or certifi.where()),
        (pycurl.BUFFERSIZE, 128 << 10),
        (pycurl.MAXLIFETIME_CONN, MAX_CONNECTION_AGE_S),
    ]


def _bracketed(address: Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)
