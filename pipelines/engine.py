"""Engines: where a built pipeline runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

Build = Callable[[beam.Pipeline], None]


@dataclass(frozen=True)
class LocalEngine:
    """Runs pipelines in this process; threads decode inside a part.

    Beam's `DirectRunner` may hand a pipeline to Prism, a binary that it downloads; the runner that
    it falls back to is named here instead.

    Attributes:
        options: Beam options, passed on as they are.
    """

    options: tuple[str, ...] = ()

    def execute(self, build: Build) -> None:
        """Builds a pipeline, runs it, and waits; what goes wrong in a worker is raised."""
        with beam.Pipeline(
            runner=FnApiRunner(), options=PipelineOptions(list(self.options))
        ) as pipeline:
            build(pipeline)
