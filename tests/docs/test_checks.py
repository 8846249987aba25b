from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer

from docs.checks import broken_links, make_targets, unknown_commands

TARGETS = {"test", "bench-mix"}


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()

    def look(work: str, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
        pass

    app.command("look")(look)
    app.command("train", context_settings={"ignore_unknown_options": True})(lambda: None)
    return app


def write(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


def test_links_to_files_and_headings_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, "")
    (tmp_path / "other.md").write_text("# Two words\n\n## Signals of measure/image\n")
    page = write(
        tmp_path,
        "# Here\n[a](other.md) [b](other.md#two-words) [c](#here) [d](https://example.com/x)\n"
        "[e](other.md#signals-of-measureimage) `[f](gone.md)`\n```text\n[g](gone.md)\n```\n",
    )

    assert list(broken_links(page)) == []


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("[a](gone.md)", "no such file"),
        ("![a](gone.png)", "no such file"),
        ("[a](page.md#gone)", "no such heading"),
        ("[a](#gone)", "no such heading"),
        ("[a](../gone/)", "no such file"),
    ],
)
def test_broken_links(tmp_path: Path, link: str, said: str) -> None:
    (found,) = broken_links(write(tmp_path, f"# Here\n{link}\n"))

    assert said in found


def test_known_commands_and_options(tmp_path: Path, app: typer.Typer) -> None:
    page = write(
        tmp_path,
        "mixwright turns pairs into mixtures; `mixwright look WORK --json` shows one, and\n"
        "`mixwright look --help` says how.\n"
        "```console\n$ mixwright look runs/x --json\n$ make test\n```\n"
        "`mixwright train RECIPE --anything` `make bench-mix` `make bench-NAME`\n",
    )

    assert list(unknown_commands(page, app, TARGETS)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("`mixwright lok WORK`", "`mixwright lok`: there is no such command"),
        ("```console\n$ mixwright lok x\n```", "`mixwright lok`: there is no such command"),
        ("`mixwright look WORK --jsn`", "`mixwright look` has no option --jsn"),
        ("`make tests`", "`make tests`: there is no such target"),
    ],
)
def test_unknown_commands(tmp_path: Path, app: typer.Typer, text: str, said: str) -> None:
    (found,) = unknown_commands(write(tmp_path, text), app, TARGETS)

    assert said in found


def test_options_of_another_program_are_not_looked_at(tmp_path: Path, app: typer.Typer) -> None:
    page = write(tmp_path, "`mixwright look WORK -- --runner=x` and `mixwright look w; ls --all`")

    assert list(unknown_commands(page, app, TARGETS)) == []


def test_targets_of_a_makefile() -> None:
    makefile = "BENCHMARKS := rank mix\nall: one ## Does all.\none:\n\ttrue\n"

    assert make_targets(makefile) == {"all", "bench-rank", "bench-mix"}
