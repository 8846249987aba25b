"""`docs/route.md`: the stages, and the graph of every pipeline that they run.

A small work directory is taken through the whole route, with a rule of every kind and a pre-mixed
series, so that no pipeline is left out. What is drawn is what was built, and what a stage writes is
what appeared.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apache_beam as beam
from PIL import Image

from docs.drawing import Graph, mermaid, read_graph
from docs.markdown import code, table
from pipelines.engine import LocalEngine
from pipelines.jobs import Settings
from pipelines.recipes import lock_bytes, resolve
from pipelines.route import ROUTE, StageOfRoute
from schemas import layout
from storage.folders import open_folder
from transforms.work import Work

_INTRODUCTION = """\
# The route

A run takes the stages in this order, each over what the ones before it have committed. What is
there under its fingerprint is not made again. `pipelines/route.py` lists the stages; each is the
module of its name in `pipelines/`. [Records](records.md) has the columns of everything that they
write. Besides, `mixwright run` writes `recipe.lock.toml` before the first stage, and
`runs/<stage>.json` after each.
"""

_LEGEND = """\
The graphs are drawn from the pipelines themselves. A hexagon is a shuffle: part tasks, packed keys,
ranks or references cross it, never media or rows. A second word in a box names a transform of
`transforms/` with steps of its own. Dotted arrows are side inputs, which every worker reads whole.
"""

_NAMES: tuple[tuple[str, str], ...] = (
    (r"part-[0-9a-f]{16}\.[0-9a-f]{32}\.tar", "<part>.<digest>.tar"),
    (r"part-[0-9a-f]{16}\.v\d+\.parquet", "<part>.v<version>.parquet"),
    (r"\b[0-9a-f]{32}\b", "<digest>"),
    (r"^((?:shards|mix)/.*)\b[0-9a-f]{16}\b", r"\1<digest>"),
    (r"\b[0-9a-f]{16}\b", "<fingerprint>"),
    (r"\blinks(?= i0$|$)", "<source of URLs>"),
    (r"\b(pairs|links)\b", "<source>"),
    (r"\bi0\b", "<intake>"),
    (r"\bdefault\b", "<mixture>"),
    (r"(?<=/)train-(?=<digest>)", "<split>-"),
    (r"\b\d{6}\b", "<number>"),
)
"""What stands for a name that depends on data, in the order in which it is looked for."""

Drawn = tuple[StageOfRoute, dict[str, Graph], list[str]]
"""A stage, its graphs by title of the pipeline, and the names of what it wrote."""


def page() -> str:
    """Returns the page."""
    return page_of(list(draw_route()))


def page_of(drawn: Sequence[Drawn]) -> str:
    """Returns the page about stages that have been drawn."""
    lines = [_INTRODUCTION, *_overview()]
    lines += table(
        ["stage", "promise"], ([code(stage.name), stage.promise] for stage, _, _ in drawn)
    )
    lines.append(_LEGEND)
    for stage, graphs, written in drawn:
        lines += [f"## {stage.name}\n", f"{_docstring(stage)} It writes:\n"]
        lines += [*(f"- {code(name)}" for name in written), ""]
        if not graphs:
            lines.append("It runs no pipeline.\n")
        for title, graph in graphs.items():
            lines += [f"Pipeline {code(title)}:\n", *mermaid(graph)]
    return "\n".join(lines).rstrip() + "\n"


def draw_route() -> Iterator[Drawn]:
    """Yields every stage of the route, after it has run on a small work directory."""
    with TemporaryDirectory() as folder:
        work = _small_work(Path(folder))
        before = _names(work)
        for stage in ROUTE:
            graphs: dict[str, Graph] = {}
            for job in stage.jobs(work, Settings(threads=1)):
                pipeline = beam.Pipeline()
                job.build(pipeline)
                graphs[_shown(job.title)] = read_graph(pipeline)
                LocalEngine().execute(job.build)
            after = _names(work)
            names = (_shown(name) for name in sorted(after - before))
            yield stage, graphs, list(dict.fromkeys(names))
            before = after


def _overview() -> list[str]:
    names = [stage.name for stage in ROUTE]
    edges = [f"  {one} --> {other}" for one, other in pairwise(names)]
    return ["```mermaid", "flowchart LR", *edges, "```", ""]


def _docstring(stage: StageOfRoute) -> str:
    """Returns what the first line of a stage's module says of it."""
    line = (sys.modules[stage.jobs.__module__].__doc__ or "").partition("\n")[0]
    said = line.removeprefix(f"{stage.name}: ")
    return f"{said[0].upper()}{said[1:]}"


def _small_work(folder: Path) -> Work:
    """Returns a work directory of two small sources: a table of images, and a list of URLs.

    The one URL leads where fetches never go, so that nothing is asked of the network.
    """
    data = folder / "data"
    data.mkdir()
    rows = ["file,caption"]
    for number, colour in enumerate(("red", "blue")):
        Image.new("RGB", (64, 48), colour).save(data / f"{colour}.png")
        rows.append(f"{colour}.png,a {colour} rectangle of size {number}")
    (data / "pairs.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "links.csv").write_text("url,caption\nhttp://127.0.0.1/a.png,a link\n")
    links = {"name": "links", "type": "urls", "path": str(folder / "links.csv")}
    values: dict[str, Any] = {
        "name": "route",
        "sources": [
            {"name": "pairs", "type": "table", "path": str(data), "path_column": "file"},
            links,
        ],
        "fetch": {"contact": "https://example.com"},
        "select": {
            "rules": [
                {"signal": "image.short_side_px", "keep": ">= 16", "reason": "image_too_small"},
                {"signal": "image.bytes", "keep": "top 100%", "reason": "image_low_information"},
            ]
        },
        "mixtures": [{"interleave": True}],
    }
    work = Work(open_folder(str(folder / "work")), resolve(values))
    work.folder.replace(layout.LOCK, lock_bytes(work.recipe))
    return work


def _names(work: Work) -> set[str]:
    return {entry.name for entry in work.folder.list()}


def _shown(name: str) -> str:
    for pattern, word in _NAMES:
        name = re.sub(pattern, word, name)
    return name
