from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.loader.audit import main
from trainer.loader.loader import Loader
from trainer.loader.mixture import open_mixture
from trainer.loader.options import LoaderOptions, Sampling


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(arguments) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_audit_names_what_each_host_loads(
    build: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = build({"a": [20, 13], "b": [15]})
    sampling = Sampling(batch_size=10, seed=5, temperature=2, window=1)
    options = LoaderOptions(sampling=sampling, image=None, hosts=3)
    stored = tmp_path / "options.json"
    stored.write_text(options.model_dump_json())
    # The tars are not needed.
    lines = run(capsys, str(work.root), "m", "--steps", "4:9", "--options", str(stored))
    assert len(lines) == 50
    assert [line["row"] for line in lines] == list(range(10)) * 5
    for host in range(3):
        mine = options.model_copy(update={"host": host})
        with Loader(open_mixture(str(work.root), "m"), mine) as loader:
            for step in range(4, 9):
                rows = [line for line in lines if (line["step"], line["host"]) == (step, host)]
                assert [row["key"] for row in rows] == loader.batch(step).keys


def test_epochs_are_counted_by_source(
    build: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    work = build({"a": [12]})
    for path in work.root.rglob("*.tar"):
        path.unlink()
    lines = run(capsys, str(work.root), "m", "--steps", "0:6", "--batch-size", "6")
    assert [line["epoch"] for line in lines] == [0] * 12 + [1] * 12 + [2] * 12
    assert set(Counter(line["key"] for line in lines).values()) == {3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m", "--steps", "0:2", "--batch-size", "99"], "share of a batch of 99"),
        (["x", "--steps", "0:2", "--batch-size", "4"], "No such file"),
        (["m", "--steps", "2:2", "--batch-size", "4"], "A below B"),
        (["m", "--steps", "5", "--batch-size", "4"], "A below B"),
        (["m", "--steps", "0:2", "--batch-size", "0"], "greater than or equal to 1"),
    ],
)
def test_bad_arguments_exit_with_2(
    build: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    work = build({"a": [12]})
    try:
        code: Any = main([str(work.root), *arguments])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err
