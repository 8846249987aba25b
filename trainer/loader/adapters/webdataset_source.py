"""For `webdataset`: the loader's order as the source of a pipeline.

wds.DataPipeline(partial(encoded_samples, loader, start, stop), wds.decode("rgb8"), …)
takes the place of shard lists, shuffles and tar readers; it resumes at any step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.loader.loader import Loader


def encoded_samples(
    loader: Loader, start: int = 0, stop: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yields samples undecoded, as `webdataset` passes them on: `__key__`, `__url__`, members.

    Raises:
        ShardError: a shard is missing, truncated or altered.
    """
    ends = [end for end in (stop, loader.steps) if end is not None]
    step = start
    while not ends or step < min(ends):
        for key, shard, members in loader.encoded(step):
            yield {"__key__": key, "__url__": loader.mixture.shards.locate(shard.path)} | members
        step += 1
