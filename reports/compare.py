"""Two runs side by side: verdicts, how long recovery took, and what differed between them.

The smallest pre-upgrade check there is: run A on the version in use, run B on the one to come, compare.
"""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from steadyset.reports.document import NAME, build_document, load_document
from steadyset.reports.html import METRICS, seconds
from steadyset.reports.terminal import verdict_text
from steadyset.rundir import RunDir
from steadyset.verdict import Verdict, worst

TIMES = tuple(name for name, _, _ in METRICS)
WORDS = {name: words for name, _, words in METRICS}
SHOWN = ("without_acks_s", "detect_s", "reschedule_s", "attach_s", "ready_s", "first_ack_s", "label_lag_s")
_VARYING = ("id", "started", "start_ns", "command")  # of run.json: differ between any two runs


def document_of(run: RunDir) -> dict[str, Any]:
    """The saved document of a run; of one that was interrupted before it was written, built from what there is."""
    return load_document(run) if (run.path / NAME).is_file() else build_document(run)


def compare(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """What differs from document `a` to document `b`.

    Scenarios are matched by test, stack and variant. `ratio` is B's time over A's, None unless both are known and A's
    is not 0. `worse` is whether a scenario tested in both, or the run as a whole, ended more severely in B.
    """
    of_a, of_b = ({_key(s): s for s in d["scenarios"]} for d in (a, b))
    scenarios = [_scenario(of_a[key], of_b[key]) for key in of_a if key in of_b]
    return {
        "a": _side(a),
        "b": _side(b),
        "worse": any(s["worse"] for s in scenarios) or (bool(scenarios) and _more_severe(a["verdict"], b["verdict"])),
        "comparable": bool(scenarios),
        "scenarios": scenarios,
        "only_a": [of_a[key]["title"] for key in of_a if key not in of_b],
        "only_b": [of_b[key]["title"] for key in of_b if key not in of_a],
        "differs": _differences(a["run"], b["run"]),
    }


def exit_code(comparison: dict[str, Any]) -> int:
    """1 when B is worse, 3 when there was nothing to compare, else 0."""
    if not comparison["comparable"]:
        return Verdict.INVALID.exit_code
    return Verdict.FAIL.exit_code if comparison["worse"] else 0


def _key(scenario: dict[str, Any]) -> tuple[str, str, str]:
    return scenario["test_id"], scenario["stack"], scenario["variant"]


def _side(document: dict[str, Any]) -> dict[str, Any]:
    return {"run": document["run"].get("id", ""), "verdict": document["verdict"], "counts": document["counts"]}


def _more_severe(a: str, b: str) -> bool:
    return a != b and worst([Verdict(a), Verdict(b)]) == b


def _scenario(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    rules_a, rules_b = ({j["rule"]: j["verdict"] for j in s["judgements"]} for s in (a, b))
    faults = [
        {"fault": left["fault"], "times": {name: _time(left.get(name), right.get(name)) for name in TIMES}}
        for left, right in zip(a["metrics"]["faults"], b["metrics"]["faults"], strict=False)
        if left["fault"] == right["fault"]
    ]
    return {
        "title": a["title"],
        "test_id": a["test_id"],
        "a": a["verdict"],
        "b": b["verdict"],
        "worse": _more_severe(a["verdict"], b["verdict"]),
        "rules": {
            rule: {"a": rules_a.get(rule), "b": rules_b.get(rule)}
            for rule in {**rules_a, **rules_b}
            if rules_a.get(rule) != rules_b.get(rule)
        },
        "faults": faults,
    }


def _time(a: float | None, b: float | None) -> dict[str, float | None]:
    ratio = round(b / a, 2) if a and b is not None and a > 0 else None
    return {"a": a, "b": b, "ratio": ratio}


def _differences(a: Any, b: Any, path: str = "") -> dict[str, dict[str, Any]]:
    """Every parameter that differs, by its dotted path."""
    found: dict[str, dict[str, Any]] = {}
    for name in {**a, **b}:
        if not path and name in _VARYING:
            continue
        left, right = a.get(name), b.get(name)
        if isinstance(left, dict) and isinstance(right, dict):
            found.update(_differences(left, right, f"{path}{name}."))
        elif left != right:
            found[path + name] = {"a": left, "b": right}
    return found


def print_comparison(comparison: dict[str, Any], console: Console | None = None) -> None:
    """Both runs in one table per kind of finding."""
    console = console or Console(highlight=False)
    a, b = comparison["a"], comparison["b"]
    console.print("A", Text(a["run"]), verdict_text(a["verdict"]))
    console.print("B", Text(b["run"]), verdict_text(b["verdict"]))
    console.print()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("scenario", overflow="fold", ratio=1)
    for name in ("A", "B", "B/A"):
        table.add_column(name, justify="right", no_wrap=True)
    for scenario in comparison["scenarios"]:
        mark = Text("worse", style="bold red") if scenario["worse"] else Text("")
        title = Text(scenario["title"], style="bold")
        table.add_row(title, verdict_text(scenario["a"]), verdict_text(scenario["b"]), mark)
        for rule, was in scenario["rules"].items():
            table.add_row(f"  {escape(rule)}", was["a"] or "–", was["b"] or "–", "")
        for fault in scenario["faults"]:
            for metric in SHOWN:
                time = fault["times"][metric]
                if time["a"] is None and time["b"] is None:
                    continue
                ratio = "–" if time["ratio"] is None else f"{time['ratio']:.2f}×"
                words = f"  {escape(fault['fault'])}: {WORDS[metric]}"
                table.add_row(words, seconds(time["a"]), seconds(time["b"]), ratio)
    console.print(table)
    for side, titles in (("A", comparison["only_a"]), ("B", comparison["only_b"])):
        for title in titles:
            console.print(f"only in {side}: {escape(title)}")
    if comparison["differs"]:
        console.print("\nwhat differs between the runs:")
        for name, values in comparison["differs"].items():
            console.print(f"  {escape(name)}: {escape(str(values['a']))} → {escape(str(values['b']))}")
    console.print()
    if not comparison["comparable"]:
        console.print("no scenario was tested in both runs: nothing to compare")
    else:
        console.print("B is worse" if comparison["worse"] else "B is not worse")
