import json

import numpy as np
import pytest

from trainer import evaluate, evaluation, export
from trainer.embedder import load_run

DIRECTIONS = {"image_to_text", "text_to_image"}


@pytest.fixture(scope="module")
def run(learned):
    return learned


@pytest.fixture(scope="module")
def report(run, work, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.json"
    classes = path.with_name("classes.json")
    scenes = [
        f"{c} {s}"
        for c in ("red", "green", "blue", "yellow", "purple", "white")
        for s in ("disc", "box")
    ]
    names = {
        "templates": ["a {} at the left", "a {} at the top"],
        "classes": {s: [s] for s in scenes},
    }
    classes.write_text(json.dumps(names), encoding="utf-8")
    arguments = [str(run), "--work", str(work), "--mixture", "held_out", "--against", "untrained"]
    labels = ["--labels", "label", "--classes", str(classes), "--train-mixture", "train"]
    assert evaluate.main([*arguments, *labels, "--out", str(path)]) == 0
    return json.loads(path.read_text(encoding="utf-8"))


def test_training_beats_no_training_by_a_wide_margin(report):
    for direction in DIRECTIONS:
        gain = report["against"]["gain"][direction]["R@5"]
        assert gain["gain"] > 0.3
        assert gain["low"] > 0.2


def test_every_width_direction_and_language_is_reported(report):
    assert set(report["retrieval"]) == {"32", "8"}
    for directions in report["retrieval"].values():
        assert set(directions) == DIRECTIONS
        for languages in directions.values():
            assert set(languages) == {"all", "de", "en"}
    forward = report["retrieval"]["32"]["image_to_text"]
    back = report["retrieval"]["32"]["text_to_image"]
    assert forward["all"]["queries"] == 48
    assert back["all"]["queries"] == 96
    assert back["de"]["queries"] == 48
    # Only English captions were trained on.
    assert forward["en"]["R@10"] > forward["de"]["R@10"]
    assert report["skipped"] == {}


def test_labels_give_instance_retrieval_classification_and_transfer(report):
    labelled = report["labelled"]
    assert labelled["instance"]["queries"] == 48
    assert labelled["zero_shot"]["top5"] > 5 / 12
    assert labelled["transfer"]["knn"] > 3 / 12
    assert labelled["transfer"]["linear_probe"] > 3 / 12


def test_a_table_has_a_line_for_every_number(report):
    lines = evaluation.table(report["retrieval"]).splitlines()
    assert len(lines) == 1 + 2 * 2 * 3


def test_samples_that_share_an_identity_share_a_group():
    groups = evaluation.group_by_content(
        [["a", "t1"], ["b", "t2"], ["c", "t1"], ["b"], ["d", "t9"]]
    )
    assert groups.tolist() == [0, 1, 0, 1, 4]


def test_the_label_of_another_domain_is_a_miss():
    vectors = np.array([[1, 0], [0.99, 0.1], [0, 1], [0.1, 0.99]], np.float32)
    right = evaluation.instance_report(vectors, np.array([0, 0, 1, 1]))
    wrong = evaluation.instance_report(vectors, np.array([0, 1, 0, 1]))
    alone = evaluation.instance_report(vectors, np.arange(4))
    assert (right["R@1"], right["mMP@5"]) == (1, 1)
    assert (wrong["R@1"], wrong["mMP@5"]) == (0, 0)
    assert alone == {"queries": 0}


def test_an_export_is_the_model(run, tmp_path, capsys):
    assert export.main([str(run), "--out", str(tmp_path / "one")]) == 0
    assert export.main([str(run), "--out", str(tmp_path / "two")]) == 0
    written = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert written == ["config.json", "model.safetensors", "tokenizer.model"]
    for name in written:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    model, _ = load_run(run)
    loaded = export.load_safetensors(tmp_path / "one")
    texts = ["a red disc at the left", "a blue box at the top"]
    np.testing.assert_array_equal(model.texts("positive", texts), loaded.texts("positive", texts))
    image = np.full((32, 32, 3), 90, np.uint8)
    np.testing.assert_array_equal(model.images("query", [image]), loaded.images("query", [image]))


def test_a_damaged_export_is_refused(run, tmp_path):
    assert export.main([str(run), "--out", str(tmp_path)]) == 0
    (tmp_path / "tokenizer.model").write_bytes(b"other")
    with pytest.raises(export.ExportError, match="no SentencePiece model"):
        export.load_safetensors(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(export.ExportError, match="holds no export"):
        export.load_safetensors(tmp_path)


def test_a_savedmodel_embeds_as_the_model_does(run, tmp_path):
    tf = pytest.importorskip("tensorflow")
    assert export.main([str(run), "--out", str(tmp_path), "--format", "savedmodel"]) == 0
    loaded = tf.saved_model.load(str(tmp_path))
    model, _ = load_run(run)
    ids, mask = model.tokenizer(["a red disc at the left"])
    got = loaded.signatures["positive"](ids=tf.constant(ids), mask=tf.constant(mask))
    expected = model.texts("positive", ["a red disc at the left"])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(got["embedding"], expected, atol=1e-5)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    got = loaded.signatures["query"](image=tf.constant(images))
    expected = model.images("query", images)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(got["embedding"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("run_name", "mixture", "message"),
    [("none", "held_out", "is no folder of a run"), (None, "none", "mixture 'none'")],
)
def test_what_is_missing_fails_with_its_name(run, work, run_name, mixture, message, capsys):
    folder = run if run_name is None else run / run_name
    status = evaluate.main([str(folder), "--work", str(work), "--mixture", mixture])
    assert status == 1
    assert message in capsys.readouterr().err


def test_a_width_beyond_the_model_fails(run, work, capsys):
    arguments = [str(run), "--work", str(work), "--mixture", "held_out", "--width", "64"]
    assert evaluate.main(arguments) == 1
    assert "--width is within 1 to 32" in capsys.readouterr().err


def test_without_tensorflow_a_savedmodel_says_what_to_install(run, tmp_path, monkeypatch, capsys):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(export.importlib, "import_module", missing)
    assert export.main([str(run), "--out", str(tmp_path), "--format", "savedmodel"]) == 1
    assert "install mixwright[tf]" in capsys.readouterr().err
