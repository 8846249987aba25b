"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a TOML file.")]
WorkUri = Annotated[
    str, typer.Argument(metavar="WORK", help="A work directory, local or gs://bucket/prefix.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Changes a field (shard.samples_per_shard=500), or the rule of a signal or reason "
        "(text_too_short='>= 4'). May be given again.",
    ),
]
Threads = Annotated[
    int, typer.Option(min=0, max=256, help="Decoding threads; 0 takes one for each core.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Writes JSON lines for machines.")]
