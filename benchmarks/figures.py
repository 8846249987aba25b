"""Figures of benchmarks: one line each, and a file with the machine and versions they hold for."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Literal

RESULTS = Path(__file__).parent / "results"

PACKAGES = ("apache-beam", "numpy", "pyarrow", "pillow", "webdataset")


@dataclass(frozen=True)
class Figure:
    """One measured number and what was hoped for.

    Attributes:
        name: in snake case; says what was compared with what.
        value: the median of the repetitions.
        unit: `s`, `ratio`, `MiB`, …
        operator: on which side of the goal is good.
        goal: the number that was set before measuring.
    """

    name: str
    value: float
    unit: str
    operator: Literal[">=", "<="]
    goal: float

    @property
    def met(self) -> bool:
        """Returns whether the goal is met."""
        return self.value >= self.goal if self.operator == ">=" else self.value <= self.goal

    def line(self) -> str:
        """Returns `NAME VALUE UNIT goal OP NUMBER ok|short`."""
        verdict = "ok" if self.met else "short"
        value = f"{self.value:.4g}"
        return f"{self.name} {value} {self.unit} goal {self.operator} {self.goal:g} {verdict}"


def report(name: str, figures: Sequence[Figure], packages: Sequence[str] = PACKAGES) -> None:
    """Prints a line for each figure and writes `benchmarks/results/<name>.json`.

    Args:
        name: of the benchmark.
        figures: what it measured.
        packages: distributions whose versions the figures depend on.
    """
    RESULTS.mkdir(exist_ok=True)
    result = {
        "benchmark": name,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe_machine(),
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in packages},
        "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    for figure in figures:
        print(figure.line())


def describe_machine() -> dict[str, str | int]:
    """Returns processor, cores that this process may use, and memory in GiB."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2] for line in cpuinfo.splitlines() if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": models[0].strip() if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / (1 << 30)),
        "system": f"{platform.system()} {platform.release()}",
    }


def take_turns(rounds: int, **runs: Callable[[], object]) -> dict[str, list[float]]:
    """Returns the seconds of each run in each round; turns let other load fall on all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = perf_counter()
            run()
            seconds[name].append(perf_counter() - start)
    return seconds


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Returns the median over rounds of the ratio within a round."""
    return median(a / b for a, b in zip(numerators, denominators, strict=True))
