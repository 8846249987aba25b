"""Writes the demo's source files from `examples/demo/manifest.jsonl`.

    python examples/make_demo.py

Nothing is invented: texts are the names, titles, descriptions and keywords that the manifest has.
A Commons file name is written as Commons shows it, with spaces for underscores.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

DEMO = Path(__file__).parent / "demo"

TABLE_CATEGORY = "categorization"
"""Photographs of this category are rows of a table; the others lie in a folder with sidecars."""


def shown_name(row: dict[str, Any]) -> str:
    """Returns the Commons file name of a photograph; empty where it has none."""
    return (row.get("source_filename") or "").replace("_", " ")


def main() -> None:
    """Writes `photos.tsv`, `clipart.jsonl` and the sidecars of the folder source."""
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
        if row["category"] != TABLE_CATEGORY and shown_name(row):
            title = shown_name(row).rpartition(".")[0]
            (DEMO / row["file"]).with_suffix(".txt").write_text(title + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
