"""Finds out which column of a URL list is what: named by the recipe, or recognised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.sources import UrlSource
from transforms.ingest.columns import ID_COLUMNS, Column
from transforms.ingest.fields import Fields, pick, recognise
from transforms.ingest.inputs import SourceError

URL_COLUMNS = (
    *("url", "image_url", "img_url", "image_link", "originalurl", "original_url", "contenturl"),
    *("src", "link"),
)
"""LAION, DataComp, CC12M in tables, Open Images, schema.org; in lower case."""

SHA256_COLUMNS = ("sha256",)
MD5_COLUMNS = ("md5", "originalmd5", "original_md5")


@dataclass(frozen=True, slots=True)
class UrlColumns:
    """Which column is what; empty names for what a list does not have.

    Attributes:
        url: the URL.
        sha256, md5: expected hashes.
        id: what names a row.
        fields: texts and the rest.
        where: columns that rows are chosen by.
    """

    url: str
    sha256: str
    md5: str
    id: str
    fields: Fields
    where: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        fields = self.fields
        texts = (name for _, names in fields.texts for name in names)
        rest = (*fields.licence, *fields.attribution, *fields.language, *fields.meta)
        own = (self.url, self.sha256, self.md5, self.id)
        return tuple(dict.fromkeys(filter(None, (*own, *texts, *self.where, *rest))))


def url_columns(source: UrlSource, file: str, columns: Sequence[Column]) -> UrlColumns:
    """Returns which column of a URL list is what.

    Args:
        source: names columns; what it leaves empty is recognised by the names that LAION, DataComp,
            Hugging Face and Open Images use.
        file: name of the file, for messages.
        columns: the columns of the file.

    Raises:
        SourceError: a named column is not there, or there is no URL or no text.
    """
    names = [column.name for column in columns]

    def named(name: str) -> str:
        if name and names.count(name) != 1:
            told = f"there is no column {name!r}" if name not in names else f"{name!r} is repeated"
            raise _error(source, file, told, "correct the name", names)
        return name

    def known(name: str, wanted: Sequence[str]) -> str:
        return named(name) or next(iter(pick(names, wanted)), "")

    url = known(source.url_column, URL_COLUMNS)
    if not url:
        raise _error(source, file, "no URL column is recognised", "set url_column", names)
    sha256 = known(source.sha256_column, SHA256_COLUMNS)
    md5 = known(source.md5_column, MD5_COLUMNS)
    identity = known("", ID_COLUMNS)
    texts = tuple((role, (named(name),)) for role, name in source.texts.items())
    fields = recognise(dict.fromkeys(names), texts, known={url, sha256, md5, identity})
    if not fields.texts:
        raise _error(source, file, "no text column is recognised", "name one in `texts`", names)
    return UrlColumns(url, sha256, md5, identity, fields, tuple(map(named, source.where)))


def _error(
    source: UrlSource, file: str, problem: str, remedy: str, names: Sequence[str]
) -> SourceError:
    shown = ", ".join(repr(name[:60]) for name in names[:20]) + (", …" * (len(names) > 20))
    return SourceError(
        f"source {source.name!r}, {file}: {problem}; {remedy} (columns: {shown or 'none'}); a file "
        "of captions and URLs without a header needs layout = 'cc'"
    )
