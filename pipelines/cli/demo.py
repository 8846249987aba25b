"""`mixwright demo`: the whole route on the data that ships with the package."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipelines.cards.examples import draw_examples
from pipelines.cards.funnel import SourceFunnel, describe_rule, read_funnel, total_dropped
from pipelines.cli.demo_training import train_demo
from pipelines.cli.failures import explained
from pipelines.cli.look import print_story
from pipelines.cli.options import AsJson, Settings, Threads
from pipelines.cli.run import open_work, run_recipe
from pipelines.recipes import load_recipe
from schemas.recipe import Recipe
from transforms.decisions.ledger import KEPT
from transforms.work import Work

SITE_HOST = "demo.mixwright.invalid"
"""The host of the demo's web site: a name that no resolver knows (RFC 2606)."""


def demo(
    work: Annotated[str, typer.Option(metavar="DIR", help="Work directory.")] = "runs/demo",
    settings: Settings = None,
    threads: Threads = 0,
    train: Annotated[
        bool, typer.Option(help="Train a tiny model on the mixture, and evaluate it.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Curates the demo data: real photographs and drawings with the noisy texts they came with."""
    with explained():
        recipe = load_recipe(demo_data() / "recipe.toml", settings or [])
        folder = open_work(work, recipe)
        with serve(demo_data()) as place:
            release = Work(folder, connected(recipe, place))
            run_recipe(release, threads=threads, as_json=as_json)
        if not as_json:
            _show(release)
        if train:
            train_demo(folder, demo_data() / "train.toml", quiet=as_json)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serves a folder on a free port of the loopback interface; yields `address:port`."""
    handler = partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, name="demo-site", daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: standard error is for progress."""


def connected(recipe: Recipe, place: str) -> Recipe:
    """Returns the recipe with the demo's site at `place`; its URLs stay the same on every run."""
    if recipe.fetch is None:
        return recipe
    fetch = recipe.fetch.model_copy(update={"connect_to": {SITE_HOST: place}})
    return recipe.model_copy(update={"fetch": fetch})


def demo_data() -> Path:
    """Returns the folder of the demo data: in the wheel, or in the checkout that runs."""
    packaged = Path(str(resources.files("pipelines"))) / "demo_data"
    return packaged if packaged.exists() else packaged.parents[1] / "examples" / "demo"


def _show(work: Work) -> None:
    console = Console(highlight=False, width=None if Console().is_terminal else 110)
    funnels = read_funnel(work)
    console.print()
    console.print(_funnel_table(funnels, work.recipe))
    hardest = total_dropped(funnels).most_common(1)[0][0]
    examples = draw_examples(work, 1)
    for title, name in (("a kept sample", KEPT), ("a dropped sample", hardest)):
        for example in examples.get(name, []):
            console.print(f"\n[bold]{title}[/]")
            print_story(work, example.sample_id, console)


def _funnel_table(funnels: list[SourceFunnel], recipe: Recipe) -> Table:
    table = Table(title="funnel", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for funnel in funnels:
        table.add_column(funnel.source, justify="right")
    table.add_column("rule", style="dim")
    table.add_row("in", *(f"{funnel.inputs:,}" for funnel in funnels), "")
    for reason in dict.fromkeys(name for funnel in funnels for name in funnel.dropped):
        counts = (f"-{funnel.dropped.get(reason, 0):,}" for funnel in funnels)
        shown = ("" if count == "-0" else count for count in counts)
        table.add_row(reason, *shown, describe_rule(recipe, reason))
    kept = (f"{funnel.kept:,} ({funnel.kept_share:.0%})" for funnel in funnels)
    table.add_row("kept", *kept, "", style="bold")
    return table
