"""How fast the loader is, beside a bare decode loop and the `webdataset` library.

Every contender reads, decodes, crops and scales the same JPEG images (3:2, noise with the spectrum
and bit rate of photographs) to 224 × 224, in a process of its own that is bound to the same cores,
from start to end. Rounds are interleaved, each in an order of its own; a figure is the median over
rounds of the ratio of rates in a round. On one core a rate is samples per second of processor time,
on all cores per second.

- `loader`: one epoch in random order; opening, indexes and every member's checksum count.
- `later`: the same without checksums, as in every epoch but the first.
- `bare`: threads read bytes at known offsets and call the loader's own decoder, nothing else.
- `wds`: `webdataset` with shuffle and batches, decoding with the loader's decoder.
- `wds_default`: the same with its default, Pillow, and the usual bicubic resize and centre crop.

On several cores, `webdataset` gets a process for each, with its share of the shards, and hands
nothing over: better than the DataLoader that its users put around it.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset as wds
from PIL import Image

from benchmarks.figures import Figure, median_ratio, report
from schemas import layout
from schemas.digests import canonical_json, hex_digest
from schemas.shards import INDEX, Manifest, MixtureSource, Shard, merkle_root, shard_leaves
from trainer.loader.images import NO_CHANCE, render
from trainer.loader.loader import Loader
from trainer.loader.mixture import open_mixture
from trainer.loader.options import ImageOptions, LoaderOptions, Sampling

SIDE = 224
BATCH = 128
ROUNDS = 5
SHARDS = 2
SAMPLES = {256: 2048, 512: 1024}
"""Samples of the mixture by short side in pixels: enough that starting up weighs little."""

DISTINCT = 128
"""Different images; more samples repeat their bytes."""

PACKAGES = ("numpy", "opencv-python-headless", "pillow", "simplejpeg", "webdataset")
FOLDER = "shards/{}/i0/train/d0"
OPTIONS = ImageOptions(size=SIDE)


def make_images(side: int) -> list[bytes]:
    """Returns JPEG images with the spectrum of photographs, 1/f."""
    height, width = side, side * 3 // 2
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    falloff = np.maximum(np.hypot(rows, columns), 1 / width) ** -1.5
    images = []
    for seed in range(DISTINCT):
        random = np.random.default_rng(seed)
        phases = random.normal(size=(3, height, width // 2 + 1, 2)).view(np.complex128)[..., 0]
        planes = np.fft.irfft2(phases * falloff, (height, width))
        planes = planes[:1] * 0.8 + planes * 0.2
        pixels = np.clip(128 + planes / planes.std() * 45, 0, 255).astype(np.uint8)
        sink = io.BytesIO()
        Image.fromarray(pixels.transpose(1, 2, 0)).save(sink, "JPEG", quality=90)
        images.append(sink.getvalue())
    return images


def write_mixture(root: Path, side: int, images: list[bytes]) -> None:
    """Writes shards, indexes and manifest of a mixture named after `side`."""
    shards = []
    for number in range(SHARDS):
        rows = []
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for at in range(SAMPLES[side] // SHARDS):
                place = number * SAMPLES[side] // SHARDS + at
                for extension, data in members(place, images[place % DISTINCT]).items():
                    key = hex_digest(str(place))
                    info = tarfile.TarInfo(f"{key}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
                    offset = sink.tell() - -(-len(data) // 512) * 512
                    digest = hashlib.sha256(data).hexdigest()
                    rows.append((key, info.name, offset, len(data), digest, None, None, None))
        index = io.BytesIO()
        pq.write_table(pa.table(list(map(list, zip(*rows, strict=True))), schema=INDEX), index)
        stem = f"{FOLDER.format(side)}/{number:06d}"
        (root / stem).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{stem}.tar").write_bytes(sink.getvalue())
        (root / f"{stem}.idx.parquet").write_bytes(index.getvalue())
        shards.append(
            Shard(
                path=f"{stem}.tar",
                index=f"{stem}.idx.parquet",
                samples=SAMPLES[side] // SHARDS,
                bytes=len(sink.getvalue()),
                sha256=hashlib.sha256(sink.getvalue()).hexdigest(),
                index_sha256=hashlib.sha256(index.getvalue()).hexdigest(),
            )
        )
    source = MixtureSource(name=str(side), weight=1, samples=SAMPLES[side], shards=tuple(shards))
    manifest = Manifest(
        mixture=str(side),
        recipe_digest="",
        seed=0,
        layout="by_source",
        samples=SAMPLES[side],
        sources=(source,),
        merkle_root=merkle_root(shard_leaves((source,))),
    )
    path = root / layout.manifest(str(side))
    path.parent.mkdir(parents=True)
    path.write_bytes(manifest.to_bytes())


def members(place: int, image: bytes) -> dict[str, bytes]:
    """Returns the members of a pair as mixwright writes them."""
    text = f"a picture of place number {place}, as its photographer described it"
    media = hashlib.sha256(image).hexdigest()
    metadata = {
        "sample_id": hex_digest(str(place)),
        "source": "bench",
        "locator": f"photos/{place}.jpg",
        "kind": "pair",
        "texts": [{"role": "alt", "text": text, "lang": "en"}],
        "media": {"jpg": media},
        "query_id": media,
        "positive_id": hex_digest(text),
    }
    return {"jpg": image, "txt": text.encode(), "json": canonical_json(metadata).encode()}


def run_bare(places: list[tuple[str, int, int]], cores: list[int]) -> int:
    """Decodes the images at (path, offset, length), in order."""
    files = {path: os.open(path, os.O_RDONLY) for path, _, _ in places}

    def decode(out: np.ndarray, first: int, rows: range) -> None:
        for row in rows:
            path, offset, length = places[first + row]
            render(os.pread(files[path], length, offset), OPTIONS, NO_CHANCE, out[row])

    with ThreadPoolExecutor(len(cores)) as pool:
        for first in range(0, len(places), BATCH):
            out = np.zeros((BATCH, SIDE, SIDE, 3), np.uint8)
            list(pool.map(partial(decode, out, first), _chunks()))
    return len(places)


def _chunks() -> list[range]:
    return [range(at, at + 16) for at in range(0, BATCH, 16)]


def find_images(root: Path, side: int) -> list[tuple[str, int, int]]:
    """Returns (path, offset, length) of every image, in random order."""
    places = []
    for path in sorted((root / FOLDER.format(side)).glob("*.tar")):
        table = pq.read_table(path.with_suffix(".idx.parquet"))
        rows = zip(
            *(table[name].to_pylist() for name in ("member", "offset", "length")), strict=True
        )
        places += [(str(path), at, size) for name, at, size in rows if name.endswith(".jpg")]
    return [places[at] for at in np.random.default_rng(0).permutation(len(places))]


def run_loader(root: Path, side: int, cores: list[int], verify: bool) -> int:
    """Loads one epoch."""
    options = LoaderOptions(
        sampling=Sampling(batch_size=BATCH, max_epochs=1),
        image=OPTIONS,
        threads=len(cores),
        verify=verify,
    )
    with Loader(open_mixture(str(root), str(side)), options) as loader:
        return sum(len(batch.keys) for batch in loader.iterate())


def run_webdataset(
    root: Path, side: int, cores: list[int], decode: Callable[[bytes], Any] | str
) -> int:
    """Reads all shards, a process per core; every one reads its share."""
    urls = sorted(map(str, (root / FOLDER.format(side)).glob("*.tar")))
    shares = [urls[at :: len(cores)] for at in range(len(cores))]
    if len(shares) == 1:
        return read_webdataset(decode, shares[0])
    with multiprocessing.get_context("fork").Pool(len(shares)) as pool:
        return sum(pool.map(partial(read_webdataset, decode), shares))


def read_webdataset(decode: Callable[[bytes], Any] | str, urls: list[str]) -> int:
    dataset = wds.WebDataset(urls, shardshuffle=len(urls), seed=0).shuffle(500)
    if callable(decode):
        dataset = dataset.decode(wds.handle_extension("jpg", decode)).to_tuple("jpg", "txt", "json")
    else:
        dataset = dataset.decode(decode).to_tuple("jpg", "txt", "json")
        dataset = dataset.map_tuple(resize_as_torchvision)
    return sum(len(batch[1]) for batch in dataset.batched(BATCH))


def our_decoder(data: bytes) -> np.ndarray:
    out = np.zeros((SIDE, SIDE, 3), np.uint8)
    render(data, OPTIONS, NO_CHANCE, out)
    return out


def resize_as_torchvision(image: Image.Image) -> np.ndarray:
    """Does what `Resize(224, BICUBIC)` and `CenterCrop(224)` do to a Pillow image."""
    scale = SIDE / min(image.size)
    image = image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC
    )
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def rate(run: Callable[[], int], cores: list[int]) -> float:
    """Returns the rate of `run` in a child process that is bound to `cores`."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def child() -> None:
        os.sched_setaffinity(0, cores)
        clock = time.perf_counter if len(cores) > 1 else time.process_time
        start = clock()
        done = run()
        send.send(done / (clock() - start))

    process = context.Process(target=child)
    process.start()
    send.close()
    measured: float = receive.recv()
    process.join()
    return measured


def measure(root: Path, side: int, cores: list[int]) -> list[Figure]:
    """Returns the figures of one image size on some cores."""
    places = find_images(root, side)
    runs: dict[str, Callable[[], int]] = {
        "bare": partial(run_bare, places, cores),
        "loader": partial(run_loader, root, side, cores, verify=True),
        "later": partial(run_loader, root, side, cores, verify=False),
        "wds": partial(run_webdataset, root, side, cores, our_decoder),
        "wds_default": partial(run_webdataset, root, side, cores, "pilrgb"),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(ROUNDS):
        # What ran before leaves memory more or less fragmented: the order changes.
        for at in np.random.default_rng(number).permutation(len(runs)):
            name = list(runs)[at]
            rates[name].append(rate(runs[name], cores))
    shown = ", ".join(f"{name} {statistics.median(found):.0f}" for name, found in rates.items())
    unit = "s" if len(cores) > 1 else "s of processor time"
    print(f"{side} px, {len(cores)} cores, samples/{unit}: {shown}")
    figures = []
    for ours, theirs, goal in (
        ("loader", "bare", 0.95),
        ("later", "bare", 0.95),
        ("loader", "wds", 1.0),
        ("loader", "wds_default", 1.5 if side >= 512 else 1.0),
    ):
        name = f"{ours}_{side}px_{len(cores)}cores_vs_{theirs}"
        value = median_ratio(rates[ours], rates[theirs])
        figures.append(Figure(name, value, "ratio", ">=", goal))
    return figures


def main() -> None:
    every = sorted(os.sched_getaffinity(0))
    figures = []
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for side in SAMPLES:
            images = make_images(side)
            write_mixture(root, side, images)
            print(f"{side} px: {statistics.mean(map(len, images)) / 1000:.0f} kB an image")
            for cores in [every[:1], every] if len(every) > 1 else [every]:
                figures += measure(root, side, cores)
    report("loader", figures, PACKAGES)


if __name__ == "__main__":
    main()
