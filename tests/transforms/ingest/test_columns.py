from __future__ import annotations

import re

import pyarrow as pa
import pytest

from schemas.samples import TextRole
from schemas.sources import TableSource, TextPairSource
from transforms.ingest.columns import Column, readable_names, table_columns
from transforms.ingest.inputs import SourceError

ALT, TITLE = TextRole.ALT, TextRole.TITLE
HF_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def columns(**types):
    return [Column(name, kind) for name, kind in types.items()]


def untyped(*names):
    return [Column(name) for name in names]


def find(found, **settings):
    return table_columns(TableSource(name="t", type="table", path="x", **settings), "f", found)


def test_hugging_face_image_folder():
    found = find(untyped("file_name", "text", "label"))
    assert (found.path, found.data, found.id) == ("file_name", "", "")
    assert found.fields.texts == ((ALT, ("text",)),)
    assert found.fields.meta == ("label",)
    assert found.names == ("file_name", "text", "label")


@pytest.mark.parametrize("kind", [HF_IMAGE, pa.binary(), pa.large_binary(), pa.binary_view()])
def test_images_in_the_table(kind):
    found = find(columns(image=kind, caption=pa.string()))
    assert (found.path, found.data) == ("", "image")
    assert found.fields.meta == ()


def test_an_image_column_of_strings_holds_paths():
    assert find(columns(image=pa.string(), caption=pa.string())).path == "image"
    assert find(untyped("image", "caption")).path == "image"


def test_both_bytes_and_path():
    found = find(columns(jpg=pa.binary(), file_name=pa.string(), txt=pa.string()))
    assert (found.data, found.path) == ("jpg", "file_name")


def test_datacomp_ids_and_laion_texts():
    found = find(
        columns(
            uid=pa.string(),
            URL=pa.string(),
            TEXT=pa.string(),
            path=pa.string(),
            original_width=pa.int64(),
            face_bboxes=pa.list_(pa.list_(pa.float64())),
        )
    )
    assert found.id == "uid"
    assert found.fields.texts == ((ALT, ("TEXT",)),)
    assert found.fields.meta == ("URL", "original_width")


def test_the_recipe_decides():
    found = find(
        untyped("image", "file", "id", "caption", "text", "split", "license"),
        path_column="file",
        id_column="id",
        texts={"title": "caption", "alt": "text"},
        where={"split": "train"},
    )
    assert (found.path, found.data, found.id, found.where) == ("file", "", "id", ("split",))
    assert found.fields.texts == ((TITLE, ("caption",)), (ALT, ("text",)))
    assert found.fields.licence == ("license",)
    assert found.fields.meta == ("image", "split")


def test_nested_columns_are_not_read_but_lists_of_texts_are():
    found = columns(
        a=pa.int8(),
        b=pa.list_(pa.string()),
        c=pa.list_(pa.int8()),
        d=HF_IMAGE,
        e=pa.map_(pa.string(), pa.string()),
        f=pa.dictionary(pa.int8(), pa.string()),
    )
    assert readable_names(found) == ["a", "b", "f"]


@pytest.mark.parametrize(
    ("found", "settings", "told"),
    [
        (
            untyped("url", "caption"),
            {},
            "the table has URLs but no media; make it a source of type `urls`",
        ),
        (untyped("URL", "TEXT"), {}, "a source of type `urls`, which fetches them"),
        (
            untyped("a", "text"),
            {},
            "no media column is recognised; set path_column or bytes_column",
        ),
        (untyped("file_name", "x"), {}, "no text column is recognised; name one in `texts`"),
        (untyped("file_name", "text"), {"path_column": "p"}, "there is no column 'p'; correct"),
        (untyped("file_name", "text"), {"id_column": "p"}, "there is no column 'p'"),
        (untyped("file_name", "text"), {"where": {"p": "1"}}, "there is no column 'p'"),
        (untyped("file_name", "text"), {"texts": {"alt": "p"}}, "there is no column 'p'"),
        (untyped("file_name", "text", "text"), {}, "column 'text' is there 2 times; rename all"),
        (untyped("file_name", "file_name", "text"), {}, "column 'file_name' is there 2 times"),
        (untyped("image", "text"), {"bytes_column": "image"}, "does not hold bytes"),
        (columns(image=pa.string(), text=pa.string()), {"bytes_column": "image"}, "not hold bytes"),
        (
            untyped("a cat", "http://x/1.jpg"),
            {},
            "the first line of a CSV or TSV names its columns",
        ),
        ([], {}, "columns: none"),
    ],
)
def test_what_is_missing_is_named_with_the_remedy(found, settings, told):
    with pytest.raises(SourceError, match=re.escape(told)) as caught:
        find(found, **settings)
    assert str(caught.value).startswith("source 't', f: ")


def test_columns_that_are_twice_there_do_not_matter_unless_they_are_needed():
    assert find(untyped("file_name", "text", "x", "x")).fields.meta == ("x",)


def test_text_pairs():
    source = TextPairSource(name="p", type="text_pairs", path="x", negatives_column="neg")
    found = table_columns(source, "f", untyped("query", "passage", "neg", "score"))
    assert found.names == ("query", "passage", "neg", "score")
    assert [role for role, _ in found.fields.texts] == ["query", "passage", "negative"]
    with pytest.raises(SourceError, match="there is no column 'neg'"):
        table_columns(source, "f", untyped("query", "passage"))
