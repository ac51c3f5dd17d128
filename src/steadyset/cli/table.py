"""The verdict table of a run's document, for a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

COLOURS = {"PASS": "green", "FAIL": "bold red", "INVALID": "yellow", "ERROR": "bold magenta"}


def verdict_table(document: dict[str, Any]) -> Table:
    """One row for each judgement that was made, grouped by scenario, with the reason in a sentence."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, ratio in (("scenario", 3), ("rule", 2), ("verdict", 1), ("why", 7)):
        table.add_column(name, ratio=ratio, overflow="fold")
    for scenario in document["scenarios"]:
        expected = f" (expected {scenario['expected']})" if scenario["expected"] else ""
        title = f"{scenario['title']}{expected}"
        table.add_row(title, f"{scenario['seconds']:.0f} s", coloured(scenario["verdict"]), scenario["why"])
        for judgement in scenario["judgements"]:
            table.add_row("", judgement["rule"], coloured(judgement["verdict"]), judgement["summary"])
    return table


def coloured(verdict: str) -> Text:
    """A verdict in its colour."""
    return Text(verdict, style=COLOURS.get(verdict, ""))
