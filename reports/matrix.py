"""The matrix of a run: stack x fault -> verdict, outage, recovery, and the harm that its checkers counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from steadyset.reports.timeline import STAGES

HARMS = ("lost", "duplicated", "reordered")


def matrix_rows(scenarios: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per scenario of the matrix (those whose metrics name their `cell`), from the document's scenarios.

    `without_acks_s`, `overlap_s` and the stages of `recovery` are seconds, None where the evidence cannot tell; `lost`,
    `duplicated` and `reordered` are counts, None where no rule counts them; `borne` of the lost are within what the
    stack says may be lost.
    """
    return [_row(scenario) for scenario in scenarios if scenario["metrics"].get("cell")]


def _row(scenario: dict[str, Any]) -> dict[str, Any]:
    measured = scenario["metrics"]["faults"]
    row: dict[str, Any] = {
        "stack": scenario["stack"],
        "variant": scenario["variant"],
        "cell": scenario["metrics"]["cell"],
        "slug": scenario["slug"],
        "verdict": scenario["verdict"],
        "without_acks_s": _longest(
            [*measured, {"without_acks_s": scenario["metrics"].get("restart_without_acks_s")}], "without_acks_s"
        ),
        "recovery": {name: _longest(measured, name) for name, _, _ in STAGES},
        "overlap_s": None,
        "borne": 0,
        **dict.fromkeys(HARMS),
    }
    for judgement in scenario["judgements"]:
        data, observed = judgement["data"], judgement["observed"]
        if judgement["rule"] == "split-brain":
            row["overlap_s"] = data.get("overlap_s")
        elif judgement["rule"] == "set-durability" and "lost" in data:
            row["borne"] = data.get("lost_within_window", 0)
            row["lost"] = data.get("lost_count", len(data["lost"])) + row["borne"]
            row["duplicated"] = len(data["duplicate"])
        elif judgement["rule"] == "durable-log" and "lost" in data:
            row["lost"] = data.get("lost_count", len(data["lost"]))
            row["duplicated"] = int(observed.get("duplicates", 0))
            row["reordered"] = data.get("kinds", []).count("reordered")
    return row


def _longest(measured: list[dict[str, Any]], name: str) -> float | None:
    return max((m[name] for m in measured if m.get(name) is not None), default=None)


def harm(row: dict[str, Any]) -> str:
    """The harm in words: "3 lost, 1 duplicated"; "none" when there was none, an en dash where nobody counts."""
    known = {name: row[name] for name in HARMS if row[name] is not None}
    if not known:
        return "–"
    words = [f"{count} {name}" for name, count in known.items() if count]
    if row["borne"]:
        words.append(f"{row['borne']} of them as granted")
    return ", ".join(words) or "none"


def recovery(row: dict[str, Any], seconds: Any) -> str:
    """The stages of recovery with their seconds, in order; an en dash when none is known."""
    known = [(value, words) for name, _, words in STAGES if (value := row["recovery"][name]) is not None]
    return ", ".join(f"{words} {seconds(value)}" for value, words in sorted(known)) or "–"
