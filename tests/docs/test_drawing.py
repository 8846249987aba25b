from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.pvalue import AsSingleton, PCollection

from docs.drawing import mermaid, read_graph


class Inner(beam.PTransform[PCollection[int], PCollection[int]]):
    def expand(self, numbers: PCollection[int]) -> PCollection[int]:
        keyed = numbers | "Key" >> beam.Map(_keyed)
        return keyed | "Meet" >> beam.GroupByKey() | "First" >> beam.Map(_first)


class Outer(beam.PTransform[PCollection[int], PCollection[int]]):
    def expand(self, numbers: PCollection[int]) -> PCollection[int]:
        total = numbers | "Total" >> beam.CombineGlobally(sum)
        return numbers | "Inner" >> Inner() | "Add" >> beam.Map(_add, AsSingleton(total))


def _keyed(number: int) -> tuple[str, int]:
    return str(number), number


def _first(group: tuple[str, list[int]]) -> int:
    return next(iter(group[1]))


def _add(number: int, total: int) -> int:
    return number + total


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (Inner, Outer):
        monkeypatch.setattr(one, "__module__", "transforms.example")


def test_the_steps_of_a_stage_are_drawn_and_those_within_them_are_not() -> None:
    pipeline = beam.Pipeline()
    pipeline | "Numbers" >> beam.Create([1, 2]) | "Stage" >> Outer()

    graph = read_graph(pipeline)

    assert [(step.label, step.kind, step.shuffles) for step in graph.steps] == [
        ("Numbers", "", False),
        ("Stage/Total", "", True),
        ("Stage/Inner", "Inner", True),
        ("Stage/Add", "", False),
    ]
    assert graph.edges == [
        (0, 1, "", False),
        (0, 2, "", False),
        (2, 3, "", False),
        (1, 3, "", True),
    ]


def test_mermaid_shows_shuffles_and_side_inputs() -> None:
    pipeline = beam.Pipeline()
    pipeline | "Numbers" >> beam.Create([1, 2]) | "Stage" >> Outer()

    lines = mermaid(read_graph(pipeline))

    assert lines[:2] == ["```mermaid", "flowchart LR"]
    assert '  s1{{"Total"}}' in lines
    assert '  s2{{"Inner<br/><i>Inner</i>"}}' in lines
    assert '  s3["Add"]' in lines
    assert "  s1 -.-> s3" in lines


def test_tagged_outputs_name_their_edges() -> None:
    pipeline = beam.Pipeline()
    split = (
        pipeline
        | "Numbers" >> beam.Create([1])
        | "Split" >> beam.ParDo(beam.DoFn()).with_outputs("odd", "even")
    )
    split.odd | "Odd" >> beam.Map(_keyed)

    assert (1, 2, "odd", False) in read_graph(pipeline).edges
