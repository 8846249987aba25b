import json

import cv2
import numpy as np
import pytest

from trainer import evaluate
from trainer.inputs import InputError
from trainer.uned import domain_report, uned_report

SIDE = 16


class MeanColour:
    """Embeds an image as its mean colour."""

    def images(self, side, images):
        assert side == "query"
        assert all(image.shape == (SIDE, SIDE, 3) for image in images)
        return np.array([image.mean(axis=(0, 1)) for image in images], np.float32).reshape(-1, 3)


@pytest.fixture
def write_split(tmp_path, record, example):
    """Writes a split of UnED: colours with their labels, as PNG in TFRecord files."""

    def write(domain, split, images, files=1):
        folder = tmp_path / domain / split
        folder.mkdir(parents=True)
        records = []
        for number, (colour, labels) in enumerate(images):
            pixels = np.full((20, 30, 3), colour or 0, np.uint8)[:, :, ::-1]
            data = cv2.imencode(".png", pixels)[1].tobytes() if colour else b"no image"
            features = {"image_bytes": [data], "class_id": labels, "key": [b"%d" % number]}
            records.append(record(example(features)))
        for file in range(files):
            suffix = f"-{file:05d}-of-{files:05d}" if files > 1 else ""
            path = folder / f"{domain}.{split}.tfrecord{suffix}"
            path.write_bytes(b"".join(records[file::files]))
        return tmp_path

    return write


RED, ROSE, PINK = (200, 0, 0), (200, 20, 20), (200, 60, 60)
GREEN, BLUE = (0, 200, 0), (0, 0, 200)


def test_hits_need_label_and_domain_in_one_index(write_split):
    # cars asks itself; met asks an index of its own, whose label 7 is not that of cars.
    write_split("cars", "test", [(RED, [7]), (ROSE, [7]), (GREEN, [8]), (BLUE, [8])], files=2)
    write_split("met", "test", [(RED, [7]), (BLUE, [9])])
    folder = write_split("met", "index", [(PINK, [7]), (BLUE, [9]), (GREEN, [9])])
    report = uned_report(MeanColour(), "query", SIDE, folder, "test")
    assert report["index"] == 7
    cars, met = report["domains"]["cars"], report["domains"]["met"]
    # RED and ROSE find each other; GREEN and BLUE find the equal images of met.
    assert cars == {"R@1": 2 / 4, "mMP@5": 2 / 4, "queries": 4, "skipped": 0}
    # RED finds that of cars, of its label but not its domain. BLUE finds its answer and that of
    # cars at one score: misses come first.
    assert met == {"R@1": 0, "mMP@5": 1 / 4, "queries": 2, "skipped": 0}
    assert report["mean"] == {"R@1": 1 / 4, "mMP@5": 3 / 8}


def test_a_query_with_several_labels_takes_any_of_them():
    items = np.eye(3, dtype=np.float32)
    wanted = np.array([[0, 2], [1, -1]])
    queries = np.array([[0.1, 0, 1], [0, 0, 1]], np.float32)
    report = domain_report(queries, items, wanted, np.arange(3), np.array([-1, -1]))
    # The first query has two answers, at ranks 0 and 1; the second's lies behind a tie.
    assert report == {"R@1": 0.5, "mMP@5": 0.5, "queries": 2}


def test_an_image_that_cannot_be_decoded_is_counted(write_split):
    folder = write_split("sop", "val", [(RED, [1]), (None, [1]), (ROSE, [1]), (BLUE, [2])])
    report = uned_report(MeanColour(), "query", SIDE, folder, "val")["domains"]["sop"]
    assert report == {"R@1": 1.0, "mMP@5": 1.0, "queries": 2, "skipped": 1}


def test_what_is_not_uned_is_refused(write_split, tmp_path):
    with pytest.raises(InputError, match="holds no domain of UnED; they are cars, sop"):
        uned_report(MeanColour(), "query", SIDE, tmp_path, "test")
    write_split("cars", "val", [(RED, [1])])
    with pytest.raises(InputError, match=r"no image in .*cars\.test\.tfrecord"):
        uned_report(MeanColour(), "query", SIDE, tmp_path, "test")
    path = tmp_path / "cars" / "val" / "cars.val.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"cars\.val\.tfrecord: record 0: the file ends within it"):
        uned_report(MeanColour(), "query", SIDE, tmp_path, "val")


def test_a_run_is_evaluated_on_uned(learned, write_split, tmp_path, capsys):
    images = [(RED, [1]), (ROSE, [1]), (BLUE, [2]), (GREEN, [3])]
    folder = write_split("food2k", "test", images)
    out = tmp_path / "report.json"
    assert evaluate.main([str(learned), "--uned", str(folder), "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["domain", "food2k", "mean"]
    report = json.loads(out.read_text(encoding="utf-8"))["uned"]
    assert report["domains"]["food2k"]["queries"] == 2
