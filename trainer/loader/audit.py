"""Lists which samples a run consumed, or will consume: the order is a function.

Run as `python -m trainer.loader.audit WORK MIXTURE --batch-size 1024 --steps 100:110`. Writes a
JSON object per row to standard output, with `step`, `row`, `host`, `source`, `epoch`, `shard` and
`key`. Only the manifest and the indexes are read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer.loader.errors import ShardError
from trainer.loader.mixture import open_mixture
from trainer.loader.options import LoaderOptions, Sampling
from trainer.loader.reader import ShardReader
from trainer.loader.sampler import Sampler, host_rows


@dataclass(frozen=True, slots=True)
class Consumed:
    """One row of one step.

    Attributes:
        step: number of the step.
        row: position in the global batch.
        host: host that loads it.
        source: name of the source.
        epoch: how often the source had been read through before.
        shard: path of the tar.
        key: key of the sample.
    """

    step: int
    row: int
    host: int
    source: str
    epoch: int
    shard: str
    key: str


def consumed(sampler: Sampler, start: int, stop: int, hosts: int = 1) -> Iterator[Consumed]:
    """Yields the rows of steps `start` to `stop`, exclusive, or to the end of the run.

    Raises:
        ShardError: an index is missing, or not the one that the manifest names.
    """
    sources = sampler.mixture.manifest.sources
    reader = ShardReader(sampler.mixture, None)
    size = sampler.schedule.batch_size
    owner = [host for host in range(hosts) for _ in range(size)[host_rows(size, host, hosts)]]
    for step in range(start, stop if sampler.steps is None else min(stop, sampler.steps)):
        rows = sampler.rows(step)
        for at in range(size):
            source = sources[rows.source[at]]
            shard = source.shards[rows.shard[at]]
            yield Consumed(
                step=step,
                row=at,
                host=owner[at],
                source=source.name,
                epoch=int(rows.draw[at]) // source.samples,
                shard=shard.path,
                key=reader.index(shard).key(int(rows.row[at])),
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 where the arguments do not fit the mixture."""
    parser = argparse.ArgumentParser("trainer.loader.audit", description=__doc__.partition("\n")[0])
    parser.add_argument("work", help="work directory, a path or gs://…")
    parser.add_argument("mixture", help="name of the mixture")
    parser.add_argument("--steps", required=True, type=_steps, help="A:B, from A up to but not B")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--options", type=Path, help="the loader options that the run stored, JSON")
    how.add_argument("--batch-size", type=int, help="rows of the global batch; all else as default")
    parser.add_argument("--hosts", type=int, help="number of hosts, where not that of the options")
    given = parser.parse_args(arguments)
    try:
        if given.options:
            options = LoaderOptions.model_validate_json(given.options.read_bytes())
        else:
            options = LoaderOptions(sampling=Sampling(batch_size=given.batch_size))
        sampler = Sampler(open_mixture(given.work, given.mixture), options.sampling)
        start, stop = given.steps
        for one in consumed(sampler, start, stop, given.hosts or options.hosts):
            sys.stdout.write(json.dumps(asdict(one)) + "\n")
    except (ValueError, FileNotFoundError, ShardError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _steps(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B with A below B, such as 100:110")
    return int(first), int(last)


if __name__ == "__main__":
    sys.exit(main())
