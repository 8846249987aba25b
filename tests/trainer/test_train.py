import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from trainer import train as train_module
from trainer.checkpoints import CheckpointError
from trainer.journal import read_journal
from trainer.loader import audit
from trainer.loop import DivergedError
from trainer.mesh import make_mesh
from trainer.recipe import RecipeError
from trainer.train import StopRequest, main, train


def device():
    return jax.devices()[:1]


def leaves(outcome):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(outcome.state.parameters)]


def toml_of(recipe, path):
    values = recipe.model_dump(mode="json", exclude_none=True)

    def table(name, value):
        lines, inner = [f"[{name}]"], []
        for key, item in value.items():
            if isinstance(item, dict):
                inner.append(table(f"{name}.{key}", item))
            elif item not in ([], ""):
                lines.append(f"{key} = {json.dumps(item)}")
        return "\n".join([*lines, *inner])

    path.write_text(table("train", values), encoding="utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def compile_once():
    """Keeps the compiled step of each recipe and mesh: most of the time of a run of six steps."""
    kept = {}

    def once(name):
        function = getattr(train_module, name)

        def made(recipe, towers, *rest):
            key = name, recipe.digest(), str(rest)
            if key not in kept:
                kept[key] = function(recipe, towers, *rest)
            return kept[key]

        return made

    with pytest.MonkeyPatch.context() as patch:
        for name in ("make_step", "initial_state"):
            patch.setattr(train_module, name, once(name))
        yield


@pytest.fixture(scope="module")
def whole(make_recipe, tmp_path_factory):
    """An uninterrupted run of six steps."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(make_recipe(), folder, devices=device())


def test_metrics_of_a_run(whole):
    folder, outcome = whole
    lines = read_journal(folder / "metrics.jsonl")
    assert outcome.step == 6
    assert not outcome.stopped
    assert [line["step"] for line in lines] == [2, 4, 6]
    last = lines[-1]
    assert last["loss"] == pytest.approx(last["loss/softmax"])
    assert last["samples"]["web"] + last["samples"]["wiki"] == 32
    assert last["samples"]["web"] == 16
    assert last["learning_rate"] > 0
    assert last["gradient/softmax"] > 0
    assert last["softmax/log_scale"] == pytest.approx(np.log(1 / 0.07), rel=0.05)
    assert 0 <= last["loader_wait"] <= 1
    assert last["mfu"] is None
    assert last["bad_samples"] == 0


def test_what_a_run_consumed_can_be_listed(whole, work, capsys):
    folder, _ = whole
    options = str(folder / "loader.json")
    assert audit.main([str(work), "train", "--steps", "0:6", "--options", options]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 6 * 16
    assert len({row["key"] for row in rows}) == 6 * 16
    counts = read_journal(folder / "metrics.jsonl")[-1]["samples"]
    last = [row["source"] for row in rows if row["step"] in (4, 5)]
    assert {name: last.count(name) for name in counts} == counts


KILLED = """
import os, pathlib, signal, sys, time
import jax
from trainer.recipe import load_recipe
from trainer.train import train

folder = pathlib.Path(sys.argv[2])
steps = 0


def stop():
    global steps
    steps += 1
    if steps == 5:
        while not (folder / "checkpoints" / "3").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return False


train(load_recipe(pathlib.Path(sys.argv[1])), folder, stop=stop, devices=jax.devices()[:1])
"""


def test_a_run_that_was_killed_resumes_bitwise(make_recipe, whole, tmp_path):
    path = toml_of(make_recipe(), tmp_path / "recipe.toml")
    folder = tmp_path / "run"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (folder / "checkpoints" / "3").exists()
    assert not (folder / "checkpoints" / "6").exists()
    resumed = train(make_recipe(), folder, devices=device())
    for a, b in zip(leaves(resumed), leaves(whole[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    lines = read_journal(folder / "metrics.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert lines[-1]["loss"] == read_journal(whole[0] / "metrics.jsonl")[-1]["loss"]


def test_sigterm_saves_exits_zero_and_starting_again_changes_nothing(
    make_recipe, whole, tmp_path, monkeypatch, capsys
):
    hear = StopRequest.__call__
    calls = []

    def hear_after_a_signal(self):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return hear(self)

    monkeypatch.setattr(StopRequest, "__call__", hear_after_a_signal)
    monkeypatch.setattr(train_module, "make_mesh", lambda devices: make_mesh(device()))
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    path = toml_of(make_recipe(), tmp_path / "recipe.toml")
    folder = tmp_path / "run"
    try:
        status = main([str(path), "--out", str(folder), "--set", "log_every=1", "--tensorboard"])
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(number, handler)
    captured = capsys.readouterr()
    assert status == 0
    assert json.loads(captured.out) == {"steps": 2, "stopped": True, "out": str(folder)}
    assert captured.err.startswith("step 1  loss ")
    assert (folder / "checkpoints" / "2" / "state").exists()
    assert list((folder / "tensorboard").iterdir())
    resumed = train(make_recipe(), folder)
    for a, b in zip(leaves(resumed), leaves(whole[1]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_pieces_and_devices_change_nothing_but_rounding(make_recipe, whole, tmp_path):
    recipe = make_recipe(accumulate=2)
    outcome = train(recipe, tmp_path, devices=jax.devices()[:4])
    for a, b in zip(leaves(outcome), leaves(whole[1]), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)
    # And the checkpoint of many devices is one of any number.
    again = train(make_recipe(), tmp_path, devices=device())
    for a, b in zip(leaves(outcome), leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loss_that_is_no_number_stops_the_run(make_recipe, tmp_path, monkeypatch):
    make_step = train_module.make_step

    def poisoned(*arguments):
        step = make_step(*arguments)

        def one(state, features):
            state, metrics = step(state, features)
            if int(state.step) == 5:
                metrics["loss"] = metrics["loss"] * np.nan
            return state, metrics

        return one

    monkeypatch.setattr(train_module, "make_step", poisoned)
    with pytest.raises(DivergedError) as failure:
        train(make_recipe(), tmp_path, devices=device())
    message = str(failure.value)
    assert message.startswith("step 5: loss nan")
    assert "last good checkpoint is of step 3" in message
    assert len(message.split("Its keys: ")[1].split(", ")) == 16


def test_a_checkpoint_of_another_model_is_refused(make_recipe, whole):
    recipe = make_recipe(model=make_recipe().model.model_dump() | {"width": 16})
    with pytest.raises(CheckpointError, match=r"another model: model\.width is 32, not 16"):
        train(recipe, whole[0], devices=device())


def test_a_checkpoint_of_other_data_is_refused_unless_allowed(make_recipe, whole):
    recipe = make_recipe(seed=1)
    with pytest.raises(CheckpointError, match="seed is 0, not 1"):
        train(recipe, whole[0], devices=device())
    outcome = train(recipe, whole[0], devices=device(), allow_data_change=True)
    assert outcome.step == 6


def test_the_end_of_the_data_ends_the_run(make_recipe, tmp_path):
    outcome = train(make_recipe(data={"max_epochs": 0.1}), tmp_path, devices=device())
    assert outcome.step == 2  # A tenth of 384 samples, in batches of 16.
    assert not outcome.stopped


def test_a_batch_that_does_not_split_over_devices_is_refused(make_recipe, tmp_path):
    with pytest.raises(RecipeError, match="no multiple of 3 devices"):
        train(make_recipe(), tmp_path, devices=jax.devices()[:3])


# No file of the process may grow beyond 20 kB, as if the disk were full.
FULL_DISK = """
import pathlib, resource, sys
import jax
from trainer.checkpoints import CheckpointError
from trainer.recipe import load_recipe
from trainer.train import train

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    recipe = load_recipe(pathlib.Path(sys.argv[1]))
    train(recipe, pathlib.Path(sys.argv[2]), devices=jax.devices()[:1])
except CheckpointError as error:
    sys.exit(f"refused: {error}")
"""


def test_a_full_disk_fails_and_keeps_the_last_good_checkpoint(make_recipe, whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    shutil.rmtree(folder / "checkpoints" / "6")
    path = toml_of(make_recipe(), tmp_path / "recipe.toml")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "refused: cannot write a checkpoint" in done.stderr
    assert "the latest good one is of step 3" in done.stderr
    assert not (folder / "checkpoints" / "6").exists()


@pytest.mark.parametrize(
    ("text", "arguments", "status", "message"),
    [
        ("", [], 2, "has no [train] table"),
        ("[train]\nsteps = 0\npreset = 'clip'", [], 2, "train.steps"),
        ("[train]\npreset = 'clap'", [], 2, "unknown preset 'clap'"),
        ("[train]\npreset = 'clip'", ["--set", "steps"], 2, "write name=value"),
        ("[train]\npreset = 'clip'", [], 1, "there is no mixture 'default'"),
        ("[train", [], 2, "is not TOML"),
    ],
)
def test_what_cannot_run_is_told_before_it_runs(text, arguments, status, message, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text, encoding="utf-8")
    assert main([str(recipe), "--out", str(tmp_path / "run"), *arguments]) == status
    assert message in capsys.readouterr().err
