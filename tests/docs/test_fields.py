from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from docs.fields import attribute_docs, describe_fields, sections, shared_fields, summary, type_name


class TextColour(StrEnum):
    RED = "red"


class Base(BaseModel):
    """What all have.

    Attributes:
        name: a name.
    """

    name: str


class Leaf(Base):
    """A leaf. It is green.

    Attributes:
        width, height: in pixels, and
            never 0.
        pHash: as imagehash has it.
    """

    type: Literal["leaf"]
    width: int = Field(default=4, ge=1, le=1_000_000)
    height: float = Field(default=0.5, gt=0, lt=1 << 40)
    pHash: str = ""
    other: str | None = None


class Stone(Base):
    """A stone."""

    type: Literal["stone"]


class Tree(BaseModel):
    """A tree."""

    things: tuple[Annotated[Leaf | Stone, Field(discriminator="type")], ...]
    first: Leaf | None = None
    weights: dict[TextColour, Annotated[float, Field(ge=0)]] = {}


def test_meanings_come_from_the_class_and_what_it_extends() -> None:
    assert attribute_docs(Leaf) == {
        "name": "a name.",
        "width": "in pixels, and never 0.",
        "height": "in pixels, and never 0.",
        "pHash": "as imagehash has it.",
    }


def test_fields_have_type_bounds_and_default() -> None:
    assert list(describe_fields(Leaf)) == [
        ["`name`", "text", "", "A name."],
        ["`type`", '`"leaf"`', "", ""],
        ["`width`", "integer, ≥ 1 and ≤ 1_000_000", "`4`", "In pixels, and never 0."],
        ["`height`", "number, > 0 and < 2^40", "`0.5`", "In pixels, and never 0."],
        ["`pHash`", "text", '`""`', "As imagehash has it."],
        ["`other`", "text", "absent", ""],
    ]


def test_a_table_without_meaning_has_the_summary_of_its_model() -> None:
    rows = {row[0]: row for row in describe_fields(Tree)}

    assert rows["`first`"] == ["`first`", "table", "absent", "A leaf."]
    assert rows["`things`"] == ["`things`", "list of table", "", ""]
    assert rows["`weights`"][1] == "number by text colour"


def test_sections_follow_the_fields_and_unions_share_theirs() -> None:
    found = list(sections(Tree))

    assert found == [
        ("Top level", (Tree,)),
        ("`[[things]]`", (Leaf, Stone)),
        ("`[first]`", (Leaf,)),
    ]
    assert shared_fields((Leaf, Stone)) == ["name"]


def test_summary_and_names_of_types() -> None:
    assert summary(Leaf) == "A leaf. It is green."
    assert type_name(tuple[str, ...]) == "list of text"
    assert type_name(Literal["a", 2]) == '`"a"` or `2`'
    assert type_name(int | str | None) == "integer or text"
