"""No collection is both the main input of a step and a side input of another.

Beam 2.77's local runner may take a reader of such a collection for its producer, run steps before
their side inputs are there, and give a combiner's default in place of its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2

from pipelines.engine import Build, LocalEngine
from pipelines.jobs import Job, Settings
from pipelines.recipes import load_recipe, lock_bytes
from pipelines.route import between
from pipelines.run import run_stages
from schemas import layout
from storage.folders import open_folder
from transforms.work import Work

RULES = [
    {"signal": "image.bytes", "keep": "top 90%", "reason": "image_low_information"},
    {"signal": "text.unigrams", "keep": "top 90%", "reason": "text_too_short"},
]


def read_both_ways(build: Build) -> list[str]:
    """Returns the collections of a pipeline that are main and side inputs at once."""
    pipeline = beam.Pipeline()
    build(pipeline)
    components = pipeline.to_runner_api().components
    main: set[str] = set()
    side: set[str] = set()
    for transform in components.transforms.values():
        if transform.subtransforms:
            continue
        tags: set[str] = set()
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
            tags = set(payload.side_inputs)
        for tag, collection in transform.inputs.items():
            (side if tag in tags else main).add(collection)
    return sorted(components.pcollections[one].unique_name for one in main & side)


@dataclass
class CheckedEngine:
    """Looks at every pipeline before it runs it."""

    found: list[str] = field(default_factory=list)
    pipelines: int = 0

    def execute(self, build: Build) -> None:
        self.found += read_both_ways(build)
        self.pipelines += 1
        LocalEngine().execute(build)


class Silent:
    """A reporter that says nothing."""

    def note(self, stage: str, text: str) -> None:
        pass

    @contextmanager
    def watch(self, stage: str, job: Job) -> Iterator[None]:
        yield

    def done(self, name: str, rows: int, seconds: float) -> None:
        pass


def test_check_sees_such_a_collection() -> None:
    def build(pipeline: beam.Pipeline) -> None:
        state = pipeline | "State" >> beam.Create([0])
        other = pipeline | "Other" >> beam.Create([1])
        state | "Main" >> beam.Map(print)
        other | "Side" >> beam.Map(lambda one, two: None, beam.pvalue.AsSingleton(state))

    (found,) = read_both_ways(build)
    assert "State" in found


def test_no_stage_has_such_a_collection(
    tmp_path: Path,
    picture: Callable[..., bytes],
    write_table: Callable[..., Path],
    write_recipe: Callable[..., Path],
) -> None:
    rows = [
        {"uid": f"u{n}", "image": picture(n), "caption": f"a picture of number {n}"}
        for n in range(8)
    ]
    write_table(tmp_path / "rows.parquet", rows)
    source = {"name": "web", "type": "table", "path": ".", "files": "*.parquet"}
    recipe = load_recipe(
        write_recipe(
            tmp_path,
            [source | {"id_column": "uid"}],
            ingest={"part_rows": 3},
            select={"rules": RULES},
            mixtures=[{"name": "default", "interleave": True}],
        )
    )
    folder = open_folder(str(tmp_path / "work"))
    folder.replace(layout.LOCK, lock_bytes(recipe))
    engine = CheckedEngine()
    run_stages(Work(folder, recipe), between("", ""), engine, Settings(threads=1), Silent())  # type: ignore[arg-type]
    assert engine.pipelines > 7
    assert engine.found == []
