"""The sources of a recipe: what they are, where they lie, and how they are read."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.samples import TextRole

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Section(BaseModel):
    """A part of a recipe: frozen, and without fields that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def check_name(value: str) -> str:
    """Returns a name that can be part of paths and ids.

    Raises:
        ValueError: it cannot.
    """
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a name: use 1 to 63 of a-z, 0-9, '-' and '_', "
            "starting with a letter or digit"
        )
    return value


class _Source(Section):
    """What every source has.

    Attributes:
        name: names the source in ids, folders and the mixture.
        path: file or folder, local (relative to the recipe) or `gs://`; the root of locators.
        files: glob below `path`, where it is a folder; which files belong to the source.
        licence: licence of samples that do not state their own.
    """

    name: str
    path: str
    files: str = "**"
    licence: str = ""

    _name = field_validator("name")(check_name)


class TableSource(_Source):
    """Parquet, CSV, TSV or JSONL with a media column and text columns.

    Attributes:
        path_column: column with the path of the media, relative to `media_root`.
        bytes_column: column with the media themselves (bytes, or a struct with `bytes`).
        media_root: folder that paths are relative to; the table's own folder where empty.
        id_column: column that names a row; media path or digest of the media where empty.
        texts: column by role, in order: the first is the primary text. Empty columns and `texts`
            are recognised from the names that LAION, DataComp, img2dataset and Hugging Face use.
        where: keeps only the rows whose columns equal these values; other rows are not inputs.
    """

    type: Literal["table"]
    path_column: str = ""
    bytes_column: str = ""
    media_root: str = ""
    id_column: str = ""
    texts: dict[TextRole, str] = {}
    where: dict[str, str] = {}


class TextPairSource(_Source):
    """Parquet, CSV, TSV or JSONL whose rows are a query, a passage and optional negatives.

    Attributes:
        query_column, passage_column: the query, which is the primary text, and its positive.
        negatives_column: hard negatives: a list, or JSON that is one.
        id_column: column that names a row; the digest of its texts where empty.
    """

    type: Literal["text_pairs"]
    query_column: str = "query"
    passage_column: str = "passage"
    negatives_column: str = ""
    id_column: str = ""


class WebDatasetSource(_Source):
    """WebDataset tars (`.tar`, `.tar.gz`, `.tgz`): one sample per key.

    Attributes:
        texts: extension of the member by role, in order; `txt` (or `caption`) as alt-text, and the
            texts of a `json` member, where empty.
    """

    type: Literal["webdataset"]
    files: str = "**/*.tar"
    texts: dict[TextRole, str] = {}


class Img2DatasetSource(_Source):
    """An output folder of img2dataset: its tars, and its Parquet with status and hashes."""

    type: Literal["img2dataset"]
    files: str = "**/*.parquet"


class FolderSource(_Source):
    """Images with sidecar texts: `name.jpg` beside `name.txt` or `name.json`."""

    type: Literal["folder"]


class UrlSource(_Source):
    """Parquet, CSV, TSV or JSONL whose rows are a URL and its texts.

    Attributes:
        layout: which columns are what: `auto` goes by their names (LAION, DataComp, Hugging Face,
            Open Images); `cc` is caption and URL without a header, as CC3M and CC12M come.
        url_column: column with the URL; recognised where empty.
        texts: column by role, in order: the first is the primary text. Recognised where empty.
        sha256_column, md5_column: expected hash of the bytes, in hex or base64; recognised where
            empty.
        where: keeps only the rows whose columns equal these values; other rows are not inputs.
    """

    type: Literal["urls"]
    layout: Literal["auto", "cc"] = "auto"
    url_column: str = ""
    texts: dict[TextRole, str] = {}
    sha256_column: str = ""
    md5_column: str = ""
    where: dict[str, str] = {}


class HtmlSource(_Source):
    """HTML pages: their images with `alt`, caption, title and the text around them.

    Attributes:
        page_root: URL that the folder of pages was served from; where given, images below it are
            taken from the folder. Pages name their own URL with `<link rel=canonical>` or `<base>`
            where it is empty.
    """

    type: Literal["html"]
    files: str = "**/*.htm*"
    page_root: str = ""


class WarcSource(_Source):
    """WARC files, plain or gzip: pages, and the images that were crawled with them."""

    type: Literal["warc"]
    files: str = "**/*.warc*"


Source = Annotated[
    TableSource
    | TextPairSource
    | WebDatasetSource
    | Img2DatasetSource
    | FolderSource
    | UrlSource
    | HtmlSource
    | WarcSource,
    Field(discriminator="type"),
]
