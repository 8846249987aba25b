"""Small pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_FENCE = re.compile(r"^(```|~~~)")
_NOT_IN_ANCHOR = re.compile(r"[^\w\- ]")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Returns the lines of a table and an empty one after it."""
    lines = [_row(header), _row(["---"] * len(header)), *map(_row, rows)]
    return [*lines, ""]


def code(text: str) -> str:
    """Returns a code span; nothing where there is no text."""
    return f"`{text}`" if text else ""


def split_code(text: str) -> Iterator[tuple[str, bool]]:
    """Yields (line, whether it lies in a fenced block) of a page, without the fences."""
    inside = False
    for line in text.splitlines():
        if _FENCE.match(line):
            inside = not inside
        else:
            yield line, inside


def anchors(text: str) -> set[str]:
    """Returns the anchors that GitHub gives the headings of a page."""
    found: set[str] = set()
    for line, inside in split_code(text):
        if line.startswith("#") and not inside:
            title = line.lstrip("#").strip().lower().replace("`", "")
            anchor = _NOT_IN_ANCHOR.sub("", title).replace(" ", "-")
            taken = sum(1 for one in found if re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", one))
            found.add(f"{anchor}-{taken}" if taken else anchor)
    return found


def _row(cells: Sequence[str]) -> str:
    shown = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(shown)} |"
