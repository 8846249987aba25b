"""`mixwright init`: a recipe for one's own data that runs unchanged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import tomli_w
import typer
from rich.console import Console

from pipelines.cli.failures import explained
from pipelines.recipes import RecipeError, load_recipe, profile_names
from storage.folders import Folder, open_folder
from transforms.ingest.survey import Finding, survey

_HEADER = """\
# A recipe of mixwright. `mixwright run {file}` makes a mixture of it.
# Every field is described in docs/records.md; what is not written here has its default.
name = "{name}"
seed = 0
"""

_SOURCE = """
# {seen}.
[[sources]]
name = "{name}"
type = "{type}"
path = "{path}"
files = "{files}"
"""

_REST = """
# Rules. A profile is a list of rules; profiles: {profiles}.
# A rule of your own with the same signal and reason takes the place of the profile's.
[select]
extends = "permissive"
# without = ["text_repetition"]

# [[select.rules]]
# signal = "image.short_side_px"
# keep = ">= 128"
# reason = "image_too_small"

# Duplicates: the same bytes or the same pixels. Texts do not matter unless unit = "pair".
[dedupe]
edges = ["bytes", "pixels"]
unit = "image"

[shard]
samples_per_shard = 1000
# train_view = {{ short_side = 256, format = "jpeg", quality = 90 }}

# Weights of sources; without them every sample has the same weight.
[[mixtures]]
name = "default"
# weights = {{ {weights} }}
# interleave = true
"""


def init(
    data: Annotated[
        str, typer.Argument(metavar="PATH", help="The data: a folder or a file, local or gs://.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write the recipe.")
    ] = Path("recipe.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrites the output.")] = False,
) -> None:
    """Looks at data and writes a commented recipe that runs unchanged."""
    with explained():
        if output.exists() and not force:
            raise RecipeError(f"{output} exists; choose another with --output, or add --force")
        folder, only = _open(data)
        findings = survey(folder, only)
        usable = [one for one in findings if not one.problem]
        if not usable:
            reasons = "; ".join(f"{one.files}: {one.problem}" for one in findings)
            raise RecipeError(
                f"{data}: no source is recognised ({reasons or 'no images, tables or tars'}); "
                "write the recipe by hand after docs/records.md"
            )
        output.write_text(recipe_text(output, folder, findings), encoding="utf-8")
        load_recipe(output)
        console = Console(highlight=False, soft_wrap=True)
        for one in usable:
            console.print(f"{one.type:12} {one.files:24} {one.seen}", markup=False)
        console.print(f"wrote     {output}", markup=False)
        console.print(f"next      mixwright run {output}", markup=False)


def _open(data: str) -> tuple[Folder, str]:
    """Returns the folder of the data, and the file in it where `data` is one file."""
    try:
        parent, _, name = data.rstrip("/").rpartition("/")
        if name and "://" not in name and not data.endswith("://"):
            above = open_folder(parent or ("/" if data.startswith("/") else "."))
            if name not in (".", "..", "~") and above.stat(name) is not None:
                return above, name
        return open_folder(data), ""
    except ValueError as error:
        raise RecipeError(str(error)) from None


def recipe_text(output: Path, folder: Folder, findings: list[Finding]) -> str:
    """Returns the recipe: a source for each usable finding, and a comment for the others."""
    base = re.sub(r"[^a-z0-9_-]+", "-", folder.uri.rpartition("/")[2].lower()).strip("-_")
    name = base[:40] or "data"
    text = _HEADER.format(file=output.name, name=name)
    names: list[str] = []
    for one in findings:
        if one.problem:
            text += f"\n# {one.files} was left out: {one.problem}\n"
            continue
        unique = one.type if one.type not in names else f"{one.type}-{len(names)}"
        names.append(unique)
        text += _SOURCE.format(
            seen=one.seen,
            name=unique,
            type=one.type,
            path=_quoted(_shown_path(folder, output)),
            files=_quoted(one.files),
        )
        for field, value in one.settings.items():
            text += _field(field, value)
    weights = ", ".join(f"{one} = 1" for one in names)
    return text + _REST.format(profiles=", ".join(profile_names()), weights=weights)


def _shown_path(folder: Folder, output: Path) -> str:
    """Returns the path of the data: relative where it lies beside or below the recipe."""
    path, above = Path(folder.uri), output.resolve().parent
    return str(path.relative_to(above)) if path.is_relative_to(above) else folder.uri


def _field(field: str, value: str | Mapping[str, str]) -> str:
    """Returns a line of TOML; a table on one line, which keeps a source together."""
    if isinstance(value, str):
        return tomli_w.dumps({field: value})
    pairs = ", ".join(f'{name} = "{_quoted(one)}"' for name, one in value.items())
    return f"{field} = {{ {pairs} }}\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
