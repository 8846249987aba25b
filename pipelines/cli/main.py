"""The `mixwright` command."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NamedTuple

import typer


class Command(NamedTuple):
    """A command: what people type, where its help is listed, and the function behind it."""

    name: str
    panel: str
    module: str
    function: str
    passes_on: bool = False


COMMANDS = (
    Command("init", "Run", "init", "init"),
    Command("run", "Run", "run", "run", passes_on=True),
    Command("demo", "Run", "demo", "demo"),
    Command("fetch", "Run", "fetch", "fetch"),
    Command("status", "Look", "look", "status"),
    Command("ledger", "Look", "look", "ledger"),
    Command("explain", "Look", "look", "explain"),
    Command("slice", "Look", "look", "slice_"),
    Command("verify", "Look", "look", "verify"),
    Command("train", "Train", "trainer", "train", passes_on=True),
    Command("evaluate", "Train", "trainer", "evaluate", passes_on=True),
    Command("audit", "Train", "trainer", "audit", passes_on=True),
    Command("export", "Train", "trainer", "export", passes_on=True),
    Command("doctor", "Operate", "doctor", "doctor"),
)


def build_app(only: str = "") -> typer.Typer:
    """Returns the command line.

    Args:
        only: the one command that is wanted; where there is none of this name, all of them are.
            Beam takes seconds to import, which commands that look do not need.
    """
    app = typer.Typer(
        name="mixwright",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    app.callback()(_mixwright)
    named = [command for command in COMMANDS if command.name == only]
    for command in named or COMMANDS:
        module = import_module(f"pipelines.cli.{command.module}")
        settings = module.PASS_ON if command.passes_on else {}
        register = app.command(
            command.name, rich_help_panel=command.panel, context_settings=settings
        )
        register(getattr(module, command.function))
    return app


def _mixwright() -> None:
    """Turns noisy image-text pairs into reproducible training mixtures."""


def main() -> None:
    """Runs the command line."""
    build_app(next(iter(sys.argv[1:]), ""))()


if __name__ == "__main__":
    main()
