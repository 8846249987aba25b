"""`mixwright run`: from a recipe to a mixture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.cards.funnel import describe_rule, read_funnel, total_dropped
from pipelines.cli.failures import explained
from pipelines.cli.options import AsJson, RecipePath, Settings, Threads
from pipelines.engine import LocalEngine
from pipelines.jobs import Settings as RunSettings
from pipelines.progress import make_reporter
from pipelines.recipes import RecipeError, load_recipe, lock_bytes, read_lock
from pipelines.route import STAGES, between
from pipelines.run import run_stages
from schemas import layout
from schemas.recipe import Recipe
from storage.folders import Folder, open_folder
from transforms.work import Work

_LEFT_OVER_S = 24 * 3600.0
"""Temporary files that have not been written to for so long were left by a process that died."""

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": False}
"""Beam options after `--` reach `run` as extra arguments."""

_STAGE_NAMES = ", ".join(STAGES)


def run(
    context: typer.Context,
    recipe: RecipePath,
    work: Annotated[
        str, typer.Option(metavar="DIR", help="Work directory; runs/<recipe name> where absent.")
    ] = "",
    first: Annotated[
        str, typer.Option("--from", metavar="STAGE", help=f"First stage: {_STAGE_NAMES}.")
    ] = "",
    last: Annotated[str, typer.Option("--to", metavar="STAGE", help="Last stage.")] = "",
    settings: Settings = None,
    intake: Annotated[
        str,
        typer.Option(metavar="NAME", help="Takes new inputs in as this intake; `i0` is the first."),
    ] = "",
    threads: Threads = 0,
    runner: Annotated[str, typer.Option(help="Engine. This version has `local`.")] = "local",
    as_json: AsJson = False,
) -> None:
    """Runs the stages of a recipe. What is done is not done again; Beam options go after `--`."""
    with explained():
        loaded = load_recipe(recipe, settings or [])
        _check_options(first, last, runner)
        folder = open_work(work or f"runs/{loaded.name}", loaded)
        run_recipe(
            Work(folder, loaded),
            first=first,
            last=last,
            intake=intake,
            threads=threads,
            options=tuple(context.args),
            as_json=as_json,
        )


def _check_options(first: str, last: str, runner: str) -> None:
    if runner != "local":
        raise RecipeError(f"--runner {runner}: this version runs on `local` only")
    for option, name in (("--from", first), ("--to", last)):
        if name and name not in STAGES:
            raise RecipeError(f"{option} {name}: no such stage; stages are {_STAGE_NAMES}")
    if not between(first, last):
        raise RecipeError(f"--from {first} --to {last}: the last stage comes before the first")


def open_work(uri: str, recipe: Recipe) -> Folder:
    """Opens a work directory for a recipe and writes the lock.

    Raises:
        RecipeError: the directory belongs to another recipe, or the path is no folder.
    """
    try:
        folder = open_folder(uri)
    except ValueError as error:
        raise RecipeError(f"--work: {error}") from None
    if folder.exists(layout.LOCK):
        owner = read_lock(folder)
        if owner.name != recipe.name:
            raise RecipeError(
                f"{folder.uri} is the work directory of the recipe {owner.name!r}, not of "
                f"{recipe.name!r}; choose another with --work"
            )
    folder.sweep(_LEFT_OVER_S)
    lock = lock_bytes(recipe)
    if not folder.exists(layout.LOCK) or folder.read(layout.LOCK) != lock:
        folder.replace(layout.LOCK, lock)
    return folder


def run_recipe(
    work: Work,
    *,
    first: str = "",
    last: str = "",
    intake: str = "",
    threads: int = 0,
    options: tuple[str, ...] = (),
    as_json: bool = False,
) -> None:
    """Runs stages with progress and says what came of it."""
    reporter = make_reporter(as_json)
    engine = LocalEngine(options)
    run_stages(
        work,
        between(first, last),
        engine,
        RunSettings(threads=threads, intake=intake, note=reporter.note),
        reporter,
    )
    if not as_json and STAGES[last or "card"] is STAGES["card"]:
        _conclude(work)


def _conclude(work: Work) -> None:
    """Says where the report lies, which rule bit hardest, and what to do next."""
    funnels = read_funnel(work)
    kept, inputs = sum(one.kept for one in funnels), sum(one.inputs for one in funnels)
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    console.print(f"kept {kept:,} of {inputs:,} samples")
    for reason, rows in total_dropped(funnels).most_common(1):
        rule = describe_rule(work.recipe, reason)
        asks = f", which keeps {rule}" if rule else ""
        console.print(f"{reason} dropped most: {rows:,}{asks}", markup=False)
    console.print(f"report    {work.folder.locate(layout.REPORT)}", markup=False)
    for mixture in work.recipe.mixtures:
        manifest = work.folder.locate(layout.manifest(mixture.name))
        console.print(f"manifest  {manifest}", markup=False)
    shown = work.folder.uri.removeprefix(f"{Path.cwd()}/")
    console.print(f"next      mixwright verify {shown}", markup=False)
