"""Fields of pydantic models for people, from annotations and docstrings."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Collection, Iterator
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.markdown import code

_ATTRIBUTE = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<text>.*)")
_PLAIN = {str: "text", int: "integer", float: "number", bool: "boolean", Any: "any"}
_BOUNDS = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}

Models = tuple[type[BaseModel], ...]
"""The models that one TOML table may have; several where its `type` says which."""


def describe_fields(
    model: type[BaseModel], names: Collection[str] | None = None
) -> Iterator[list[str]]:
    """Yields [name, type, default, meaning] of every field, or of some, as Markdown."""
    meanings = attribute_docs(model)
    for name, field in model.model_fields.items():
        if names is not None and name not in names:
            continue
        kind = type_name(field.annotation) + _bounds(field)
        yield [code(name), kind, _default(field), _sentence(meanings.get(name) or _about(field))]


def summary(model: type[BaseModel]) -> str:
    """Returns what the docstring of a model says before its attributes, as one line."""
    return " ".join((model.__doc__ or "").partition("Attributes:")[0].split())


def attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """Returns the meaning of each attribute, from the docstrings of a model and what it extends.

    An entry may be about several: `width, height: …` gives both the same text.
    """
    found: dict[str, str] = {}
    ours = [one for one in model.__mro__ if one not in BaseModel.__mro__]
    for one in reversed(ours):
        names: list[str] = []
        section = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")[2]
        for line in section.splitlines():
            match = _ATTRIBUTE.fullmatch(line.removeprefix("    "))
            if match and not line.startswith("     "):
                names = match["names"].split(", ")
                found |= dict.fromkeys(names, match["text"])
            else:
                found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return found


def sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Models]]:
    """Yields (title, models) of a model and of the tables below it, in the order of the fields."""
    if not path:
        yield "Top level", (model,)
    for name, field in model.model_fields.items():
        inner = tuple(one for one in _leaves(field.annotation) if _is_model(one))
        if not inner:
            continue
        below = f"{path}.{name}" if path else name
        title = f"[[{below}]]" if get_origin(field.annotation) is tuple else f"[{below}]"
        yield code(title), inner
        for one in inner:
            yield from sections(one, below)


def type_name(annotation: Any) -> str:
    """Returns an annotation in words: `list of text`, `"jpeg" or "webp"`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(arguments[0])
    if origin is Literal:
        return " or ".join(code(json.dumps(one)) for one in arguments)
    names = [type_name(one) for one in arguments if one not in (types.NoneType, Ellipsis)]
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(names))
    if origin is tuple:
        return f"list of {names[0]}"
    if origin is dict:
        return f"{names[1]} by {names[0]}"
    return "table" if _is_model(annotation) else _plain_name(annotation)


def _plain_name(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
    return _PLAIN[kind]


def _leaves(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (None, Literal):
        yield annotation
    for one in get_args(annotation) if get_origin(annotation) is not Literal else ():
        yield from _leaves(one)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def shared_fields(models: Models) -> list[str]:
    """Returns the names of the fields that are the same in all models, in order."""
    first, *others = (one.model_fields for one in models)
    return [
        name
        for name, field in first.items()
        if all(repr(other.get(name)) == repr(field) for other in others)
    ]


def type_tag(model: type[BaseModel]) -> str:
    """Returns the `type` that tells a model from the others of its TOML table."""
    (tag,) = get_args(model.model_fields["type"].annotation)
    return str(tag)


def _bounds(field: FieldInfo) -> str:
    limits = [
        f"{sign} {_number(getattr(one, attribute))}"
        for one in field.metadata
        for kind, (sign, attribute) in _BOUNDS.items()
        if isinstance(one, kind)
    ]
    return f", {' and '.join(limits)}" if limits else ""


def _about(field: FieldInfo) -> str:
    """Returns the first sentence of a table that a field is; empty where it is none, or several."""
    models = [one for one in _leaves(field.annotation) if _is_model(one)]
    return summary(models[0]).partition(". ")[0].rstrip(".") + "." if len(models) == 1 else ""


def _sentence(text: str) -> str:
    """Returns a text with a capital, unless it begins with a name."""
    first = text.partition(" ")[0].rstrip(",:.")
    return text[:1].upper() + text[1:] if first.isalpha() else text


def _number(value: float) -> str:
    if isinstance(value, int) and value >= 1 << 32 and value & (value - 1) == 0:
        return f"2^{value.bit_length() - 1}"
    return f"{value:,}".replace(",", "_")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "absent"
    first = value[0] if isinstance(value, tuple) and value else value
    return "its defaults" if _is_model(type(first)) else code(json.dumps(value, ensure_ascii=False))
