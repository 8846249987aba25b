"""What the commands that look show to people: plain aligned text when piped, tables otherwise."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.cards.funnel import SourceFunnel, describe_rule, total_dropped
from schemas import layout
from schemas.reasons import REASONS, Reason
from schemas.recipe import Recipe
from transforms.decisions.ledger import KEPT
from transforms.looking.remedies import Remedy
from transforms.looking.slicing import Comparison
from transforms.looking.state import StageState, State
from transforms.looking.story import RuleStory, Story, Value
from transforms.verifying.findings import PROMISES, Finding
from transforms.work import Work

TEXT_CHARACTERS = 300
_PIPED_WIDTH = 1000
_STATE_STYLES = {State.DONE: "green", State.PARTIAL: "yellow", State.STALE: "yellow"}
_OUTCOME_STYLES = {"drop": "red", "pass": "green"}


def make_console() -> Console:
    """Returns the console for results: nothing is wrapped or coloured when it is piped."""
    console = Console(highlight=False, markup=False)
    return (
        console
        if console.is_terminal
        else Console(highlight=False, markup=False, width=_PIPED_WIDTH, soft_wrap=True)
    )


def shown_path(work: Work) -> str:
    """Returns a work directory as a person would type it here."""
    return work.folder.uri.removeprefix(f"{Path.cwd()}/")


def run_command(work: Work) -> str:
    """Returns the command that goes on where a work directory stopped, under its own recipe."""
    shown = shown_path(work)
    # The lock of a bucket is no local file, which `run` reads recipes from.
    recipe = "RECIPE" if "://" in shown else f"{shown}/{layout.LOCK}"
    return shlex.join(["mixwright", "run", recipe, "--work", shown])


def slice_command(work: Work, settings: Iterable[str]) -> str:
    """Returns the command that shows a slice."""
    options = [part for setting in settings for part in ("--set", setting)]
    return shlex.join(["mixwright", "slice", shown_path(work), *options])


def finding_lines(finding: Finding) -> Iterator[Text]:
    """Yields what a check came to: one line, and one for each problem."""
    mark = ("failed", "red") if finding.failed else ("ok", "green")
    counts = f"{finding.passed:>12,}" + (f"  {finding.failed:,} failed" if finding.failed else "")
    if finding.note:
        mark, counts = ("-", "dim"), f"{finding.note:>12}"
    yield Text.assemble(
        (f"{mark[0]:7}", mark[1]),
        f"{finding.check:10}",
        f"{counts}  ",
        (PROMISES[finding.check], "dim"),
    )
    for problem in finding.problems:
        yield Text(f"        {safe(str(problem), 2000)}")
    if (hidden := finding.failed - len(finding.problems)) > 0:
        yield Text(f"        and {hidden:,} more")


def reason_table(funnels: Sequence[SourceFunnel], recipe: Recipe, events: int | None) -> Table:
    """Returns the ledger by reason: rows, shares of all inputs, rules."""
    inputs, kept = sum(one.inputs for one in funnels), sum(one.kept for one in funnels)
    table = _table("reason", "stage", ">rows", ">share", "rule")
    for reason, rows in total_dropped(funnels).most_common():
        stage = str(REASONS[Reason(reason)].stage)
        _add(table, reason, stage, *_counted(rows, inputs), describe_rule(recipe, reason))
    _add(table, "dropped", "", *_counted(inputs - kept, inputs), "", style="bold")
    _add(table, KEPT, "", *_counted(kept, inputs), "", style="bold")
    _add(table, "inputs", "", *_counted(inputs, inputs), "", style="bold")
    if events:
        _add(table, "not written", "shard", *_counted(events, inputs), "kept, but unreadable")
    return table


def group_table(title: str, rows: Mapping[str, tuple[int, int]]) -> Table:
    """Returns the ledger by source or language, from (kept, dropped) of each."""
    table = _table(title, ">inputs", ">kept", ">dropped", ">share kept")
    for name, (kept, dropped) in rows.items():
        total = kept + dropped
        _add(
            table,
            safe(name) or "(none)",
            f"{total:,}",
            f"{kept:,}",
            f"{dropped:,}",
            _share(kept, total),
        )
    kept, dropped = (sum(one[at] for one in rows.values()) for at in (0, 1))
    total = kept + dropped
    figures = f"{total:,}", f"{kept:,}", f"{dropped:,}", _share(kept, total)
    _add(table, "all", *figures, style="bold")
    return table


def comparison_tables(comparison: Comparison) -> Iterator[Table]:
    """Yields kept rows by source, rows by reason, and what changes."""
    sources = _table("source", ">inputs", ">kept before", ">after", ">change")
    before_all: dict[str, int] = {}
    after_all: dict[str, int] = {}
    inputs = 0
    for source in sorted(comparison.before):
        before, after = comparison.before[source], comparison.after[source]
        rows = sum(before.values())
        inputs += rows
        _add(sources, source, f"{rows:,}", *_changed(before.get(KEPT, 0), after.get(KEPT, 0)))
        for totals, outcomes in ((before_all, before), (after_all, after)):
            for name, count in outcomes.items():
                totals[name] = totals.get(name, 0) + count
    figures = _changed(before_all.get(KEPT, 0), after_all.get(KEPT, 0))
    _add(sources, "all", f"{inputs:,}", *figures, style="bold")
    yield sources
    reasons = _table("reason", ">before", ">after", ">change")
    for name in dict.fromkeys([*map(str, Reason)]):
        one, other = before_all.get(name, 0), after_all.get(name, 0)
        if one or other:
            _add(reasons, name, *_changed(one, other))
    yield reasons
    changes = _table("from", "to", ">rows", "for example")
    for change in comparison.changes:
        _add(changes, change.before, change.after, f"{change.rows:,}", " ".join(change.examples))
    if comparison.changes:
        yield changes


def state_table(states: Iterable[StageState]) -> Table:
    """Returns the stages of a route, and how much there is of each thing that they make."""
    table = _table("stage", "state", "what", "intake", ">done", ">rows", ">seconds", ">rows/s")
    for state in states:
        speed = [
            f"{figure:,.{digits}f}" if figure is not None else ""
            for figure, digits in ((state.rows, 0), (state.seconds, 1), (state.rows_per_second, 0))
        ]
        head: list[str | Text] = [
            state.stage,
            Text(state.state, style=_STATE_STYLES.get(state.state, "dim")),
        ]
        for one in state.progress:
            _add(table, *head, one.title, one.intake, f"{one.done:,}/{one.total:,}", *speed)
            head, speed = ["", Text("")], ["", "", ""]
        if not state.progress:
            _add(table, *head, "", "", "", *speed)
    return table


def story_parts(work: Work, story: Story, remedy: Remedy) -> Iterator[Text | Table]:
    """Yields the story of a row, from what it is to what would keep it."""
    yield from _identity(story)
    yield _line("decision", *_decision(story))
    if story.rules:
        yield _rule_table(story.rules)
    yield from _whereabouts(story)
    if remedy.text:
        yield _line("remedy", remedy.text)
    if remedy.settings:
        yield _line("", slice_command(work, remedy.settings))


def _identity(story: Story) -> Iterator[Text]:
    """Yields what came in."""
    row, file = story.ingest, story.place.file
    yield _line("sample", f"{story.sample_id}  {row['kind']} of {row['source']}")
    yield _line("locator", safe(row["locator"]))
    for text in row["texts"]:
        role = f"{text['role']} {text['lang'] or ''}".strip()
        yield _line("text", f"[{role}] {safe(text['text'])}")
    for media in row["media"]:
        tar = f"ingest/{file.part.source}/{story.intake}/{media['part_tar']}"
        place = f"{media['length']:,} bytes at {media['offset']} of {tar}"
        yield _line("media", f"{media['media_id']}  {place}")
    yield _line("row", f"{story.place.row} of ingest/{file.name}")
    for name in ("licence", "attribution"):
        if row[name]:
            yield _line(name, safe(row[name]))


def _whereabouts(story: Story) -> Iterator[Text]:
    """Yields the duplicates of a row, and where it is in the shards."""
    if story.decision and story.decision["cluster_id"]:
        keeper = story.decision["keeper_id"]
        kept = f", {'this one' if keeper == story.sample_id else keeper} is kept" if keeper else ""
        yield _line("cluster", f"{story.decision['cluster_id']}{kept}")
        for one in story.cluster:
            what = f"{one.sample_id}  {one.decision}  {one.source}  {safe(one.locator)}"
            yield _line("", what)
    if story.shard:
        members = ", ".join(
            f"{name.partition('.')[2]} {length:,} bytes at {offset}"
            for name, offset, length in story.shard.members
        )
        yield _line("shard", f"{story.shard.tar}: {members}")
    if story.event:
        yield _line("event", safe(story.event))


def safe(text: str, most: int = TEXT_CHARACTERS) -> str:
    """Returns a text of the web for a terminal: nothing that moves the cursor, cut to `most`."""
    shown = "".join(one if one.isprintable() else " " for one in text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _decision(story: Story) -> tuple[str, str]:
    """Returns what became of a row, and a style."""
    ledger = story.decision
    if ledger is None:
        return "not decided yet", "yellow"
    if ledger["decision"] == KEPT:
        return f"kept, split {ledger['split']}", "green"
    said = f"dropped by {ledger['reason']} ({ledger['stage']})"
    if ledger["signal"]:
        value = ledger["value"] if ledger["value"] is not None else ledger["detail"]
        said += f": {ledger['signal']} is {_value(value)}, must be {ledger['threshold']}"
    elif ledger["detail"]:
        said += f": {safe(ledger['detail'])}"
    return said, "red"


def _rule_table(rules: Iterable[RuleStory]) -> Table:
    table = _table("rule", "signal", ">value", "unit", "keeps", "outcome")
    for rule in rules:
        cut = f" (cut at {_value(rule.cut)})" if rule.cut is not None else ""
        outcome = Text(rule.outcome, style=_OUTCOME_STYLES.get(rule.outcome, "dim"))
        value = _value(rule.value)
        _add(table, rule.reason, rule.signal, value, rule.unit, f"{rule.keep}{cut}", outcome)
    return table


def _value(value: Value) -> str:
    if isinstance(value, str):
        return repr(safe(value, 60))
    if value is None or isinstance(value, bool):
        return {None: "-", True: "true", False: "false"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"


def _line(title: str, text: str, style: str = "") -> Text:
    return Text.assemble((f"{title:12}", "bold"), (text, style))


def _table(*columns: str) -> Table:
    """Returns a table without frames; a column that begins with `>` is of numbers."""
    table = Table(
        box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0), header_style="dim"
    )
    for column in columns:
        numbers = column.startswith(">")
        table.add_column(
            column.lstrip(">"), justify="right" if numbers else "left", overflow="fold"
        )
    return table


def _add(table: Table, *cells: str | Text, style: str = "") -> None:
    """Adds a row whose text is taken as it is: `in [en, de]` is no markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), style=style)


def _counted(rows: int, total: int) -> tuple[str, str]:
    return f"{rows:,}", _share(rows, total)


def _share(rows: int, total: int) -> str:
    return f"{rows / total:.1%}" if total else "-"


def _changed(before: int, after: int) -> tuple[str, str, str]:
    return f"{before:,}", f"{after:,}", f"{after - before:+,}" if after != before else "0"
