"""The verdict table in the terminal: one line per scenario, and under it the lines that decided what did not pass.

Rich leaves colour out where NO_COLOR is set or the output is no terminal.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from steadyset.reports.html import MARKS, meaning, seconds
from steadyset.reports.matrix import harm, recovery

STYLES = {"PASS": "bold green", "FAIL": "bold red", "INVALID": "bold yellow", "ERROR": "bold magenta"}
WIDE_COLUMNS = 100  # narrower terminals do without the rules' count and the time to recover
WITNESS_LINES_SHOWN = 3


def verdict_text(verdict: str) -> Text:
    """A verdict with its mark, coloured."""
    return Text(f"{MARKS[verdict]} {verdict}", style=STYLES[verdict])


def print_verdicts(document: dict[str, Any], console: Console | None = None, *, page: str = "") -> None:
    """Print the table, what decided, what was not tested and the overall verdict; `page` is where the page lies."""
    console = console or Console(highlight=False)
    wide = console.width >= WIDE_COLUMNS
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("scenario", overflow="fold", ratio=1)
    if wide:
        table.add_column("rules")
    table.add_column("fault", overflow="fold")
    table.add_column("no acks", justify="right", no_wrap=True)
    if wide:
        table.add_column("recovered", justify="right", no_wrap=True)
    for scenario in document["scenarios"]:
        measured = scenario["metrics"]["faults"]
        counts = Counter(j["verdict"] for j in scenario["judgements"])
        rules = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "none"
        name = Text(scenario["title"])
        if scenario["expected"]:
            name.append(f"\n{scenario['expected_said']}")
        row: list[Any] = [verdict_text(scenario["verdict"]), name]
        row += [rules] if wide else []
        row += [", ".join(f["fault"] for f in scenario["faults"]) or "none", _longest(measured, "without_acks_s")]
        row += [_longest(measured, "first_ack_s")] if wide else []
        table.add_row(*row)
    console.print(table)
    if document.get("matrix"):
        console.print(_matrix(document["matrix"]))
    for scenario in document["scenarios"]:
        _explain(scenario, console)
    if document["not_tested"]:
        console.print(f"\nnot tested ({len(document['not_tested'])}):")
        for item in document["not_tested"]:
            console.print(
                Padding(f"{escape(item['title'])}: [dim]{escape(item['reason'])}[/dim]", (0, 0, 0, 2), expand=False)
            )
    for slug, changed in document["changes"].items():
        for change in changed:
            was, now = change["was"] or "not judged", change["now"] or "not judged"
            console.print(f"changed: {escape(slug)}: {escape(change['rule'])}: {was} → {now}")
    console.print()
    console.print(verdict_text(document["verdict"]), meaning(document), soft_wrap=True)
    if page:
        console.print(f"page: {escape(page)}", soft_wrap=True)


def _matrix(rows: list[dict[str, Any]]) -> Table:
    """Stack x fault -> verdict, outage, overlap of two primaries, harm, recovery."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for name in ("stack", "fault", "verdict"):
        table.add_column(name, no_wrap=True)
    for name in ("no acks", "overlap"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("harm", overflow="fold")
    table.add_column("recovery", overflow="fold", ratio=1)
    for row in rows:
        name = f"{row['stack']} ({row['variant']})" if row["variant"] else row["stack"]
        table.add_row(
            Text(name),
            Text(row["cell"]),
            verdict_text(row["verdict"]),
            seconds(row["without_acks_s"]),
            seconds(row["overlap_s"]),
            Text(harm(row)),
            Text(recovery(row, seconds)),
        )
    return table


def _longest(measured: list[dict[str, Any]], name: str) -> str:
    known = [m[name] for m in measured if m[name] is not None]
    return seconds(max(known)) if known else "–"


def _explain(scenario: dict[str, Any], console: Console) -> None:
    """The deciding lines of a scenario that did not pass, and of a control what it found."""
    told = [j for j in scenario["judgements"] if j["verdict"] != "PASS"]
    if scenario["verdict"] == "PASS" and not scenario["expected"]:
        return
    console.print()
    console.print(verdict_text(scenario["verdict"]), Text(scenario["title"], style="bold"))
    if scenario["why"]:
        console.print(Padding(Text(scenario["why"]), (0, 0, 0, 2), expand=False))
    for judgement in told:
        line = Text.assemble(verdict_text(judgement["verdict"]), f" {judgement['rule']}: {judgement['summary']}")
        console.print(Padding(line, (0, 0, 0, 2), expand=False))
        lines = [line for line in judgement["witness"] if line != judgement["summary"]]
        for witness in lines[:WITNESS_LINES_SHOWN]:
            console.print(Padding(Text(witness, style="dim"), (0, 0, 0, 4), expand=False))
        rest = len(lines) - WITNESS_LINES_SHOWN
        if rest > 0:
            console.print(Padding(Text(f"… and {rest} more on the page", style="dim"), (0, 0, 0, 4), expand=False))
