"""For TensorFlow: batches as a `tf.data.Dataset`, and samples as TFRecord files."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from trainer.loader.batch import to_dict
from trainer.loader.loader import Loader


def as_dataset(loader: Loader, start: int = 0, stop: int | None = None) -> Any:
    """Returns a `tf.data.Dataset` whose elements are batches, flat dicts of tensors.

    Raises:
        ModuleNotFoundError: TensorFlow is not installed.
        IndexError: the run does not reach `start`, whose batch gives the shapes.
    """
    tf = importlib.import_module("tensorflow")

    def batches() -> Iterator[dict[str, Any]]:
        return map(to_dict, loader.iterate(start, stop))

    signature = {
        name: tf.TensorSpec(tf.convert_to_tensor(value).shape, tf.convert_to_tensor(value).dtype)
        for name, value in to_dict(loader.batch(start)).items()
    }
    return tf.data.Dataset.from_generator(batches, output_signature=signature)


def write_tfrecord(loader: Loader, path: str, start: int, stop: int) -> int:
    """Writes the samples of steps `start` to `stop`, exclusive, in their order, undecoded.

    A record is a `tf.train.Example` of bytes features: `key`, and each member by its extension.

    Args:
        loader: whose samples.
        path: file to write, wherever TensorFlow can.
        start: first step.
        stop: step after the last.

    Returns:
        The number of records.

    Raises:
        ModuleNotFoundError: TensorFlow is not installed.
    """
    tf = importlib.import_module("tensorflow")
    count = 0
    with tf.io.TFRecordWriter(path) as writer:
        for step in range(start, stop):
            for key, _, members in loader.encoded(step):
                values = {"key": key.encode()} | members
                feature = {
                    name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                    for name, value in values.items()
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())
                count += 1
    return count
