from __future__ import annotations

import re

import pytest

from docs import route
from docs.checks import ROOT
from docs.generate import NOTE
from docs.route import Drawn, draw_route
from pipelines.route import ROUTE

COMMITTED = {
    "ingest": "ingest/<source>/<intake>/<part>.v<version>.parquet",
    "measure": "measure/image/<fingerprint>/<source>/<intake>/<part>.v<version>.parquet",
    "count": "count/ngrams/<fingerprint>/<source>/<intake>/<part>.v<version>.parquet",
    "dedupe": "dedupe/exact/<fingerprint>/<source>/<intake>/<part>.v<version>.parquet",
    "select": "select/ledger/<fingerprint>/<source>/<intake>/<part>.v<version>.parquet",
    "mix": "mix/<mixture>/manifest.json",
    "card": "card/report.html",
}


@pytest.fixture(scope="module")
def drawn() -> list[Drawn]:
    return list(draw_route())


@pytest.fixture(scope="module")
def page(drawn: list[Drawn]) -> str:
    return route.page_of(drawn)


def test_the_page_is_what_the_pipelines_are(page: str) -> None:
    written = (ROOT / "docs" / "route.md").read_text(encoding="utf-8")

    assert written == NOTE + page, "run `make docs`"


def test_every_stage_is_drawn_with_its_promise(drawn: list[Drawn], page: str) -> None:
    assert [stage.name for stage, _, _ in drawn] == [stage.name for stage in ROUTE]
    for stage in ROUTE:
        assert f"| `{stage.name}` | {stage.promise} |" in page
        assert f"\n## {stage.name}\n" in page


def test_every_stage_says_what_it_writes(drawn: list[Drawn]) -> None:
    written = {stage.name: names for stage, _, names in drawn}

    for stage, name in COMMITTED.items():
        assert name in written[stage]
    assert any(name.startswith("shards/") and name.endswith(".tar") for name in written["shard"])
    # Names that depend on data stand for themselves nowhere.
    assert not any(re.search(r"[0-9a-f]{16}", name) for names in written.values() for name in names)


def test_measuring_has_no_shuffle_but_the_spreading_of_tasks(drawn: list[Drawn]) -> None:
    graphs = {stage.name: graphs for stage, graphs, _ in drawn}

    for graph in [*graphs["measure"].values(), *graphs["ingest"].values()]:
        shuffles = [step.label.rpartition("/")[2] for step in graph.steps if step.shuffles]
        assert shuffles == ["Spread"]
    assert graphs["card"] == {}


def test_graphs_are_connected_and_end_in_what_they_commit(drawn: list[Drawn]) -> None:
    for _, graphs, _ in drawn:
        for graph in graphs.values():
            starts = {start for start, _, _, _ in graph.edges}
            ends = {stop for _, stop, _, _ in graph.edges}
            assert starts | ends == set(range(len(graph.steps)))
            assert ends - starts == {len(graph.steps) - 1}


def test_quantile_rules_and_pre_mixed_series_are_drawn(page: str) -> None:
    assert "Cuts<br/><i>FindCuts</i>" in page
    assert "Pipeline `interleave <mixture>`" in page
