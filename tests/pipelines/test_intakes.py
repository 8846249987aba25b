"""Intakes: what comes later leaves what came before as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines import ingest
from pipelines.engine import LocalEngine
from pipelines.jobs import Settings
from pipelines.recipes import load_recipe
from schemas import layout
from schemas.reasons import Reason
from schemas.shards import Manifest
from storage.folders import open_folder
from transforms.decisions.cuts import read_cuts
from transforms.ingest.inputs import SourceError
from transforms.verifying.verify import verify
from transforms.work import Work

Row = dict[str, Any]
RunRoute = Callable[..., Work]
Picture = Callable[..., bytes]
WriteTable = Callable[..., Path]

FIRST, SECOND = "i0", "2026-07-01"

REWRITTEN = ("runs/", "card/", "mix/default/manifest", "mix/default/interleaved/manifest")
"""What a later run writes anew; everything else is immutable."""


@dataclass(frozen=True)
class Release:
    """A work directory of two intakes, and what it held after the first."""

    work: Work
    files_before: dict[str, str]
    files_after: dict[str, str]
    manifest_before: Manifest
    manifest_after: Manifest


def caption(number: int) -> str:
    return f"a red bicycle leans against the wall of house {number}"


@pytest.fixture(scope="module")
def recipe(
    picture: Picture,
    write_table: WriteTable,
    write_recipe: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A recipe over 24 inputs, of which a quantile rule keeps the widest 12: 212 to 223 pixels."""
    folder = tmp_path_factory.mktemp("intakes")
    rows = [
        {"uid": f"first/{n}", "image": picture(n, (200 + n, 200)), "caption": caption(n)}
        for n in range(24)
    ]
    # The poorest of texts: whoever came first is kept all the same.
    rows[20]["caption"] = "red red red red"
    write_table(folder / "in" / "a.parquet", rows)
    rule = {"signal": "image.width", "keep": "top 50%", "reason": "image_too_small"}
    return write_recipe(
        folder,
        [{"name": "web", "type": "table", "path": "in", "id_column": "uid"}],
        select={"rules": [rule]},
        shard={"samples_per_shard": 5},
        mixtures=[{"name": "default", "interleave": True}],
    )


def write_second_inputs(folder: Path, picture: Picture, write_table: WriteTable) -> None:
    """Writes a small image, six wide ones, and copies of a kept and of a dropped input."""
    rows = [
        {"uid": f"second/{width}", "image": picture(width, (width, 200)), "caption": caption(width)}
        for width in (205, 230, 240, 250, 260, 270, 280)
    ]
    for number in (20, 3):
        image = picture(number, (200 + number, 200))
        text = f"a bicycle with two red wheels and a basket, from {number} steps away"
        rows.append({"uid": f"second/copy of {number}", "image": image, "caption": text})
    write_table(folder / "in" / "b.parquet", rows)


@pytest.fixture(scope="module")
def release(
    recipe: Path,
    picture: Picture,
    run_route: RunRoute,
    write_table: WriteTable,
    digests: Callable[..., dict[str, str]],
) -> Release:
    place = recipe.parent / "work"
    before = _read_manifest(run_route(recipe, place))
    files_before = digests(place)
    write_second_inputs(recipe.parent, picture, write_table)
    work = run_route(recipe, place, intake=SECOND)
    return Release(work, files_before, digests(place), before, _read_manifest(work))


def _read_manifest(work: Work) -> Manifest:
    return Manifest.model_validate_json(work.folder.read(layout.manifest("default")))


@pytest.fixture(scope="module")
def decided(release: Release, outcomes: Callable[[Work], list[Row]]) -> dict[str, Row]:
    return {row["locator"]: row for row in outcomes(release.work)}


def test_every_file_of_the_first_intake_is_left_as_it_was(release: Release) -> None:
    immutable = {
        name: digest
        for name, digest in release.files_before.items()
        if not name.startswith(REWRITTEN)
    }
    assert len(immutable) > 20
    assert {name: release.files_after.get(name) for name in immutable} == immutable


def test_shards_are_appended_and_the_manifest_names_its_parent(release: Release) -> None:
    before, after = release.manifest_before, release.manifest_after
    assert (before.samples, after.samples) == (12, 18)
    old, new = before.sources[0].shards, after.sources[0].shards
    assert new[: len(old)] == old
    assert [shard.samples for shard in new[len(old) :]] == [5, 1]
    assert all(SECOND in shard.path for shard in new[len(old) :])
    assert before.parent is None
    assert after.parent == before.merkle_root != after.merkle_root


def test_the_keeper_of_an_earlier_intake_wins(decided: dict[str, Row]) -> None:
    copy, keeper = decided["second/copy of 20"], decided["first/20"]
    assert keeper["decision"] == "kept"
    assert copy["reason"] == Reason.DUPLICATE_EXACT
    assert copy["keeper_id"] == keeper["sample_id"]
    assert copy["cluster_id"]


def test_the_cut_of_the_first_intake_stays(release: Release, decided: dict[str, Row]) -> None:
    ledgers = release.work.ledgers()
    (cut,) = read_cuts(ledgers[FIRST])
    assert cut is not None
    assert (cut.value, cut.rows, cut.kept) == (212, 24, 12)
    assert read_cuts(ledgers[SECOND]) == (cut,)
    kept = {uid for uid, row in decided.items() if row["decision"] == "kept"}
    # Of the second intake alone, half would be five.
    wide = {f"second/{width}" for width in (230, 240, 250, 260, 270, 280)}
    assert kept == {f"first/{number}" for number in range(12, 24)} | wide
    assert decided["second/205"]["reason"] == Reason.IMAGE_TOO_SMALL
    assert decided["second/copy of 3"]["reason"] == Reason.IMAGE_TOO_SMALL


def test_a_release_of_two_intakes_is_verified(release: Release) -> None:
    findings = list(verify(release.work, threads=2))
    assert [str(one) for finding in findings for one in finding.problems] == []
    assert all(finding.passed and not finding.failed for finding in findings), findings


def test_a_run_without_new_inputs_takes_nothing_in_and_says_so(
    release: Release, recipe: Path, run_route: RunRoute, quiet: Any
) -> None:
    run_route(recipe, release.work.folder.uri, intake="2026-07-02", last="ingest", reporter=quiet)
    assert quiet.notes[0] == ("ingest", "no new inputs for intake 2026-07-02")
    assert [intake.name for intake in release.work.intakes()] == [FIRST, SECOND]


@pytest.fixture
def small(
    picture: Picture, write_table: WriteTable, write_recipe: Callable[..., Path], tmp_path: Path
) -> Path:
    """A recipe over one input."""
    row = {"uid": "a", "image": picture(1), "caption": caption(1)}
    write_table(tmp_path / "in" / "a.parquet", [row])
    return write_recipe(tmp_path, [{"name": "web", "type": "table", "path": "in"}])


def test_inputs_that_come_after_the_seal_wait_for_an_intake_of_their_own(
    small: Path, picture: Picture, run_route: RunRoute, write_table: WriteTable, quiet: Any
) -> None:
    run_route(small, small.parent / "work", last="ingest")
    write_second_inputs(small.parent, picture, write_table)
    work = run_route(small, small.parent / "work", last="ingest", reporter=quiet)
    ((_, note), *_) = quiet.notes
    assert note == (
        "1 files have come since intake i0 was sealed and are left out; "
        "take them in with --intake NAME"
    )
    assert len(work.parts(*work.intakes())) == 1


@pytest.mark.parametrize("name", [FIRST, "other"])
def test_two_runs_that_seal_at_once_agree_on_one_seal(
    small: Path, run_route: RunRoute, name: str
) -> None:
    place = small.parent / "work"
    late = Work(open_folder(str(place)), load_recipe(small))
    jobs = ingest.jobs(late, Settings(intake=FIRST))
    look = next(jobs)
    run_route(small, place, last="ingest", intake=name)
    LocalEngine().execute(look.build)
    if name == FIRST:
        assert list(jobs) == []
    else:
        with pytest.raises(SourceError, match="another run sealed the intake other while i0 was"):
            next(jobs)
    assert [intake.name for intake in late.intakes()] == [name]
