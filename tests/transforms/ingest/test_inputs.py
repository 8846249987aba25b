from __future__ import annotations

import re

import pytest

from schemas.sources import (
    FolderSource,
    Img2DatasetSource,
    TableSource,
    TextPairSource,
    WebDatasetSource,
)
from storage.folders import open_folder
from transforms.ingest.inputs import SourceError, compile_glob, list_inputs, rooted, stem


def make_files(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))


def names(root, source):
    return [entry.name for entry in list_inputs(open_folder(str(root)), source)]


def table(root, **settings):
    return TableSource(name="t", type="table", path=str(root), **settings)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("**", ["a", "a/b.c"], []),
        ("**/*.tar", ["a.tar", "x/y/a.tar"], ["a.tar.gz", "tar"]),
        ("*.tar", ["a.tar", "[.tar"], ["x/a.tar"]),
        ("data/**", ["data/a", "data/a/b"], ["data", "xdata/a"]),
        ("a?c", ["abc"], ["a/c", "ac"]),
        ("a[0-9].csv", ["a1.csv"], ["ax.csv"]),
        ("a[!0-9].csv", ["ax.csv"], ["a1.csv"]),
        ("a[]^[].csv", ["a].csv", "a^.csv", "a[.csv"], ["ax.csv"]),
        ("a.b", ["a.b"], ["axb"]),
        ("[", ["["], ["a"]),
    ],
)
def test_globs(pattern, matching, others):
    compiled = compile_glob(pattern)
    assert [name for name in matching + others if compiled.fullmatch(name)] == matching


def test_stem_drops_the_last_extension_only():
    assert stem("a.b/c.d.jpg") == "a.b/c.d"
    assert stem("a.b/c") == "a.b/c"
    assert stem("a/.hidden") == "a/.hidden"


def test_tables_are_listed_sorted_without_media_hidden_or_left_over_files(tmp_path):
    wanted = ["a.parquet", "b.CSV", "b/c.tsv.gz", "b/d.jsonl.zst", "z.ndjson"]
    ignored = [
        *("a.jpg", "a.txt", ".hidden.csv", ".git/x.csv", "x.csv.tmp", "x.csv~", "y.csv.part"),
        *("_temporary/0/x.csv", "__MACOSX/x.csv", "_SUCCESS", "x.csv.crdownload", "a.csv.xz"),
    ]
    make_files(tmp_path, *wanted, *ignored)
    assert names(tmp_path, table(tmp_path)) == wanted
    pairs = TextPairSource(name="p", type="text_pairs", path=str(tmp_path), files="b/*")
    assert names(tmp_path, pairs) == ["b/c.tsv.gz", "b/d.jsonl.zst"]


def test_sizes_come_along(tmp_path):
    make_files(tmp_path, "abc.csv")
    (entry,) = list_inputs(open_folder(str(tmp_path)), table(tmp_path))
    assert (entry.name, entry.size) == ("abc.csv", 7)


def test_tars_packed_or_not(tmp_path):
    make_files(tmp_path, "a.tar", "x/b.tar", "c.tar.gz", "d.tgz", "e.csv")
    source = WebDatasetSource(name="w", type="webdataset", path=str(tmp_path))
    assert names(tmp_path, source) == ["a.tar", "x/b.tar"]
    every = source.model_copy(update={"files": "**"})
    assert names(tmp_path, every) == ["a.tar", "c.tar.gz", "d.tgz", "x/b.tar"]


def test_img2dataset_lists_tars_with_and_without_their_parquet(tmp_path):
    shards = ["00000.parquet", "00000.tar", "00001.tar", "00002.parquet"]
    make_files(tmp_path, *shards, "00000_stats.json", "00000.incomplete/x.txt")
    source = Img2DatasetSource(name="i", type="img2dataset", path=str(tmp_path))
    assert names(tmp_path, source) == shards
    one = source.model_copy(update={"files": "00000.parquet"})
    assert names(tmp_path, one) == ["00000.parquet", "00000.tar"]


def test_folders_list_images_with_their_sidecars_only(tmp_path):
    wanted = ["a.jpg", "a.json", "a.txt", "sub/b.PNG", "sub/b.TXT", "sub/c.webp"]
    make_files(tmp_path, *wanted, "notes.txt", "sub/a.txt", "video.mp4", ".x.jpg", "._a.jpg")
    source = FolderSource(name="f", type="folder", path=str(tmp_path))
    assert names(tmp_path, source) == wanted
    some = source.model_copy(update={"files": "sub/*.PNG"})
    assert names(tmp_path, some) == ["sub/b.PNG", "sub/b.TXT"]


def test_a_path_that_is_one_file_has_its_folder_as_root(tmp_path):
    make_files(tmp_path, "[odd]*.csv", "o.csv")
    source = rooted(table(tmp_path / "[odd]*.csv"))
    assert source.path == str(tmp_path)
    assert names(tmp_path, source) == ["[odd]*.csv"]


def test_a_path_that_is_a_folder_stays(tmp_path, monkeypatch):
    make_files(tmp_path, "spark.parquet/part-0.parquet")
    source = table(tmp_path / "spark.parquet")
    assert rooted(source) == source
    monkeypatch.chdir(tmp_path)
    for path in (".", "/", "..", "nowhere", "gs://bucket", "gs://bucket/"):
        assert rooted(table(path)) == table(path)
    make_files(tmp_path, "here.csv")
    assert rooted(table("here.csv")).path == str(tmp_path)


@pytest.mark.parametrize(
    ("made", "files", "told"),
    [
        ([], "**", "it is empty, or does not exist"),
        (["a.tar", "b.jpg"], "**", "it holds a.tar, b.jpg, …"),
        (["a.csv"], "*.tsv", "files = '*.tsv'"),
    ],
)
def test_nothing_to_read_is_an_error_that_says_what_is_there(tmp_path, made, files, told):
    make_files(tmp_path, *made)
    with pytest.raises(SourceError, match=re.escape(told)) as caught:
        names(tmp_path, table(tmp_path, files=files))
    assert str(tmp_path) in str(caught.value)
    assert "source 't'" in str(caught.value)
    assert "correct `path` or `files`" in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("{a,b}_*.jpg", "a_1.jpg", True),
        ("{a,b}_*.jpg", "b_1.jpg", True),
        ("{a,b}_*.jpg", "c_1.jpg", False),
        ("{x/,}a.{jpg,png}", "a.png", True),
        ("**/{a,bc}?.jpg", "deep/er/bc1.jpg", True),
        ("{a}.jpg", "{a}.jpg", True),
    ],
)
def test_alternatives_of_a_glob(pattern: str, name: str, matches: bool) -> None:
    assert (compile_glob(pattern).fullmatch(name) is not None) == matches
