"""Checks of pages that people write: links lead somewhere, commands and options exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import typer
from typer.core import TyperGroup
from typer.main import get_command

from docs.markdown import anchors, split_code

ROOT = Path(__file__).resolve().parents[1]

_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`]+)`")
_COMMAND = re.compile(r"(?:^|\s)mixwright (?P<name>[a-z][a-z-]*)(?P<rest>[^|;&]*)")
_OPTION = re.compile(r"(?<=\s)--[a-z][a-z-]*")
_MAKE = re.compile(r"(?:^|\s)make (?P<target>[a-z][a-z-]*[a-z])\b(?!-[A-Z])")


def pages(root: Path = ROOT) -> list[Path]:
    """Returns every Markdown page of the documentation and of the root folder."""
    return [*sorted(root.glob("*.md")), *sorted(root.glob("docs/**/*.md"))]


def broken_links(page: Path) -> Iterator[str]:
    """Yields every link of a page that leads to no file, or to no heading of it."""
    text = page.read_text(encoding="utf-8")
    prose = "\n".join(_SPAN.sub("", line) for line, inside in split_code(text) if not inside)
    for match in _LINK.finditer(prose):
        target, _, anchor = unquote(match[1] or match[2]).partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = page.parent / target if target else page
        if not file.exists():
            yield f"{page}: link to {target}: there is no such file"
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield f"{page}: link to {target}#{anchor}: there is no such heading"


def unknown_commands(page: Path, app: typer.Typer, targets: set[str]) -> Iterator[str]:
    """Yields every `mixwright` command or option, and every `make` target, that does not exist.

    Args:
        page: looked at in its code spans and fenced blocks.
        app: the command line.
        targets: of the Makefile.
    """
    group = get_command(app)
    commands = group.commands if isinstance(group, TyperGroup) else {}
    for text in _code(page.read_text(encoding="utf-8")):
        for match in _COMMAND.finditer(text):
            command = commands.get(match["name"])
            if command is None:
                yield f"{page}: `mixwright {match['name']}`: there is no such command"
                continue
            if command.context_settings.get("ignore_unknown_options"):
                continue  # options are those of the program that it starts
            known = {option for parameter in command.params for option in parameter.opts}
            own = match["rest"].partition(" -- ")[0]
            for option in _OPTION.findall(own):
                if option not in {*known, "--help"}:
                    yield f"{page}: `mixwright {match['name']}` has no option {option}"
        for match in _MAKE.finditer(text):
            if match["target"] not in targets:
                yield f"{page}: `make {match['target']}`: there is no such target"


def make_targets(makefile: str) -> set[str]:
    """Returns the targets that a Makefile explains, and its benchmarks."""
    named = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    benchmarks = re.search(r"^BENCHMARKS := (.*)$", makefile, re.MULTILINE)
    return named | {f"bench-{one}" for one in (benchmarks[1].split() if benchmarks else ())}


def _code(text: str) -> Iterator[str]:
    """Yields the lines of fenced blocks, without their prompt, and the code spans of the rest."""
    for line, inside in split_code(text):
        if inside:
            yield line.removeprefix("$ ")
        else:
            yield from _SPAN.findall(line)
