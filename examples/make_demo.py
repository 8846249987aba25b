"""Writes the demo's source files from `examples/demo/manifest.jsonl`.

    python examples/make_demo.py

Texts are the names, titles, descriptions and keywords that the manifest has; nothing is made up. A
Commons file name is written as Commons shows it, with spaces for underscores. The web site has the
furniture that web pages have: icons without a text, a logo, a dead link, and a page whose owner
does not want its pictures used.
"""

from __future__ import annotations

import csv
import json
from html import escape
from pathlib import Path
from typing import Any

DEMO = Path(__file__).parent / "demo"

TABLE_CATEGORY = "categorization"
"""Photographs of this category are rows of a table."""

SITE_CATEGORY = "explore_monuments"
"""Photographs of this one are on the pages of a web site; all others lie in a folder."""

PAGE_FIGURES = 16
LOGO = "clipart/computer__icons__newspaper_aubanel_monnie_01.webp"
ICON = "clipart/signs_and_symbols__map_symbols__aiga_waiting_room_.webp"
RESERVED = (
    "clipart/computer__8port_switch_denco.webp",
    "clipart/recreation__music__treble_clef_01.webp",
)
"""Drawings on the page that opts out."""


def shown_name(row: dict[str, Any]) -> str:
    """Returns the Commons file name of a photograph; empty where it has none."""
    return (row.get("source_filename") or "").replace("_", " ")


def figure(row: dict[str, Any]) -> str:
    """Returns a photograph with its alt-text, and a caption that names its author."""
    alt = escape(shown_name(row).rpartition(".")[0], quote=True)
    credit = escape(row["author"] or "unknown author")
    return (
        f'<figure><img src="/{row["file"]}" alt="{alt}" loading="lazy">'
        f"<figcaption>Photo: {credit}</figcaption></figure>"
    )


def page(title: str, figures: list[str], head: str = "") -> str:
    """Returns a page with a logo, a menu of icons, and figures."""
    body = "\n".join(figures)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="license" href="/README.md">{head}</head>
<body><header><img src="/{LOGO}" alt="logo">
<nav><a href="index.html"><img src="/{ICON}" alt=""></a></nav></header>
<main><h1>{title}</h1>
{body}
</main></body></html>
"""


def write_site(photos: list[dict[str, Any]]) -> None:
    """Writes the pages below `site/`."""
    folder = DEMO / "site"
    folder.mkdir(exist_ok=True)
    figures = [figure(row) for row in photos]
    figures[5:5] = ['<img src="/photos/gone.jpg" alt="A picture that has been taken away">']
    for start in range(0, len(figures), PAGE_FIGURES):
        title = f"Monuments of the world, page {start // PAGE_FIGURES + 1}"
        text = page(title, figures[start : start + PAGE_FIGURES])
        (folder / f"monuments-{start // PAGE_FIGURES + 1}.html").write_text(text, encoding="utf-8")
    reserved = [f'<img src="/{name}" alt="a drawing that is not free to use">' for name in RESERVED]
    opted_out = '<meta name="robots" content="noimageai">'
    text = page("Drawings, all rights reserved", reserved, opted_out)
    (folder / "reserved.html").write_text(text, encoding="utf-8")


def main() -> None:
    """Writes `photos.tsv`, `clipart.jsonl`, the sidecars of the folder source, and `site/`."""
    rows = [json.loads(line) for line in (DEMO / "manifest.jsonl").read_text().splitlines()]
    photos = [row for row in rows if row["kind"] == "photo"]
    with (DEMO / "photos.tsv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["file", "alt", "author", "licence"])
        for row in photos:
            if row["category"] == TABLE_CATEGORY:
                table.writerow([row["file"], shown_name(row), row["author"], row["licence"]])
    with (DEMO / "clipart.jsonl").open("w", encoding="utf-8") as file:
        for row in rows:
            if row["kind"] == "clipart":
                names = ("file", "title", "description", "keywords", "author", "licence")
                values = {name: row[name] for name in names if row.get(name)}
                file.write(json.dumps(values, ensure_ascii=False, sort_keys=True) + "\n")
    for row in photos:
        if row["category"] not in (TABLE_CATEGORY, SITE_CATEGORY) and shown_name(row):
            title = shown_name(row).rpartition(".")[0]
            (DEMO / row["file"]).with_suffix(".txt").write_text(title + "\n", encoding="utf-8")
    write_site([row for row in photos if row["category"] == SITE_CATEGORY])


if __name__ == "__main__":
    main()
