"""`docs/records.md`: every table, signal, reason and field, from `schemas/`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pydantic import BaseModel

from docs.fields import describe_fields, sections, shared_fields, summary, type_tag
from docs.markdown import code, table
from pipelines.recipes import load_profile, profile_names
from schemas import keep
from schemas.reasons import REASONS, Stage
from schemas.recipe import Recipe
from schemas.shards import Manifest, MixtureSource, Shard, ShardSample, ShardText
from schemas.signals import SIGNALS, SIGNALS_BY_NAME
from schemas.tables import TABLES

_INTRODUCTION = """\
# Records

Everything that crosses a boundary: what a recipe may say, what lies in a work directory, what a
rule can ask, why an input is dropped, and what a trainer reads. [Route](route.md) says which stage
writes what; [operating](operating.md) says what to do about it.
"""

_SIGNALS = """\
## Signals

What a rule can name. A null means that the signal does not apply to the row: every rule passes.
Floating values are rounded to 1e-4 before they are stored, and rules compare the stored value.
"""

_REASONS = """\
## Reasons

The closed list of words that say why an input is not in the mixture. Ledger, counters and report
use the same word. A row has one reason: the first, in the order of the stages and of the rules.
"""

_TABLES = """\
## Tables

Files are Parquet. Those of a column family have one file per part, with the rows of `ingest` in the
same order: columns join by position, and `sample_id` proves it.
"""

_FIELDS = ("field", "type", "default", "meaning")

_JSON: dict[type[BaseModel], str] = {
    Manifest: "`mix/<mixture>/manifest.json`, and `interleaved/manifest.json` beside it",
    MixtureSource: "In `sources` of a manifest",
    Shard: "In `shards` of a source of a manifest",
    ShardSample: "In a shard; fields that are null are left out",
    ShardText: "In `texts` of a `json` member",
}


def page() -> str:
    """Returns the page."""
    lines = [_INTRODUCTION]
    for part in (_recipe(), _profiles(), _signals(), _reasons(), _tables(), _members()):
        lines += part
    return "\n".join(lines).rstrip() + "\n"


def _recipe() -> Iterator[str]:
    yield "## Recipe\n"
    yield "One TOML file. A field without a default has to be there; a field that is not listed is"
    yield "refused. Relative paths are taken from the folder of the recipe.\n"
    for title, models in sections(Recipe):
        yield f"### {title}\n"
        if len(models) == 1:
            yield f"{summary(models[0])}\n"
            yield from table(_FIELDS, describe_fields(models[0]))
            continue
        shared = shared_fields(models)
        tags = ", ".join(code(json.dumps(type_tag(one))) for one in models)
        yield f"`type` is one of {tags}. All have:\n"
        yield from table(_FIELDS, describe_fields(models[0], shared))
        for model in models:
            yield f"{code(type_tag(model))}: {summary(model)}\n"
            own = [name for name in model.model_fields if name not in {*shared, "type"}]
            yield from table(_FIELDS, describe_fields(model, own))
    yield "### What `keep` may say\n"
    yield "```text"
    yield (keep.__doc__ or "").partition("\n\n")[2].strip()
    yield "```\n"


def _profiles() -> Iterator[str]:
    yield "## Profiles\n"
    yield "Rule lists that `select.extends` names. Rules apply in this order.\n"
    for name in profile_names():
        profile = load_profile(name)
        yield f"### {profile['title']}\n"
        paper = f" ({profile['paper']})" if profile["paper"] else ""
        yield f"{code(name)}{paper}. {' '.join(profile['description'].split())}\n"
        yield from table(
            ["signal", "keep", "reason", "basis"],
            (
                [code(rule["signal"]), code(rule["keep"]), code(rule["reason"]), rule["basis"]]
                for rule in profile["rules"]
            ),
        )


def _signals() -> Iterator[str]:
    yield _SIGNALS
    for family in dict.fromkeys(signal.family for signal in SIGNALS):
        yield f"### Signals of {family}\n"
        yield from table(
            ["signal", "type", "unit", "range", "version", "meaning", "source"],
            (
                [
                    code(signal.name),
                    signal.dtype,
                    signal.unit,
                    signal.range,
                    str(signal.version),
                    signal.meaning,
                    signal.source,
                ]
                for signal in SIGNALS
                if signal.family == family
            ),
        )


def _reasons() -> Iterator[str]:
    yield _REASONS
    for stage in Stage:
        rows = [
            [code(reason), info.meaning, info.remedy]
            for reason, info in REASONS.items()
            if info.stage is stage
        ]
        if rows:
            yield f"### Reasons of {stage}\n"
            yield from table(["reason", "meaning", "remedy"], rows)


def _tables() -> Iterator[str]:
    yield _TABLES
    for name, info in TABLES.items():
        yield f"### Table {name}\n"
        yield f"{code(info.path)}. One row is {info.row}.\n"
        fields = list(flat_fields(info.schema))
        yield from table(
            ["column", "type", "null", "meaning"],
            (
                [
                    code(column),
                    _arrow_name(field.type),
                    "may be" if field.nullable else "",
                    info.columns[column],
                ]
                for column, field in fields
                if column not in SIGNALS_BY_NAME
            ),
        )
        if any(column in SIGNALS_BY_NAME for column, _ in fields):
            anchor = f"signals-of-{name.replace('/', '')}"
            yield f"After `sample_id` come the [signals of {name}](#{anchor}); all may be null.\n"


def _members() -> Iterator[str]:
    yield "## Shards and manifests\n"
    yield "Shards are WebDataset tars. The members of a sample are contiguous and named"
    yield "`<sample_id>.<extension>`: the image (`jpg`, `png`, …), `txt` (the primary caption) and"
    yield "`json`; a text pair has `txt` (the query), `passage.txt` and `json`.\n"
    for model, where in _JSON.items():
        yield f"### JSON {model.__name__}\n"
        yield f"{where}. {summary(model)}\n"
        yield from table(_FIELDS, describe_fields(model))


def flat_fields(fields: Iterable[pa.Field], prefix: str = "") -> Iterator[tuple[str, pa.Field]]:
    """Yields (name, field) of a schema; the fields of a list of structs follow as `list.field`."""
    for field in fields:
        yield prefix + field.name, field
        if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
            yield from flat_fields(field.type.value_type, f"{prefix}{field.name}.")


def _arrow_name(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return "list of struct" if pa.types.is_struct(kind.value_type) else f"list of {kind[0]}"
    return f"{kind.value_type} (dictionary)" if pa.types.is_dictionary(kind) else str(kind)
