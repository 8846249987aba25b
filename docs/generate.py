"""Writes the pages that follow from the code, and checks all pages.

python -m docs.generate            writes docs/records.md, docs/route.md, docs/scale.md
python -m docs.generate --check    writes nothing; fails where a page is stale or says something
                                   that does not exist
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from difflib import unified_diff
from pathlib import Path

from docs import records, route, scale
from docs.checks import ROOT, broken_links, make_targets, pages, unknown_commands
from pipelines.cli.main import build_app

GENERATED: dict[str, Callable[[], str]] = {
    "docs/records.md": records.page,
    "docs/route.md": route.page,
    "docs/scale.md": scale.page,
}
"""The program of each page, by its path in the repository."""

NOTE = "<!-- Written by `make docs` from the code: change the code, not this page. -->\n"


def generate(name: str) -> str:
    """Returns what a generated page has to say."""
    return NOTE + GENERATED[name]()


def stale_pages(root: Path) -> Iterator[str]:
    """Yields a unified diff for every generated page that is not what it has to be."""
    for name in GENERATED:
        file = root / name
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        after = generate(name)
        if before != after:
            lines = unified_diff(
                before.splitlines(),
                after.splitlines(),
                name,
                f"{name} (from the code)",
                lineterm="",
            )
            yield "\n".join(lines)


def problems(root: Path) -> list[str]:
    """Returns everything that is wrong with the pages as they are."""
    targets = make_targets((root / "Makefile").read_text(encoding="utf-8"))
    found: list[str] = []
    for page in pages(root):
        found += broken_links(page)
        found += unknown_commands(page, build_app(), targets)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    if not parser.parse_args(arguments).check:
        for name in GENERATED:
            (ROOT / name).write_text(generate(name), encoding="utf-8")
        return 0
    stale = list(stale_pages(ROOT))
    if stale:
        stale.append("pages are stale: run `make docs` and commit what it writes")
    found = [*stale, *problems(ROOT)]
    sys.stderr.writelines(f"{one}\n" for one in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
