"""The commands that look at a work directory: nothing changes, but for `slice --apply`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, NoReturn

import orjson
import typer
from rich.console import Console

from pipelines.cards.funnel import read_funnel, total_dropped
from pipelines.cli import views
from pipelines.cli.failures import FAILED, explained, say
from pipelines.cli.options import AsJson, Settings, Threads, WorkUri
from pipelines.recipes import RecipeError, lock_bytes, open_release, resolve
from schemas import layout
from schemas.reasons import REASONS, Reason
from schemas.recipe import Recipe
from transforms.decisions.ledger import DROPPED, KEPT
from transforms.looking.languages import count_languages
from transforms.looking.remedies import find_remedy
from transforms.looking.rows import RowPlace, find_rows
from transforms.looking.slicing import (
    Comparison,
    Outcomes,
    compare_outcomes,
    decide_outcomes,
    mixture_shares,
    needs_measuring,
    read_outcomes,
)
from transforms.looking.state import State, next_stage, read_states
from transforms.looking.story import Story, tell
from transforms.mixtures.weights import MixtureError
from transforms.parts.tables import list_committed, read_counts
from transforms.verifying.findings import PROMISES, Finding
from transforms.verifying.verify import verify as verify_work
from transforms.work import Work

Query = Annotated[
    str,
    typer.Argument(
        metavar="ID|LOCATOR",
        help="A sample id, its first six digits or more, a locator, or the end of one.",
    ),
]
By = Annotated[
    Literal["reason", "source", "language"], typer.Option("--by", help="What rows are counted by.")
]
Apply = Annotated[
    bool, typer.Option("--apply", help="Writes the changed recipe into the work directory.")
]


def verify(work: WorkUri, threads: Threads = 0, as_json: AsJson = False) -> None:
    """Reads everything again: books balance, bytes match, images go with their captions."""
    with explained():
        release = open_release(work)
        console = views.make_console()
        findings = []
        for finding in verify_work(release, threads):
            findings.append(finding)
            for line in () if as_json else views.finding_lines(finding):
                console.print(line)
    failed = sum(finding.failed for finding in findings)
    if as_json:
        _print_json({"ok": not failed, "checks": [_finding_values(one) for one in findings]})
    elif failed:
        console.print(f"{failed:,} problems in {views.shown_path(release)}")
    else:
        console.print(f"{views.shown_path(release)} is as it should be")
    if failed:
        raise typer.Exit(FAILED)


def explain(work: WorkUri, query: Query, as_json: AsJson = False) -> None:
    """Tells what became of an input, by which rule, and what would keep it."""
    with explained():
        release = open_release(work)
        files = release.parts(*release.intakes())
        found = find_rows(release.ingest, files, query)
        if not found.rows:
            _stop(
                f"{query!r} is no sample id, locator or end of a locator in {release.folder.uri}; "
                f"it has {len(files)} parts: `mixwright ledger {views.shown_path(release)}` says "
                "what came in"
            )
        stories = [tell(release, place) for place in found.places]
        if as_json:
            values = [_story_values(release, story) for story in stories]
            _print_json({"query": query, "rows": found.rows, "stories": values})
            return
        console = views.make_console()
        if len({story.sample_id for story in stories}) == 1:
            for story in stories:
                _print_parts(release, story, console)
            return
        for story in stories:
            decision = story.reason or (KEPT if story.decision else "not decided yet")
            place = f"{story.ingest['source']}  {views.safe(story.ingest['locator'])}"
            console.print(f"{story.sample_id}  {decision:20}  {place}")
        console.print(f"{found.rows:,} rows match; name one of them by its id")


def ledger(work: WorkUri, by: By = "reason", as_json: AsJson = False) -> None:
    """Counts what was kept and what was dropped; the totals balance with the inputs."""
    with explained():
        release = open_release(work)
        _demand_ledgers(release)
        funnels = read_funnel(release)
        inputs, kept = sum(one.inputs for one in funnels), sum(one.kept for one in funnels)
        events = _count_events(release)
        rows: list[dict[str, Any]]
        if by == "reason":
            table = views.reason_table(funnels, release.recipe, events)
            rows = [
                {"reason": reason, "stage": str(REASONS[Reason(reason)].stage), "rows": count}
                for reason, count in total_dropped(funnels).most_common()
            ]
        else:
            groups = {one.source: (one.kept, one.inputs - one.kept) for one in funnels}
            if by == "language":
                counts = count_languages(release)
                totals = {
                    name: sum(counts[name, one] for one in (KEPT, DROPPED)) for name, _ in counts
                }
                order = sorted(totals, key=lambda name: (-totals[name], name))
                groups = {name: (counts[name, KEPT], counts[name, DROPPED]) for name in order}
            table = views.group_table(by, groups)
            rows = [
                {by: name, "kept": one, "dropped": other} for name, (one, other) in groups.items()
            ]
        if as_json:
            figures = {"inputs": inputs, "kept": kept, "dropped": inputs - kept, "events": events}
            _print_json({"by": by, **figures, "rows": rows})
        else:
            views.make_console().print(table)


def slice_(
    work: WorkUri, settings: Settings = None, apply: Apply = False, as_json: AsJson = False
) -> None:
    """Shows what would be kept under other rules; reads columns only, in seconds."""
    with explained():
        release = open_release(work)
        changed = Work(release.folder, _changed_recipe(release, settings or []))
        before = read_outcomes(release) or _decide(release)
        after = _decide(changed)
        comparison = compare_outcomes(release, before, after)
        if apply:
            release.folder.replace(layout.LOCK, lock_bytes(changed.recipe))
        shares = _shares(release.recipe, changed.recipe, comparison)
        if as_json:
            _print_json(
                {
                    "settings": settings or [],
                    "before": comparison.before,
                    "after": comparison.after,
                    "changes": [change._asdict() for change in comparison.changes],
                    "mixtures": shares,
                    "applied": apply,
                    "next": views.run_command(changed) if apply else "",
                }
            )
            return
        console = views.make_console()
        for table in views.comparison_tables(comparison):
            console.print(table)
            console.print()
        for name, sources in shares.items():
            for source, (one, other) in sources.items():
                if one != other:
                    console.print(f"mixture {name}: {source} {one:.1%} -> {other:.1%}")
        if apply:
            console.print(f"written to {release.folder.locate(layout.LOCK)}; next:")
            console.print(f"  {views.run_command(changed)}")
        else:
            console.print(
                "nothing was written; --apply puts it into the recipe of the work directory"
            )


def status(work: WorkUri, as_json: AsJson = False) -> None:
    """Shows how far the route has come, what is stale, and the next command."""
    with explained():
        release = open_release(work)
        states = read_states(release)
        stage = next_stage(states)
        shown = views.shown_path(release)
        command = views.run_command(release) if stage else f"mixwright verify {shown}"
        if as_json:
            _print_json(
                {
                    "work": release.folder.uri,
                    "recipe": release.recipe.name,
                    "recipe_digest": release.recipe.digest(),
                    "intakes": [intake.name for intake in release.intakes()],
                    "stages": [asdict(state) for state in states],
                    "next": command,
                }
            )
            return
        console = views.make_console()
        recipe = release.recipe
        console.print(f"recipe {recipe.name}, digest {recipe.digest()}, in {shown}\n")
        console.print(views.state_table(states))
        if any(state.state is State.STALE for state in states):
            console.print("\nstale: made under an earlier recipe, or from fewer inputs")
        console.print(f"\nnext  {command}")


def print_story(work: Work, query: str, console: Console) -> None:
    """Prints the story of the first row that a query means."""
    found = find_rows(work.ingest, work.parts(*work.intakes()), query)
    for place in found.places[:1]:
        _print_parts(work, tell(work, place), console)


def _print_parts(work: Work, story: Story, console: Console) -> None:
    for part in views.story_parts(work, story, find_remedy(work, story)):
        console.print(part)


def _changed_recipe(work: Work, settings: Sequence[str]) -> Recipe:
    """Returns the recipe with changes that columns need not be measured again for."""
    values = work.recipe.model_dump(mode="json", exclude_none=True)
    changed = resolve(values, settings, "--set")
    if measured := needs_measuring(work.recipe, changed):
        options = " ".join(f"--set '{one}'" for one in settings)
        raise RecipeError(
            f"--set changes {', '.join(measured)}, which columns are made from, and slice only "
            "decides anew; try it in a work directory of its own: "
            f"mixwright run RECIPE --work DIR {options}"
        )
    return changed


def _decide(work: Work) -> Outcomes:
    try:
        return decide_outcomes(work)
    except FileNotFoundError as error:
        _stop(f"{error.filename} is missing: run {views.run_command(work)}")


def _shares(
    before: Recipe, after: Recipe, comparison: Comparison
) -> dict[str, dict[str, list[float]]]:
    """Returns the shares of sources in mixtures, before and after."""
    kept = [
        {source: outcomes.get(KEPT, 0) for source, outcomes in rows.items()}
        for rows in (comparison.before, comparison.after)
    ]
    try:
        one, other = mixture_shares(before, kept[0]), mixture_shares(after, kept[1])
    except MixtureError as error:
        say(f"under these rules `mix` would stop: {error}")
        return {}
    return {
        name: {
            source: [one.get(name, {}).get(source, 0.0), share] for source, share in shares.items()
        }
        for name, shares in other.items()
    }


def _demand_ledgers(work: Work) -> None:
    """Stops where an intake lacks ledgers under the recipe of its work directory."""
    ledgers, intakes = work.ledgers(), work.intakes()
    for intake in intakes:
        if not set(work.parts(intake)) <= set(list_committed(ledgers[intake.name]).values()):
            command = views.run_command(work)
            _stop(f"intake {intake.name} is not decided under this recipe: run {command}")
    if not intakes:
        _stop(f"nothing has come in yet: run {views.run_command(work)}")


def _count_events(work: Work) -> int | None:
    """Returns how many kept samples could not be written; None before shards are."""
    folders = [series.folder for series in work.series()]
    if not all(folder.exists(layout.EVENTS) for folder in folders):
        return None
    return sum(read_counts(folder, layout.EVENTS)["rows"] for folder in folders)


def _finding_values(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "promise": PROMISES[finding.check]}


def _story_values(work: Work, story: Story) -> dict[str, Any]:
    remedy = find_remedy(work, story)
    command = views.slice_command(work, remedy.settings) if remedy.settings else ""
    return {
        **asdict(story),
        "place": _place_values(story.place),
        "cluster": [{**asdict(one), "place": _place_values(one.place)} for one in story.cluster],
        "remedy": {**asdict(remedy), "command": command},
    }


def _place_values(place: RowPlace) -> dict[str, Any]:
    return {"intake": place.file.part.intake, "part": place.file.part.stem, "row": place.row}


def _print_json(values: dict[str, Any]) -> None:
    typer.echo(orjson.dumps(values, option=orjson.OPT_INDENT_2))


def _stop(message: str) -> NoReturn:
    say(message)
    raise typer.Exit(FAILED)
