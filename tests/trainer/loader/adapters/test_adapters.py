from __future__ import annotations

import io
import multiprocessing
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset as wds
from numpy.testing import assert_array_equal

from trainer.loader.adapters.tf_data import as_dataset, write_tfrecord
from trainer.loader.adapters.torch_data import StepDataset, as_iterable
from trainer.loader.adapters.webdataset_source import encoded_samples
from trainer.loader.loader import Loader
from trainer.loader.mixture import open_mixture
from trainer.loader.options import ImageOptions, LoaderOptions, Sampling

OPTIONS = LoaderOptions(
    sampling=Sampling(batch_size=4, max_epochs=1), image=ImageOptions(size=16), threads=2
)


@pytest.fixture
def loader(build: Callable[..., Any]) -> Any:
    work = build({"a": [8, 8]})
    with Loader(open_mixture(str(work.root), "m"), OPTIONS) as opened:
        yield opened


def test_steps_are_items_and_survive_pickling(loader: Loader) -> None:
    steps = StepDataset(loader.mixture, OPTIONS)
    first = steps[2]
    again = pickle.loads(pickle.dumps(steps))  # noqa: S301 - our own
    assert len(again) == 4
    assert first["keys"] == again[2]["keys"] == loader.batch(2).keys
    assert first["query_id"].dtype == np.int64
    assert_array_equal(first["query_id"].view(np.uint64), loader.batch(2).query_id)
    assert [item["keys"] for item in steps.iterate(1, None, 2)] == [
        steps[1]["keys"],
        steps[3]["keys"],
    ]


# JAX, which other tests of the same process import, warns of any fork; the child never uses it.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_forked_worker_gets_a_loader_of_its_own(loader: Loader) -> None:
    steps = StepDataset(loader.mixture, OPTIONS)
    expected = steps[1]["keys"]
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    # Forked with the parent's loader, whose threads are not.
    child = context.Process(target=lambda: send.send(steps[1]["keys"]))
    child.start()
    assert receive.poll(30)
    assert receive.recv() == expected
    child.join()


def test_torch_loads_the_steps_in_order_with_any_workers(loader: Loader) -> None:
    data = pytest.importorskip("torch.utils.data")
    steps = StepDataset(loader.mixture, OPTIONS)
    expected = [loader.batch(step).keys for step in range(4)]
    for workers in (0, 2):
        mapped = data.DataLoader(steps, batch_size=None, sampler=range(4), num_workers=workers)
        assert [batch["keys"] for batch in mapped] == expected
        turns = data.DataLoader(as_iterable(steps, 1), batch_size=None, num_workers=workers)
        batches = list(turns)
        assert [batch["keys"] for batch in batches] == expected[1:]
        assert tuple(batches[0]["image"].shape) == (4, 16, 16, 3)


def test_tensorflow_reads_batches_and_records(loader: Loader, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    batches = list(as_dataset(loader, 1))
    assert len(batches) == 3
    assert batches[0]["image"].shape == (4, 16, 16, 3)
    assert [key.decode() for key in batches[0]["keys"].numpy()] == loader.batch(1).keys
    path = str(tmp_path / "samples.tfrecord")
    assert write_tfrecord(loader, path, 0, 4) == 16
    feature = {name: tf.io.FixedLenFeature([], tf.string) for name in ("key", "jpg", "txt")}
    records = [
        tf.io.parse_single_example(record, feature) for record in tf.data.TFRecordDataset(path)
    ]
    expected = [key for step in range(4) for key in loader.batch(step).keys]
    assert [record["key"].numpy().decode() for record in records] == expected
    assert tf.io.decode_jpeg(records[0]["jpg"]).shape == (32, 40, 3)


def test_webdataset_takes_the_order(loader: Loader) -> None:
    source = partial(encoded_samples, loader, 1)
    samples = list(wds.DataPipeline(source, wds.decode("rgb8")))
    assert [sample["__key__"] for sample in samples] == [
        key for step in range(1, 4) for key in loader.batch(step).keys
    ]
    first = samples[0]
    assert first["jpg"].shape == (32, 40, 3)
    assert first["txt"] == first["json"]["texts"][0]["text"]
    assert first["__url__"].endswith(".tar")


def test_our_tars_are_read_by_webdataset_itself(loader: Loader, build: Callable[..., Any]) -> None:
    work = build({"a": [3]}, name="other")
    samples = list(wds.WebDataset(str(work.tar()), shardshuffle=False))
    assert len(samples) == 3
    assert io.BytesIO(samples[0]["jpg"]).read(2) == b"\xff\xd8"
