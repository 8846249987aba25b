"""Finds out which column of a table is what: named by the recipe, or recognised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import types

from schemas.samples import TextRole
from schemas.sources import TableSource, TextPairSource
from transforms.ingest.fields import Fields, pick, recognise
from transforms.ingest.inputs import SourceError

DATA_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes", "bytes")
PATH_COLUMNS = (
    *("file_name", "filepath", "file_path", "image_path", "img_path", "path", "filename"),
    *("image_file", "file", "image", "img"),
)
URL_COLUMNS = ("url", "image_url", "img_url", "image_link")
ID_COLUMNS = ("uid",)
"""DataComp's. Other ids are often positions, which change when rows are dropped or sorted."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: as the table has it.
        type: its Arrow type; None in text formats, whose values carry their own.
    """

    name: str
    type: pa.DataType | None = None


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Which column is what; empty names for what a table does not have.

    Attributes:
        path, data: the media, by path and as bytes.
        id: what names a row.
        fields: texts and the rest.
        where: columns that rows are chosen by.
    """

    path: str
    data: str
    id: str
    fields: Fields
    where: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        fields = self.fields
        texts = (name for _, names in fields.texts for name in names)
        rest = (*fields.licence, *fields.attribution, *fields.language, *fields.meta)
        names = (self.path, self.data, self.id, *texts, *self.where, *rest)
        return tuple(dict.fromkeys(filter(None, names)))


NO_COLUMNS = TableColumns("", "", "", Fields((), (), (), (), ()))
"""Of a table in which not one row could be read."""


def table_columns(
    source: TableSource | TextPairSource, file: str, columns: Sequence[Column]
) -> TableColumns:
    """Returns which column of a table is what.

    Args:
        source: names columns; what a `table` leaves empty is recognised by the names that LAION,
            DataComp, img2dataset and Hugging Face use.
        file: name of the file, for messages.
        columns: the columns of the file.

    Raises:
        SourceError: a column that is needed is not there, is there twice, or has another type.
    """
    table = _Table(source.name, file, columns)
    if isinstance(source, TextPairSource):
        return _text_pair_columns(source, table, readable_names(columns))
    texts = tuple((role, (table.named(name),)) for role, name in source.texts.items())
    path = table.named(source.path_column)
    data = table.named(source.bytes_column)
    if data and not table.has(data, _holds_bytes):
        raise table.error(
            f"bytes_column = {data!r} does not hold bytes (or a struct with `bytes`)",
            "name a binary column of a Parquet file, or set path_column",
        )
    if not path and not data:
        data = table.named(bytes_column(columns))
        path = table.recognised([name for name in PATH_COLUMNS if name != data], _holds_text)
    if not path and not data:
        raise _no_media(table)
    identity = table.named(source.id_column) or table.recognised(ID_COLUMNS, _holds_text)
    where = tuple(map(table.named, source.where))
    fields = recognise(readable_names(columns), texts, known={path, data, identity})
    if not fields.texts:
        raise table.error("no text column is recognised", "name one in `texts`")
    for name in (name for _, names in fields.texts for name in names):
        table.named(name)
    return TableColumns(path, data, identity, fields, where)


def readable_names(columns: Sequence[Column]) -> list[str]:
    """Returns the names of the columns that may hold texts, licence or `meta`, each once."""
    return list(dict.fromkeys(column.name for column in columns if _is_readable(column.type)))


def bytes_column(columns: Sequence[Column], wanted: Sequence[str] = DATA_COLUMNS) -> str:
    """Returns the first of the `wanted` columns that holds bytes; empty where none does."""
    names = (column.name for column in columns if _holds_bytes(column.type))
    return next(iter(pick(names, wanted)), "")


def _text_pair_columns(
    source: TextPairSource, table: _Table, readable: Sequence[str]
) -> TableColumns:
    identity = table.named(source.id_column)
    texts = [
        (TextRole.QUERY, (table.named(source.query_column),)),
        (TextRole.PASSAGE, (table.named(source.passage_column),)),
    ]
    if source.negatives_column:
        texts.append((TextRole.NEGATIVE, (table.named(source.negatives_column),)))
    fields = recognise(readable, tuple(texts), known={identity})
    return TableColumns("", "", identity, fields)


def _no_media(table: _Table) -> SourceError:
    if table.recognised(URL_COLUMNS, _holds_text):
        return table.error(
            "the table has URLs but no media",
            "make it a source of type `urls`, which fetches them",
        )
    return table.error("no media column is recognised", "set path_column or bytes_column")


class _Table:
    """The columns of one file, and how to complain about them."""

    def __init__(self, source: str, file: str, columns: Sequence[Column]) -> None:
        self._source = source
        self._file = file
        self._columns = columns

    def named(self, name: str) -> str:
        """Returns `name`, which is empty or the name of exactly one column."""
        count = sum(column.name == name for column in self._columns)
        if not name or count == 1:
            return name
        if count:
            raise self.error(f"column {name!r} is there {count} times", "rename all but one")
        raise self.error(f"there is no column {name!r}", "correct the name")

    def has(self, name: str, suits: Callable[[pa.DataType | None], bool]) -> bool:
        """Returns whether the column of this name has a suitable type."""
        return any(column.name == name and suits(column.type) for column in self._columns)

    def recognised(self, wanted: Sequence[str], suits: Callable[[pa.DataType | None], bool]) -> str:
        """Returns the first of the `wanted` columns that is there and suits; empty for none."""
        names = (column.name for column in self._columns if suits(column.type))
        return self.named(next(iter(pick(names, wanted)), ""))

    def error(self, problem: str, remedy: str) -> SourceError:
        """Returns an error with file, problem, columns and remedy."""
        names = [column.name for column in self._columns]
        shown = ", ".join(repr(name[:60]) for name in names[:20]) + (", …" * (len(names) > 20))
        untyped = any(column.type is None for column in self._columns)
        header = "; the first line of a CSV or TSV names its columns" if untyped else ""
        return SourceError(
            f"source {self._source!r}, {self._file}: {problem}; {remedy} "
            f"(columns: {shown or 'none'}{header})"
        )


def _holds_bytes(kind: pa.DataType | None) -> bool:
    if kind is None:
        return False
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return any(
        test(kind)
        for test in (
            types.is_binary,
            types.is_large_binary,
            types.is_binary_view,
            types.is_fixed_size_binary,
        )
    )


def _holds_text(kind: pa.DataType | None) -> bool:
    if kind is not None and types.is_dictionary(kind):
        kind = kind.value_type
    # Some writers leave out the annotation that tells text from bytes.
    tests = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary)
    return kind is None or any(test(kind) for test in tests)


def _is_readable(kind: pa.DataType | None) -> bool:
    """Returns whether a column may hold texts or scalars: lists of texts, but no other nesting."""
    if kind is None or not types.is_nested(kind):
        return True
    lists = (types.is_list, types.is_large_list, types.is_list_view, types.is_large_list_view)
    return any(test(kind) for test in lists) and _holds_text(kind.value_type)
