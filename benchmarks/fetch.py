"""Fetches images from a server on loopback, beside img2dataset with the same list.

    python -m benchmarks.fetch [--images N] [--rounds N] [--img2dataset PYTHON]

Images are crops of the demo's photographs, scaled up to about 130 kB. Bytes are kept as they come
on both sides: img2dataset writes its tars without re-encoding, mixwright writes the tar of a part
and the table of results. A run is a process of its own, imports and children included: processor
time is that of the whole tree, memory the peak of its proportional set size.

- `fast`: nginx, as quick as it can.
- `slow`: a server that answers after 200 ms, and leaves 2 % of the requests without an answer. Both
  sides give up as they do by default: img2dataset after ten seconds without a byte, mixwright after
  five. Neither tries again.

mixwright is one process, with 256 connections for the fast server and 1024 for the slow one, and is
told that the server bears any number of requests. img2dataset has its 256 threads in one process,
which is its default, and then (`_percore`) in a process for each core.

img2dataset may live in an environment of its own, since it holds back versions of other packages.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.figures import Figure, report

IMAGES = 20_000
DISTINCT = 2_000
TARGET_BYTES = 130_000
LATENCY_S = 0.2
STALL_SHARE = 0.02
CONNECTIONS = {"fast": 256, "slow": 1024}
PHOTOS = Path(__file__).parent.parent / "examples" / "demo" / "photos"

_NGINX = """
daemon off; pid {root}/nginx.pid; error_log {root}/error.log crit; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  types {{ image/jpeg jpg; }}
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {root}/images; }}
}}
"""

_IMG2DATASET = """
import sys
from img2dataset import download
if __name__ == "__main__":
    download(url_list=sys.argv[1], output_folder=sys.argv[2], input_format="parquet",
             url_col="url", caption_col="caption", output_format="webdataset",
             resize_mode="no", disable_all_reencoding=True, compute_hash="sha256",
             processes_count=int(sys.argv[3]), thread_count=256, enable_wandb=False)
"""


@dataclass(frozen=True)
class Cost:
    """What a run took: wall and processor seconds, peak MiB, images that came."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    images: int


def make_images(folder: Path) -> None:
    """Writes `DISTINCT` crops of the demo's photographs, scaled to about `TARGET_BYTES`."""
    folder.mkdir()
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    random = np.random.default_rng(0)
    for number in range(DISTINCT):
        photo = photos[number % len(photos)]
        width, height = (int(side * random.uniform(0.6, 1)) for side in photo.size)
        left = int(random.integers(0, photo.width - width + 1))
        top = int(random.integers(0, photo.height - height + 1))
        crop = photo.crop((left, top, left + width, top + height))
        side, data = 640, b""
        for _ in range(3):
            sink = io.BytesIO()
            crop.resize((side, side * height // width)).save(sink, "JPEG", quality=95)
            data = sink.getvalue()
            side = int(side * (TARGET_BYTES / len(data)) ** 0.5)
        (folder / f"{number}.jpg").write_bytes(data)


def write_list(path: Path, port: int, images: int) -> None:
    """Writes the list; images repeat under different URLs."""
    names = [f"{number % DISTINCT}.jpg?n={number}" for number in range(images)]
    table = pa.table(
        {
            "url": [f"http://127.0.0.1:{port}/{name}" for name in names],
            "caption": [f"photograph number {number}" for number in range(images)],
        }
    )
    pq.write_table(table, path)


@contextmanager
def nginx(root: Path) -> Iterator[int]:
    """Runs nginx; gives its port."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        raise SystemExit("nginx is not installed; run: apt-get install -y nginx-light")
    port = _free_port()
    config = root / "nginx.conf"
    config.write_text(_NGINX.format(root=root, port=port))
    with _running([binary, "-c", str(config), "-e", str(root / "error.log")]):
        _await_port(port)
        yield port


@contextmanager
def slow_server(root: Path) -> Iterator[int]:
    """Runs the late server; gives its port."""
    arguments = [str(root / "images"), str(LATENCY_S), str(STALL_SHARE)]
    with _running([sys.executable, "-m", "benchmarks.slow_server", *arguments]) as process:
        assert process.stdout is not None  # noqa: S101
        yield int(process.stdout.readline())


@contextmanager
def _running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


def measure(command: Sequence[str], out: Path) -> Cost:
    """Runs a command that fetches into `out`, and returns what it took."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    log = out.parent / f"{out.name}.log"
    start = time.perf_counter()
    with log.open("wb") as sink:
        environment = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"}
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)
    peak = _Peak(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[:3]} failed:\n{log.read_text()[-3000:]}")
    images = sum(_count_images(path) for path in out.glob("*.parquet"))
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak.stop(), images)


def _count_images(path: Path) -> int:
    status = pq.read_table(path, columns=["status"]).column("status").to_pylist()
    return sum(value in ("ok", "success") for value in status)


class _Peak:
    """Watches the memory of a process and all that it starts."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> float:
        """Returns the peak in MiB."""
        self._ended.set()
        self._thread.join()
        return self._peak / (1 << 20)

    def _watch(self) -> None:
        while not self._ended.wait(0.25):
            total = 0
            try:
                for process in [self._root, *self._root.children(recursive=True)]:
                    total += process.memory_full_info().pss
            except psutil.Error:
                continue
            self._peak = max(self._peak, total)


def fetch_ours(url_list: Path, out: Path, connections: int) -> None:
    """Fetches a list as an ingest part would: a tar of media and a table of what became of rows."""
    from schemas.digests import media_id  # noqa: PLC0415
    from schemas.fetch import Fetch, Politeness, Retries  # noqa: PLC0415
    from schemas.layout import Part  # noqa: PLC0415
    from transforms.fetch.evidence import evidence_row, evidence_table  # noqa: PLC0415
    from transforms.fetch.fetcher import Fetcher  # noqa: PLC0415
    from transforms.fetch.records import FetchRequest  # noqa: PLC0415
    from transforms.parts.media import MediaTar  # noqa: PLC0415

    settings = Fetch(
        contact="bench@example.org",
        allow_networks=("127.0.0.0/8",),
        connections=connections,
        politeness=Politeness(requests_per_s=1e6, burst=1_000_000, connections=connections),
        retries=Retries(attempts=1),
    )
    urls = pq.read_table(url_list, columns=["url"]).column("url").to_pylist()
    part = Part("bench", "i0", "0" * 16)
    statuses: list[str] = []
    digests: list[str | None] = []
    evidence = []
    with Fetcher(settings) as fetcher, MediaTar(out / "part.tar", part) as tar:
        for result in fetcher.fetch(FetchRequest(url) for url in urls):
            evidence.append(evidence_row(result))
            digest = None
            if result.body is not None:
                digest = media_id(result.body)
                tar.add(digest, result.body)
            digests.append(digest)
            statuses.append(str(result.refusal.reason) if result.refusal else "ok")
    table = pa.table({"url": urls, "status": statuses, "sha256": digests})
    pq.write_table(table, out / "part.parquet")
    pq.write_table(evidence_table(evidence), out / "evidence.pq")


def compare(name: str, port: int, root: Path, options: argparse.Namespace) -> list[Figure]:
    """Runs all sides against one server, in turns, and returns the ratios of medians."""
    url_list = root / f"{name}.parquet"
    write_list(url_list, port, options.images)
    ours = [sys.executable, "-m", "benchmarks.fetch", "--ours", str(url_list)]
    theirs = [options.img2dataset, str(root / "run_img2dataset.py"), str(url_list)]
    out = root / "out"
    cores = len(os.sched_getaffinity(0))
    commands = {
        "mixwright": [*ours, str(out), str(CONNECTIONS[name])],
        "img2dataset": [*theirs, str(out), "1"],
        "img2dataset_percore": [*theirs, str(out), str(cores)],
    }
    costs: dict[str, list[Cost]] = {side: [] for side in commands}
    for _ in range(options.rounds):
        for side, command in commands.items():
            costs[side].append(measure(command, out))
            print(f"{name}: {side} {costs[side][-1]}", flush=True)
    we = costs.pop("mixwright")
    figures = []
    for side, they in costs.items():
        if name == "slow":
            speed = _ratio(we, they, lambda cost: cost.images / cost.wall_s)
            figures.append(Figure(f"fetch_slow_images_per_s_vs_{side}", speed, "x", ">=", 3))
            continue
        speed = _ratio(we, they, lambda cost: cost.images / cost.cpu_s)
        memory = _ratio(we, they, lambda cost: cost.peak_mib)
        figures.append(Figure(f"fetch_images_per_cpu_s_vs_{side}", speed, "x", ">=", 2))
        figures.append(Figure(f"fetch_peak_memory_vs_{side}", memory, "x", "<=", 0.5))
    return figures


def _ratio(we: list[Cost], they: list[Cost], value: Callable[[Cost], float]) -> float:
    return median(map(value, we)) / median(map(value, they))


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares fetching with img2dataset.")
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--img2dataset", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--ours", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        url_list, out, connections = options.ours
        fetch_ours(Path(url_list), Path(out), int(connections))
        return
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        # The workers of nginx run as another user.
        root.chmod(0o755)
        make_images(root / "images")
        (root / "run_img2dataset.py").write_text(_IMG2DATASET)
        with nginx(root) as port:
            figures = compare("fast", port, root, options)
        with slow_server(root) as port:
            figures += compare("slow", port, root, options)
    report("fetch", figures, ("pycurl", "pyarrow"))


if __name__ == "__main__":
    main()
