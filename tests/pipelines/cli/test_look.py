"""The commands that look at a work directory, on a small release with two intakes."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from pipelines.cli import look
from pipelines.route import STAGES
from transforms.looking import slicing
from transforms.work import Work

Outcomes = Callable[[Work], list[dict[str, Any]]]
Invoke = Callable[..., Result]

RULES = [
    {"signal": "image.short_side_px", "keep": "> 40", "reason": "image_too_small"},
    {"signal": "text.boilerplate", "keep": "is empty", "reason": "text_boilerplate"},
    {"signal": "text.unigrams", "keep": "between 2 and 12", "reason": "text_too_short"},
    {"signal": "text.language", "keep": "in [en]", "reason": "text_language"},
    {"signal": "image.bytes", "keep": "top 90%", "reason": "image_low_information"},
    {"keep": "sample 90%", "reason": "not_sampled"},
]
TEXTS = [
    "a photograph of an old stone bridge",
    "two children play with a red ball",
    "ein altes Haus in der kleinen Stadt am Fluss",
    "IMG_1234.JPG",
    "bridge",
    "the quick brown fox jumps over the lazy dog and then runs away into the dark wood",
]


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    """The commands, as `mixwright` registers them."""
    app = typer.Typer()
    for name, command in (
        ("verify", look.verify),
        ("explain", look.explain),
        ("ledger", look.ledger),
        ("slice", look.slice_),
        ("status", look.status),
    ):
        app.command(name)(command)
    return app


@pytest.fixture(scope="module")
def invoke(app: typer.Typer) -> Invoke:
    """Returns a function that runs a command."""

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(one) for one in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture(scope="module")
def release(
    tmp_path_factory: pytest.TempPathFactory,
    run_route: Callable[..., Work],
    write_table: Callable[..., Path],
    write_recipe: Callable[..., Path],
    picture: Callable[..., bytes],
    outcomes: Outcomes,
) -> Work:
    """A finished release of two intakes, with one of everything that can happen. Never write."""
    root = tmp_path_factory.mktemp("look")
    rows = [
        {"uid": f"u{n}", "image": picture(n), "caption": f"{TEXTS[n % len(TEXTS)]} {n}"}
        for n in range(40)
    ]
    rows += [
        {"uid": "copy", "image": picture(0), "caption": "an old bridge over a calm river"},
        {"uid": "wide", "image": picture(1, (480, 420)), "caption": "two children and a ball"},
        {"uid": "small", "image": picture(50, (30, 90)), "caption": "a small picture of a cat"},
        {"uid": "broken", "image": b"GIF89a nothing", "caption": "a broken picture of a cat"},
        {"uid": "mute", "image": picture(51), "caption": " "},
        {"uid": "u1", "image": picture(1), "caption": f"{TEXTS[1]} 1"},
    ]
    write_table(root / "one.parquet", rows)
    recipe = write_recipe(
        root,
        [{"name": "web", "type": "table", "path": ".", "files": "*.parquet", "id_column": "uid"}],
        ingest={"part_rows": 12},
        select={"rules": RULES},
        shard={"samples_per_shard": 6},
    )
    first = run_route(recipe, root / "work")
    kept = next(row["text"] for row in outcomes(first) if row["decision"] == "kept")
    number = int(kept.rpartition(" ")[2])
    later = [
        {"uid": "again", "image": picture(number), "caption": "a picture that came again later"},
        {"uid": "new", "image": picture(60), "caption": "a photograph of a new bridge"},
    ]
    write_table(root / "two.parquet", later)
    return run_route(recipe, root / "work", intake="i1")


@pytest.fixture
def work(release: Work, tmp_path: Path) -> Path:
    """A copy of the release, to change."""
    return Path(shutil.copytree(release.folder.uri, tmp_path / "work"))


def read_json(result: Result) -> dict[str, Any]:
    return dict(json.loads(result.stdout))


def contents(work: Path) -> dict[str, str]:
    return {
        str(path.relative_to(work)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(work.rglob("*"))
        if path.is_file()
    }


def test_nothing_is_imported_that_costs_seconds() -> None:
    code = "import pipelines.cli.look, sys; sys.exit('apache_beam' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", ["verify", "ledger", "status", "slice"])
def test_folder_that_is_no_work_directory_exits_2(
    invoke: Invoke, tmp_path: Path, command: str
) -> None:
    result = invoke(command, tmp_path)
    assert result.exit_code == 2
    assert "is not a work directory" in result.stderr
    assert "mixwright run" in result.stderr
    assert invoke(command, "http://example.org/work").exit_code == 2


def test_damaged_lock_exits_2(invoke: Invoke, work: Path) -> None:
    (work / "recipe.lock.toml").write_text("name = ")
    result = invoke("status", work)
    assert result.exit_code == 2
    assert "is not TOML" in result.stderr


class TestVerify:
    def test_whole_release_exits_0(self, invoke: Invoke, release: Work) -> None:
        result = invoke("verify", release.folder.uri)
        assert result.exit_code == 0
        assert "is as it should be" in result.stdout
        assert "\x1b" not in result.stdout, "piped output has no colours"

    def test_json_has_every_check(self, invoke: Invoke, release: Work) -> None:
        found = read_json(invoke("verify", release.folder.uri, "--json"))
        assert found["ok"] is True
        assert [one["check"] for one in found["checks"]][:3] == ["rows", "columns", "media"]
        assert all(one["failed"] == 0 and one["passed"] > 0 for one in found["checks"])

    def test_damage_exits_1_and_names_file_and_remedy(self, invoke: Invoke, work: Path) -> None:
        tar = sorted(work.glob("shards/web/i0/*/000000.tar"))[0]
        data = bytearray(tar.read_bytes())
        data[600] ^= 1
        tar.write_bytes(data)
        result = invoke("verify", work)
        assert result.exit_code == 1
        assert str(tar) in result.stdout
        assert "Remedy:" in result.stdout
        found = read_json(invoke("verify", work, "--json"))
        problem = next(one for one in found["checks"] if one["check"] == "shards")["problems"][0]
        assert set(problem) == {"file", "found", "expected", "remedy"}
        assert found["ok"] is False


class TestExplain:
    def test_kept_sample_is_found_in_its_shard(
        self, invoke: Invoke, release: Work, outcomes: Outcomes
    ) -> None:
        kept = next(row for row in outcomes(release) if row["decision"] == "kept")
        stories = read_json(invoke("explain", release.folder.uri, kept["sample_id"], "--json"))
        (story,) = stories["stories"]
        members = {name.partition(".")[2]: rest for name, *rest in story["shard"]["members"]}
        offset, length = members["png"]
        data = Path(release.folder.uri, story["shard"]["tar"]).read_bytes()
        image = data[offset : offset + length]
        assert hashlib.sha256(image).hexdigest() == story["ingest"]["media"][0]["media_id"]
        assert {rule["outcome"] for rule in story["rules"]} <= {"pass", "not applicable"}
        assert story["remedy"]["text"] == ""

    def test_text_tells_rule_value_and_threshold(self, invoke: Invoke, release: Work) -> None:
        result = invoke("explain", release.folder.uri, "small")
        assert result.exit_code == 0
        said = "dropped by image_too_small (select): image.short_side_px is 30, must be > 40"
        assert said in result.stdout
        assert "a small picture of a cat" in result.stdout
        assert "--set 'image_too_small=>= 30'" in result.stdout

    def test_every_rule_is_shown_even_after_the_first_that_drops(
        self, invoke: Invoke, release: Work
    ) -> None:
        found = read_json(invoke("explain", release.folder.uri, "small", "--json"))
        rules = {rule["reason"]: rule for rule in found["stories"][0]["rules"]}
        assert list(rules) == [rule["reason"] for rule in RULES]
        assert rules["image_too_small"]["outcome"] == "drop"
        assert rules["text_language"] | {"value": "en", "outcome": "pass"} == rules["text_language"]
        assert rules["image_low_information"]["cut"] > 0

    def test_id_prefix_locator_and_end_of_locator_mean_the_same(
        self, invoke: Invoke, release: Work, outcomes: Outcomes
    ) -> None:
        row = next(row for row in outcomes(release) if row["locator"].endswith("small"))
        whole = row["sample_id"]
        for query in (whole, whole[:6], row["locator"], row["locator"][-7:]):
            found = read_json(invoke("explain", release.folder.uri, query, "--json"))
            assert [one["ingest"]["sample_id"] for one in found["stories"]] == [whole]

    def test_repeated_rows_are_all_told(
        self, invoke: Invoke, release: Work, outcomes: Outcomes
    ) -> None:
        counts = Counter(row["sample_id"] for row in outcomes(release))
        (repeated,) = [sample_id for sample_id, rows in counts.items() if rows == 2]
        found = read_json(invoke("explain", release.folder.uri, repeated, "--json"))
        decisions = [one["decision"]["reason"] for one in found["stories"]]
        assert sorted(map(str, decisions)).count("duplicate_row") == 1
        assert invoke("explain", release.folder.uri, repeated).stdout.count("decision") == 2

    def test_ambiguous_query_lists_matches(self, invoke: Invoke, release: Work) -> None:
        result = invoke("explain", release.folder.uri, "1")
        assert result.exit_code == 0
        assert "rows match; name one of them by its id" in result.stdout

    def test_duplicate_names_keeper_and_members(self, invoke: Invoke, release: Work) -> None:
        (story,) = read_json(invoke("explain", release.folder.uri, "again", "--json"))["stories"]
        assert story["decision"]["reason"] == "duplicate_exact"
        keeper = story["decision"]["keeper_id"]
        assert [one["sample_id"] for one in story["cluster"]] == [keeper]
        assert story["cluster"][0]["decision"] == "kept"
        assert "an earlier intake" in story["remedy"]["text"]
        assert story["remedy"]["settings"] == []

    def test_unreadable_image_tells_what_the_decoder_said(
        self, invoke: Invoke, release: Work
    ) -> None:
        result = invoke("explain", release.folder.uri, "broken")
        assert "dropped by media_unreadable (measure): " in result.stdout
        assert "not applicable" in result.stdout

    @pytest.mark.parametrize("query", ["0" * 32, "abc", "no-such-file.jpg"])
    def test_unknown_sample_exits_1_with_a_remedy(
        self, invoke: Invoke, release: Work, query: str
    ) -> None:
        result = invoke("explain", release.folder.uri, query)
        assert result.exit_code == 1
        assert query in result.stderr
        assert "mixwright ledger" in result.stderr

    def test_control_characters_of_texts_never_reach_the_terminal(self) -> None:
        from pipelines.cli.views import safe  # noqa: PLC0415 - its only use

        assert safe("a\x1b[31mb\nc") == "a [31mb c"
        assert len(safe("x" * 5000)) == 300

    def test_remedies_keep_what_they_promise(
        self, invoke: Invoke, release: Work, outcomes: Outcomes
    ) -> None:
        reasons = {"kept"} | {rule["reason"] for rule in RULES} | {"duplicate_exact"}
        rows = [
            row for row in outcomes(release) if row["reason"] in reasons and row["intake"] == "i0"
        ]
        tried: Counter[str] = Counter()
        for row in rows:
            found = read_json(invoke("explain", release.folder.uri, row["sample_id"], "--json"))
            story = next(
                one for one in found["stories"] if one["decision"]["reason"] == row["reason"]
            )
            if not story["remedy"]["settings"]:
                assert row["reason"] in ("text_boilerplate", "duplicate_exact")
                continue
            command = shlex.split(story["remedy"]["command"])
            assert command[:2] == ["mixwright", "slice"]
            after = Work(release.folder, look._changed_recipe(release, story["remedy"]["settings"]))
            decided = slicing.decide_outcomes(after)
            file = next(one for one in decided if one.part.stem == row["part"])
            outcome = int(decided[file][row["row"]])
            kept_or_copy = ("kept", "duplicate_exact") if story["cluster"] else ("kept",)
            assert slicing.OUTCOMES[outcome] in kept_or_copy
            tried[row["reason"]] += 1
        assert {"image_too_small", "text_too_short", "text_language", "not_sampled"} <= set(tried)
        assert "duplicate_exact" in tried


class TestLedger:
    def test_reasons_balance_with_inputs(
        self, invoke: Invoke, release: Work, outcomes: Outcomes
    ) -> None:
        found = read_json(invoke("ledger", release.folder.uri, "--json"))
        assert found["inputs"] == len(outcomes(release)) == 48
        assert found["kept"] + sum(row["rows"] for row in found["rows"]) == found["inputs"]
        counted = Counter(row["reason"] for row in outcomes(release) if row["reason"])
        assert {row["reason"]: row["rows"] for row in found["rows"]} == counted
        assert found["events"] == 0

    @pytest.mark.parametrize("by", ["source", "language"])
    def test_groups_balance_with_inputs(self, invoke: Invoke, release: Work, by: str) -> None:
        found = read_json(invoke("ledger", release.folder.uri, "--by", by, "--json"))
        assert sum(row["kept"] + row["dropped"] for row in found["rows"]) == found["inputs"]
        assert sum(row["kept"] for row in found["rows"]) == found["kept"]
        names = {row[by] for row in found["rows"]}
        assert names >= ({"web"} if by == "source" else {"en", "de", ""})

    def test_text_has_reason_share_and_rule(self, invoke: Invoke, release: Work) -> None:
        lines = invoke("ledger", release.folder.uri).stdout.splitlines()
        line = next(one for one in lines if one.startswith("text_language"))
        assert line.rstrip().endswith("text.language in [en]")
        assert next(one for one in lines if one.startswith("inputs")).split()[1:] == [
            "48",
            "100.0%",
        ]

    def test_unknown_grouping_exits_2(self, invoke: Invoke, release: Work) -> None:
        assert invoke("ledger", release.folder.uri, "--by", "colour").exit_code == 2


class TestSlice:
    SETTINGS = ("image_too_small=> 20", "text_too_short=>= 3", "image.bytes=top 50%")

    def options(self) -> list[str]:
        return [part for setting in self.SETTINGS for part in ("--set", setting)]

    def test_without_changes_it_repeats_the_ledger(self, invoke: Invoke, release: Work) -> None:
        found = read_json(invoke("slice", release.folder.uri, "--json"))
        assert found["before"] == found["after"]
        assert found["changes"] == []

    def test_it_changes_nothing(self, invoke: Invoke, work: Path) -> None:
        before = contents(work)
        assert invoke("slice", work, *self.options()).exit_code == 0
        assert contents(work) == before

    def test_it_foretells_what_select_does(
        self, invoke: Invoke, work: Path, run_route: Callable[..., Work], outcomes: Outcomes
    ) -> None:
        told = read_json(invoke("slice", work, *self.options(), "--apply", "--json"))
        assert told["applied"] is True
        lock = work / "recipe.lock.toml"
        assert told["next"] == f"mixwright run {lock} --work {work}"
        release = run_route(lock, work)
        ledger = read_json(invoke("ledger", work, "--json"))
        rows = {row["reason"]: row["rows"] for row in ledger["rows"]}
        assert told["after"] == {"web": {"kept": ledger["kept"], **rows}}
        assert told["after"] != told["before"]
        assert invoke("verify", work).exit_code == 0
        decided = {(row["part"], row["row"]): row["reason"] or "kept" for row in outcomes(release)}
        again = slicing.decide_outcomes(release)
        for file, codes in again.items():
            for row, code in enumerate(codes):
                assert decided[file.part.stem, row] == slicing.OUTCOMES[code]

    def test_changes_name_examples(self, invoke: Invoke, release: Work) -> None:
        found = read_json(
            invoke("slice", release.folder.uri, "--set", "text_language=in [de]", "--json")
        )
        change = next(one for one in found["changes"] if one["before"] == "kept")
        assert change["after"] == "text_language"
        assert 1 <= len(change["examples"]) <= 3
        for sample_id in change["examples"]:
            story = read_json(invoke("explain", release.folder.uri, sample_id, "--json"))
            assert story["stories"][0]["decision"]["decision"] == "kept"

    def test_text_shows_before_and_after(self, invoke: Invoke, release: Work) -> None:
        result = invoke("slice", release.folder.uri, *self.options())
        assert "kept before" in result.stdout
        assert "nothing was written" in result.stdout

    def test_preferences_can_change(self, invoke: Invoke, release: Work) -> None:
        prefer = "dedupe.prefer=[]"
        assert invoke("slice", release.folder.uri, "--set", prefer).exit_code == 0

    @pytest.mark.parametrize(
        "setting",
        ["measure.max_pixels=5", "count.min_ngram_count=2", "dedupe.unit=pair", "name=other"],
    )
    def test_what_needs_measuring_is_refused(
        self, invoke: Invoke, release: Work, setting: str
    ) -> None:
        result = invoke("slice", release.folder.uri, "--set", setting)
        assert result.exit_code == 2
        assert setting.partition("=")[0] in result.stderr
        assert "mixwright run RECIPE --work DIR" in result.stderr

    @pytest.mark.parametrize("setting", ["no_such_reason=> 3", "text_too_short=many", "seed"])
    def test_wrong_settings_exit_2(self, invoke: Invoke, release: Work, setting: str) -> None:
        assert invoke("slice", release.folder.uri, "--set", setting).exit_code == 2

    def test_rules_that_keep_nothing_warn_that_mix_would_stop(
        self, invoke: Invoke, release: Work
    ) -> None:
        result = invoke("slice", release.folder.uri, "--set", "image_too_small=> 5000")
        assert result.exit_code == 0
        assert "`mix` would stop" in result.stderr

    def test_missing_columns_exit_1_with_the_command(self, invoke: Invoke, work: Path) -> None:
        for part in work.glob("measure/text/*/web/i0/part-*.parquet"):
            part.unlink()
        result = invoke("slice", work, "--set", "text_too_short=>= 3")
        assert result.exit_code == 1
        assert "measure/text" in result.stderr
        assert "mixwright run" in result.stderr


class TestStatus:
    def states(self, invoke: Invoke, work: object) -> dict[str, str]:
        found = read_json(invoke("status", work, "--json"))
        return {one["stage"]: one["state"] for one in found["stages"]}

    def test_finished_release(self, invoke: Invoke, release: Work) -> None:
        found = read_json(invoke("status", release.folder.uri, "--json"))
        assert [one["stage"] for one in found["stages"]] == list(STAGES)
        assert {one["state"] for one in found["stages"]} == {"done"}
        assert found["next"] == f"mixwright verify {release.folder.uri}"
        assert found["intakes"] == ["i0", "i1"]
        select = next(one for one in found["stages"] if one["stage"] == "select")
        assert [(one["done"], one["total"]) for one in select["progress"]] == [(4, 4), (1, 1)]

    def test_text_lists_stages_and_the_next_command(self, invoke: Invoke, release: Work) -> None:
        result = invoke("status", release.folder.uri)
        assert result.exit_code == 0
        assert "measure/image" in result.stdout
        assert f"next  mixwright verify {release.folder.uri}" in result.stdout

    def test_changed_recipe_makes_stages_stale(self, invoke: Invoke, work: Path) -> None:
        invoke("slice", work, "--set", "text_too_short=>= 3", "--apply")
        states = self.states(invoke, work)
        assert {states[name] for name in ("ingest", "measure", "count", "dedupe")} == {"done"}
        assert {states[name] for name in ("select", "shard", "mix", "card")} == {"stale"}
        result = invoke("status", work)
        assert f"next  mixwright run {work}/recipe.lock.toml --work {work}" in result.stdout

    def test_lost_part_makes_a_stage_partial(self, invoke: Invoke, work: Path) -> None:
        sorted(work.glob("measure/text/*/web/i0/part-*.parquet"))[0].unlink()
        assert self.states(invoke, work)["measure"] == "partial"

    def test_nothing_has_been_run(self, invoke: Invoke, release: Work, tmp_path: Path) -> None:
        lock = Path(release.folder.uri, "recipe.lock.toml")
        shutil.copy(lock, tmp_path)
        assert set(self.states(invoke, tmp_path).values()) == {"not run"}
        result = invoke("ledger", tmp_path)
        assert result.exit_code == 1
        assert "mixwright run" in result.stderr


def test_index_members_are_those_that_explain_tells(
    invoke: Invoke, release: Work, outcomes: Outcomes
) -> None:
    kept = [row["sample_id"] for row in outcomes(release) if row["decision"] == "kept"]
    root = Path(release.folder.uri)
    for sample_id in kept[:3]:
        (story,) = read_json(invoke("explain", root, sample_id, "--json"))["stories"]
        index = pq.read_table(root / story["shard"]["tar"].replace(".tar", ".idx.parquet"))
        rows = [row for row in index.to_pylist() if row["key"] == sample_id]
        told = [tuple(member) for member in story["shard"]["members"]]
        assert told == [(row["member"], row["offset"], row["length"]) for row in rows]
