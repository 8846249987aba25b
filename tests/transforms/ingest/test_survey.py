import json
import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.folders import open_folder
from transforms.ingest.survey import survey

DEMO = Path(__file__).parents[3] / "examples" / "demo"


@pytest.fixture
def data(tmp_path):
    return open_folder(str(tmp_path))


def only(findings):
    (one,) = findings
    return one


def write_tar(path, names=("a.jpg", "a.txt")):
    with tarfile.open(path, "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))


def test_images_with_sidecars_are_a_folder(tmp_path, data):
    for name in ("a", "b"):
        shutil.copy(DEMO / "photos" / "categorization_cup.jpg", tmp_path / f"{name}.jpg")
    (tmp_path / "a.txt").write_text("a cup")
    found = only(survey(data))
    assert (found.type, found.count, found.problem) == ("folder", 2, "")
    assert found.seen == "2 images, 1 of them with a sidecar text"


def test_images_without_any_text_are_a_problem(tmp_path, data):
    shutil.copy(DEMO / "photos" / "categorization_cup.jpg", tmp_path / "a.jpg")
    assert "no image has" in only(survey(data)).problem


def test_columns_are_recognised_by_their_names(tmp_path, data):
    pq.write_table(pa.table({"image": [b"..."], "TEXT": ["a cup"]}), tmp_path / "t.parquet")
    found = only(survey(data))
    assert (found.type, found.files, found.settings) == ("table", "t.parquet", {})
    assert found.seen == "media from image; alt from TEXT"


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_columns_are_recognised_by_what_they_hold(tmp_path, data, ending):
    (tmp_path / "pictures").mkdir()
    rows = [{"wo": f"pictures/{n}.jpg", "was": f"cup number {n}", "n": str(n)} for n in range(3)]
    for row in rows:
        (tmp_path / row["wo"]).write_bytes(b"...")
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        delimiter = "," if ending == "csv" else "\t"
        lines = [delimiter.join(rows[0]), *(delimiter.join(row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    found = only(survey(data, path.name))
    assert found.problem == ""
    assert found.settings == {"path_column": "wo", "texts": {"alt": "was"}}


def test_url_lists_are_named_as_such(tmp_path, data):
    (tmp_path / "t.csv").write_text("url,caption\nhttp://host/a.jpg,a cup\n")
    assert "URL" in only(survey(data)).problem


def test_query_and_passage_are_text_pairs(tmp_path, data):
    (tmp_path / "t.jsonl").write_text('{"query": "q", "passage": "p"}\n')
    assert only(survey(data)).type == "text_pairs"


def test_tars_and_what_img2dataset_leaves(tmp_path, data):
    write_tar(tmp_path / "plain.tar")
    write_tar(tmp_path / "00000.tar")
    columns = {"key": ["1"], "status": ["success"], "error_message": [None]}
    pq.write_table(pa.table(columns), tmp_path / "00000.parquet")
    assert [(one.type, one.count) for one in survey(data)] == [
        ("img2dataset", 1),
        ("webdataset", 1),
    ]


def test_indexes_of_our_shards_are_no_tables(tmp_path, data):
    write_tar(tmp_path / "000000.tar")
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "000000.idx.parquet")
    assert only(survey(data)).type == "webdataset"


def test_unreadable_tables_are_a_problem_and_no_crash(tmp_path, data):
    (tmp_path / "t.parquet").write_bytes(b"not parquet")
    assert "media" in only(survey(data)).problem


def test_nothing_is_found_in_an_empty_folder(data):
    assert survey(data) == []
