"""A web server on loopback that answers late, and sometimes not at all.

    python -m benchmarks.slow_server FOLDER LATENCY_S STALL_SHARE

Prints its port. Which requests stall is decided by their target, so that all clients meet the same.
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit


class _Connection(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    def __init__(self, folder: Path, latency_s: float, stall_share: float) -> None:
        self._folder = folder
        self._latency_s = latency_s
        self._stall_share = stall_share
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each whole request, later."""
        self._pending += data
        while b"\r\n\r\n" in self._pending:
            head, _, self._pending = self._pending.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1]
            if self._answers(target):
                loop = asyncio.get_running_loop()
                loop.call_later(self._latency_s, self._answer, target.decode())

    def _answers(self, target: bytes) -> bool:
        # Only images stall: on other files, one side waits and the other never asks.
        return b".jpg" not in target or zlib.crc32(target) / 2**32 >= self._stall_share

    def _answer(self, target: str) -> None:
        if not self._transport.is_closing():
            self._transport.write(_response(self._folder / Path(urlsplit(target).path).name))


@cache
def _response(path: Path) -> bytes:
    """Returns a whole response; from memory, so that the server does not set the pace."""
    if not path.is_file():
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    body = path.read_bytes()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(folder: Path, latency_s: float, stall_share: float) -> None:
    """Serves until the process ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(folder, latency_s, stall_share), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
