"""Reads recipes: TOML, profiles and `--set` become one frozen, resolved `Recipe`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from schemas import layout
from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.signals import SIGNALS_BY_NAME
from storage.folders import Folder, open_folder
from transforms.work import Work


class RecipeError(ValueError):
    """The recipe, or an option that changes it, is wrong. The message says what to write."""


def load_recipe(path: Path, settings: Iterable[str] = ()) -> Recipe:
    """Reads and resolves a recipe.

    Relative paths of sources and block lists are taken from the recipe's own folder.

    Args:
        path: the TOML file.
        settings: `key=value` changes, see `change`.

    Raises:
        RecipeError: the file is missing or no TOML, or a field is wrong.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(
            f"recipe {path} does not exist; `mixwright init DATA` writes one"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise RecipeError(f"recipe {path} is not a TOML file: {error}") from None
    # One file may say how to train as well; that part is the trainer's.
    values.pop("train", None)
    _anchor_paths(values, path.resolve().parent)
    return resolve(values, settings, str(path))


def resolve(values: dict[str, Any], settings: Iterable[str] = (), origin: str = "recipe") -> Recipe:
    """Validates values, puts the rules of the profile in, and applies changes.

    Args:
        values: the recipe as plain values.
        settings: `key=value` changes, see `change`.
        origin: names the recipe in messages.
    """
    rule_changes = []
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise RecipeError(f"--set {setting!r}: write KEY=VALUE")
        if key in SIGNALS_BY_NAME or key in set(Reason):
            rule_changes.append((key, value))
        else:
            _change(values, key, _parse_value(value))
    rules = _put_profile_in(values)
    if rules is not None:
        for key, value in rule_changes:
            _change_rules(rules, key, value)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(_explain(error, origin)) from None


def read_lock(work: Folder) -> Recipe:
    """Reads the recipe that a work directory belongs to.

    Raises:
        RecipeError: the folder is no work directory.
    """
    try:
        text = work.read(layout.LOCK).decode("utf-8")
    except FileNotFoundError:
        raise RecipeError(
            f"{work.uri} is not a work directory: it has no {layout.LOCK}; "
            "`mixwright run RECIPE --work DIR` makes one"
        ) from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(
            f"{work.locate(layout.LOCK)} is not TOML: {error}; run the recipe again"
        ) from None
    return resolve(values, origin=work.locate(layout.LOCK))


def open_release(uri: str) -> Work:
    """Opens a work directory with the recipe that it belongs to.

    Raises:
        RecipeError: the folder is no work directory.
    """
    try:
        folder = open_folder(uri)
    except ValueError as error:
        raise RecipeError(str(error)) from None
    return Work(folder, read_lock(folder))


def lock_bytes(recipe: Recipe) -> bytes:
    """Returns the resolved recipe as TOML: the same recipe gives the same bytes."""
    header = f"# The resolved recipe of this work directory. Digest {recipe.digest()}.\n\n"
    values = recipe.model_dump(mode="json", exclude_none=True)
    return (header + tomli_w.dumps(values)).encode()


def profile_names() -> list[str]:
    """Returns the names of the profiles that a recipe can extend."""
    folder = resources.files("pipelines").joinpath("profiles")
    return sorted(Path(one.name).stem for one in folder.iterdir() if one.name.endswith(".toml"))


def load_profile(name: str) -> dict[str, Any]:
    """Returns a profile's values."""
    if name not in profile_names():
        raise RecipeError(
            f"select.extends = {name!r}: no such profile; use one of {', '.join(profile_names())}"
        )
    text = resources.files("pipelines").joinpath("profiles", f"{name}.toml").read_text("utf-8")
    return tomllib.loads(text)


def _put_profile_in(values: dict[str, Any]) -> list[Any] | None:
    """Replaces `extends` and `without` by the rules that they mean.

    Returns:
        The rules in place; None where validation will refuse `select`, which is left as it is.
    """
    select = values.setdefault("select", {})
    types = {"extends": str, "without": list, "rules": list}
    if not isinstance(select, dict) or not all(
        isinstance(select.get(name, kind()), kind) for name, kind in types.items()
    ):
        return None
    own = select.pop("rules", [])
    extends = select.pop("extends", "")
    without = select.pop("without", [])
    rules = [dict(rule) for rule in load_profile(extends)["rules"]] if extends else []
    reasons = [rule["reason"] for rule in rules]
    unknown = [reason for reason in without if reason not in reasons]
    if unknown:
        raise RecipeError(
            f"select.without names {unknown[0]!r}, which is no reason of the profile {extends!r}; "
            f"its reasons are {', '.join(reasons) or 'none'}"
        )
    rules = [rule for rule in rules if rule["reason"] not in without]
    places = [(rule.get("signal"), rule["reason"]) for rule in rules]
    for rule in own:
        replaced = isinstance(rule, dict) and (rule.get("signal"), rule.get("reason"))
        if replaced in places:
            rules[places.index(replaced)] = rule
        else:
            rules.append(rule)
    select["rules"] = rules
    return rules


def _change_rules(rules: list[Any], key: str, keep: str) -> None:
    """Gives the one rule of a signal, or of a reason, another `keep`."""
    tables = [rule for rule in rules if isinstance(rule, dict)]
    matching = [rule for rule in tables if key in (rule.get("signal"), rule.get("reason"))]
    if len(matching) != 1:
        told = (f"{rule.get('reason')} ({rule.get('keep')})" for rule in matching)
        found = ", ".join(told) or "none"
        known = ", ".join(sorted({str(rule.get("reason")) for rule in tables}))
        raise RecipeError(
            f"--set {key}=…: it must name one rule, and names {found}; reasons are {known}"
        )
    matching[0]["keep"] = keep


def _change(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key; numbers index lists, and a source or mixture answers to its name."""
    *path, last = key.split(".")
    target: Any = values
    for step in path:
        target = _descend(target, step, key)
    if isinstance(target, list):
        target[_position(target, last, key)] = value
    elif isinstance(target, dict):
        target[last] = value
    else:
        raise _below_plain_value(key, last)


def _descend(target: Any, step: str, key: str) -> Any:
    if isinstance(target, list):
        return target[_position(target, step, key)]
    if not isinstance(target, dict):
        raise _below_plain_value(key, step)
    return target.setdefault(step, {})


def _below_plain_value(key: str, step: str) -> RecipeError:
    return RecipeError(f"--set {key}: {step!r} is below a plain value; name a field of the recipe")


def _position(items: list[Any], step: str, key: str) -> int:
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if step in names:
        return names.index(step)
    if step.isdecimal() and int(step) < len(items):
        return int(step)
    choices = ", ".join(str(name) for name in names if name) or f"0 to {len(items) - 1}"
    raise RecipeError(f"--set {key}: there is no {step!r}; use one of {choices}")


def _parse_value(text: str) -> Any:
    """Reads a TOML value; anything that is none is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


_PATHS = (
    ("sources", "path"),
    ("sources", "media_root"),
    ("ingest", "block", "sha256"),
    ("ingest", "block", "md5"),
    ("ingest", "block", "phash"),
    ("fetch", "ca_file"),
    ("fetch", "consent", "opt_out"),
)
"""Fields of a recipe that name files."""


def _anchor_paths(values: dict[str, Any], folder: Path) -> None:
    """Makes relative local paths absolute; what is no table or no path is left to validation."""
    for *steps, last in _PATHS:
        tables: list[Any] = [values]
        for step in steps:
            found = [table.get(step) for table in tables if isinstance(table, dict)]
            tables = [
                one for value in found for one in (value if isinstance(value, list) else [value])
            ]
        for table in tables:
            if isinstance(table, dict) and last in table:
                table[last] = _anchored(table[last], folder)


def _anchored(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_anchored(one, folder) for one in value]
    if not isinstance(value, str) or not value or "://" in value:
        return value
    return str(folder / Path(value).expanduser())


def _explain(error: ValidationError, origin: str) -> str:
    """Returns one line per wrong field: where, what it is, and what to write."""
    lines = []
    for one in error.errors():
        place = ".".join(str(step) for step in one["loc"]) or "recipe"
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            message = "there is no such field; check its spelling"
        elif one["type"] == "missing":
            message = "is missing; add it"
        elif one["type"] not in ("value_error", "union_tag_invalid", "union_tag_not_found"):
            message = f"is {one['input']!r}: {message[:1].lower()}{message[1:]}"
        lines.append(f"{origin}: {place}: {message}")
    return "\n".join(lines)
