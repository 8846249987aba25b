"""Draws a Beam pipeline as a Mermaid graph, from the pipeline itself.

The transforms that a stage applies are opened once, so that their steps are seen; a step that is a
transform of ours with steps of its own stays one box. What Beam puts inside its own transforms is
not drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from apache_beam import Pipeline
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.pvalue import PValue
from apache_beam.transforms.core import Create, GroupByKey

_OURS = ("pipelines.", "transforms.")
_DEPTH = 2
"""Levels of our own transforms that are drawn: those of the stage, and their steps."""


@dataclass
class Step:
    """A box of the graph.

    Attributes:
        label: full name of the step in the pipeline.
        kind: class of the transform, where it is one of ours.
        shuffles: rows cross the network in it.
    """

    label: str
    kind: str
    shuffles: bool = False


@dataclass
class Graph:
    """A pipeline for drawing.

    Attributes:
        steps: in the order in which they are applied.
        edges: (producer, consumer, output's tag, whether it is a side input), by position in
            `steps`.
    """

    steps: list[Step] = field(default_factory=list)
    edges: list[tuple[int, int, str, bool]] = field(default_factory=list)


def read_graph(pipeline: Pipeline) -> Graph:
    """Returns the graph of a pipeline that has been built."""
    reader = _Reader()
    pipeline.visit(reader)
    return reader.graph


def mermaid(graph: Graph) -> list[str]:
    """Returns a fenced Mermaid graph, as lines: hexagons shuffle, dotted arrows are side inputs."""
    lines = ["```mermaid", "flowchart LR"]
    for number, step in enumerate(graph.steps):
        name = step.label.rpartition("/")[2]
        text = f"{name}<br/><i>{step.kind}</i>" if step.kind else name
        left, right = ("{{", "}}") if step.shuffles else ("[[", "]]") if step.kind else ("[", "]")
        lines.append(f'  s{number}{left}"{text}"{right}')
    for start, stop, tag, side in graph.edges:
        arrow = "-.->" if side else "-->"
        label = f"|{tag}|" if tag else ""
        lines.append(f"  s{start} {arrow}{label} s{stop}")
    return [*lines, "```", ""]


class _Reader(PipelineVisitor):
    def __init__(self) -> None:
        self.graph = Graph()
        self._box_of: dict[AppliedPTransform, int] = {}
        self._beginnings: set[int] = set()

    def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
        self._place(transform_node)

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        self._place(transform_node)
        box = self._box_of[transform_node]
        if isinstance(transform_node.transform, GroupByKey) and box not in self._beginnings:
            self.graph.steps[box].shuffles = True
        for value, side in _inputs(transform_node):
            producer = value.producer
            if producer is None:
                continue  # the beginning of the pipeline
            start = self._box_of[producer]
            edge = (start, box, self._tag(producer, value), side)
            if start != box and edge not in self.graph.edges:
                self.graph.edges.append(edge)

    def _place(self, node: AppliedPTransform) -> None:
        """Gives a transform the box of what it lies in, or one of its own, or opens it."""
        parent = node.parent
        if parent is not None and parent in self._box_of:
            self._box_of[node] = self._box_of[parent]
        elif not _is_opened(node):
            kind = type(node.transform).__name__ if _is_ours(node) else ""
            if isinstance(node.transform, Create):
                # Beam spreads what a pipeline begins with: no shuffle of ours.
                self._beginnings.add(len(self.graph.steps))
            self._box_of[node] = len(self.graph.steps)
            self.graph.steps.append(Step(node.full_label, kind))

    def _tag(self, producer: AppliedPTransform, value: PValue) -> str:
        tags = (tag for tag, output in producer.outputs.items() if output is value)
        return next((tag for tag in tags if isinstance(tag, str)), "")


def _inputs(node: AppliedPTransform) -> Iterator[tuple[PValue, bool]]:
    yield from ((value, False) for value in node.inputs)
    yield from ((side.pvalue, True) for side in node.side_inputs)


def _is_ours(node: AppliedPTransform) -> bool:
    return type(node.transform).__module__.startswith(_OURS)


def _is_opened(node: AppliedPTransform) -> bool:
    """Returns whether the steps of a transform are drawn in its place."""
    depth = node.full_label.count("/") + 1
    return not node.full_label or (_is_ours(node) and bool(node.parts) and depth < _DEPTH)
