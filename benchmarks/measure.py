"""Measures images through the `measure` stage, beside a bare loop that computes the same signals.

    python -m benchmarks.measure [--images N] [--small N] [--large N]

Images are crops of the demo photographs, enlarged to the size of web images, all different. The
bare loop takes the encoded bytes from memory, decodes and measures them one after another on one
thread, and writes nothing. The stage reads them by range from the tars of ingest parts, runs
through Beam, and commits its columns. CPU time is that of the process, without imports; both loops
take turns. Memory is the peak of a process that measures `--small` and one that measures `--large`
images of 200 px.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks.figures import Figure, report
from pipelines.engine import LocalEngine
from pipelines.jobs import Settings
from pipelines.measure import _build
from schemas.layout import Part
from schemas.recipe import Recipe
from schemas.samples import MediaRole, RawMedia, RawSample, RawText, TextRole
from storage.folders import open_folder
from transforms.ingest.blocklist import load_block_list
from transforms.ingest.commit import commit_part
from transforms.measure.threads import available_cores
from transforms.parts.tables import PartFile
from transforms.signals.image import measure_images
from transforms.work import Work

PHOTOS = Path(__file__).parents[1] / "examples" / "demo" / "photos"
PART_ROWS = 500
ROUNDS = 5
SEED = 0
MAX_PIXELS = 100_000_000


def make_images(count: int, side: int) -> Iterator[bytes]:
    """Yields JPEGs of about `side` pixels on the short side, all different."""
    random = np.random.default_rng(SEED)
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    for number in range(count):
        photo = photos[number % len(photos)]
        width, height = photo.size
        left, top = int(random.integers(width // 4)), int(random.integers(height // 4))
        crop = photo.crop((left, top, left + width * 3 // 4, top + height * 3 // 4))
        scale = side / min(crop.size)
        size = (round(crop.width * scale), round(crop.height * scale))
        sink = io.BytesIO()
        crop.resize(size, Image.Resampling.BICUBIC).save(sink, "JPEG", quality=88)
        yield sink.getvalue()


def take_in(folder: str, images: Iterator[bytes]) -> tuple[Work, list[PartFile]]:
    """Commits images as ingest parts, without listing or slicing inputs."""
    recipe = Recipe.model_validate(
        {"name": "bench", "sources": [{"name": "web", "type": "folder", "path": folder}]}
    )
    work = Work(open_folder(folder), recipe)
    block = load_block_list(recipe.ingest.block, MAX_PIXELS)
    parts: list[PartFile] = []
    chunk: list[RawSample] = []

    def commit() -> None:
        file = PartFile(Part("i0", "web", f"part-{len(parts):016x}"), 1)
        commit_part(work.ingest, file, [chunk], block)
        parts.append(file)
        chunk.clear()

    for number, data in enumerate(images):
        text = RawText(TextRole.ALT, f"picture number {number}")
        media = RawMedia(MediaRole.IMAGE, data)
        chunk.append(RawSample(f"{number}.jpg", texts=(text,), media=(media,)))
        if len(chunk) == PART_ROWS:
            commit()
    if chunk:
        commit()
    return work, parts


def run_stage(work: Work, parts: list[PartFile], threads: int) -> None:
    """Measures the images of all parts through Beam."""
    build = partial(
        _build, work=work, settings=Settings(threads=threads), family="measure/image", parts=parts
    )
    LocalEngine().execute(build)


def run_bare(blobs: list[bytes]) -> None:
    """Decodes and measures on this thread."""
    for blob in blobs:
        measure_images([blob], MAX_PIXELS)


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Returns the CPU seconds of the process, and the wall seconds, of a run."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def forget(work: Work) -> None:
    """Removes what a run has committed, so that the next one does the same work."""
    family = work.local_family("measure/image")
    for entry in list(family.list()):
        family.delete(entry.name)


def speed(count: int) -> list[Figure]:
    """Compares the stage with the bare loop on `count` images of 512 px."""
    with tempfile.TemporaryDirectory() as folder:
        images = list(make_images(count, 512))
        work, parts = take_in(folder, iter(images))
        cores = available_cores()
        cpu_ratios, wall_ratios = [], []
        for _ in range(ROUNDS):
            bare_cpu, bare_wall = timed(partial(run_bare, images))
            stage_cpu, stage_wall = timed(partial(run_stage, work, parts, cores))
            forget(work)
            cpu_ratios.append(stage_cpu / bare_cpu)
            wall_ratios.append(bare_wall / stage_wall / cores)
            print(
                f"bare {1e3 * bare_cpu / count:.2f} ms CPU, {count / bare_wall:.1f} images/s; "
                f"stage {1e3 * stage_cpu / count:.2f} ms CPU, {count / stage_wall:.1f} images/s"
            )
    return [
        Figure("measure_cpu_per_image_vs_bare_loop", median(cpu_ratios), "ratio", "<=", 1.10),
        Figure("measure_rate_vs_cores_times_bare_loop", median(wall_ratios), "ratio", ">=", 0.85),
    ]


def peak_mib(count: int) -> float:
    """Returns the peak memory of a process that measures `count` images."""
    with tempfile.TemporaryDirectory() as folder:
        _, parts = take_in(folder, make_images(count, 200))
        command = [sys.executable, "-m", "benchmarks.measure", "--child", folder]
        result = subprocess.run(
            [*command, str(len(parts))], capture_output=True, text=True, check=True, env=os.environ
        )
    return float(result.stdout.split()[-1])


def child(folder: str, parts: int) -> None:
    """Measures what `take_in` has left in `folder` and prints the peak memory in MiB."""
    recipe = Recipe.model_validate(
        {"name": "bench", "sources": [{"name": "web", "type": "folder", "path": folder}]}
    )
    files = [PartFile(Part("i0", "web", f"part-{number:016x}"), 1) for number in range(parts)]
    run_stage(Work(open_folder(folder), recipe), files, available_cores())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--small", type=int, default=2_000)
    parser.add_argument("--large", type=int, default=20_000)
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "PARTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], int(options.child[1]))
        return
    figures = speed(options.images)
    small, large = peak_mib(options.small), peak_mib(options.large)
    print(f"peak memory {small:.0f} MiB for {options.small}, {large:.0f} MiB for {options.large}")
    figures.append(Figure("measure_memory_20000_vs_2000", large / small, "ratio", "<=", 1.10))
    report("measure", figures)


if __name__ == "__main__":
    main()
