"""`mixwright doctor`: whether this machine, and a work directory, are fit to run."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.cli.failures import FAILED, explained
from pipelines.recipes import RecipeError
from storage.errors import StorageError
from storage.folders import open_folder

_LOW_DISK_BYTES = 5 << 30
_LOW_OPEN_FILES = 1024
_PROBE = "doctor.probe"
_EXTRAS = {
    "gcp": "google.cloud.storage",
    "img2dataset": "img2dataset",
    "teachers": "onnxruntime",
    "video": "av",
    "train": "jax",
    "tf": "tensorflow",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        found: what it is.
        remedy: what to do; empty where it is fine.
        fatal: a run will fail over it.
    """

    name: str
    found: str
    remedy: str = ""
    fatal: bool = False


def doctor(
    work: Annotated[
        str, typer.Option(metavar="DIR", help="A work directory, local or gs://, to try out.")
    ] = "runs",
) -> None:
    """Looks at Python, cores, memory, disk, open files, GPU, extras, and rights on a folder."""
    console = Console(highlight=False)
    with explained():
        findings = [*_machine(), *_packages(), *_folder(work)]
    for finding in findings:
        mark = "[green]ok[/]  " if not finding.remedy else "[yellow]warn[/]"
        mark = "[red]bad[/] " if finding.fatal else mark
        console.print(f"{mark} {finding.name:12} {finding.found}")
        if finding.remedy:
            console.print(f"     {'':12} → {finding.remedy}", markup=False)
    if any(finding.fatal for finding in findings):
        raise typer.Exit(FAILED)


def _machine() -> Iterator[Finding]:
    yield Finding("python", sys.version.split()[0])
    yield Finding("cores", str(len(os.sched_getaffinity(0))))
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    yield Finding("memory", f"{pages * page / 2**30:.1f} GiB")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    remedy = f"ulimit -n {min(hard, 65536)}" if soft < _LOW_OPEN_FILES else ""
    yield Finding("open files", str(soft), remedy)
    yield Finding("gpu", _gpu())


def _gpu() -> str:
    command = shutil.which("nvidia-smi")
    if command is None:
        return "none (not needed)"
    query = [command, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 - fixed arguments
    except (subprocess.SubprocessError, OSError) as error:
        return f"nvidia-smi does not answer ({type(error).__name__})"
    return "; ".join(result.stdout.strip().splitlines())


def _packages() -> Iterator[Finding]:
    for name in ("mixwright", "apache-beam", "pyarrow", "pillow"):
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, "not installed", f"pip install {name}", fatal=True)
    installed = [extra for extra, module in _EXTRAS.items() if _importable(module)]
    yield Finding("extras", ", ".join(installed) or "none (not needed)")


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _folder(uri: str) -> Iterator[Finding]:
    try:
        folder = open_folder(uri)
    except ValueError as error:
        raise RecipeError(f"--work: {error}") from None
    try:
        created = folder.create(_PROBE, b"mixwright")
        readable = folder.read(_PROBE) == b"mixwright"
        folder.delete(_PROBE)
    except StorageError as error:
        yield Finding("folder", folder.uri, str(error), fatal=True)
        return
    if created and readable:
        yield Finding("folder", f"{folder.uri}: can create, read and delete")
    else:
        yield Finding("folder", folder.uri, f"remove {folder.locate(_PROBE)}", fatal=True)
    if not folder.uri.startswith("gs://"):
        free = shutil.disk_usage(Path(folder.uri)).free
        remedy = "free some space: media are copied in" if free < _LOW_DISK_BYTES else ""
        yield Finding("disk", f"{free / 2**30:.1f} GiB free", remedy)
