"""Judge a saved run again, and write every report of it: document.json, index.html, junit.xml."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

from steadyset.errors import UsageError
from steadyset.judge import certified, judge
from steadyset.reports.document import build_document, final_verdict, write_document
from steadyset.reports.html import write_html
from steadyset.reports.junit import write_junit
from steadyset.rundir import RunDir, Scenario
from steadyset.verdict import Verdict

RUNS = Path("runs")  # where nightly puts runs, and where a bare id is looked for
Changes = dict[str, list[dict[str, Any]]]


def open_run(where: Path | str) -> RunDir:
    """The run in the folder `where`, or of that id below runs/; UsageError when there is none."""
    path = Path(where)
    if not path.exists() and (RUNS / path).is_dir():
        path = RUNS / path
    if not path.is_dir():
        known = sorted(found.parent.name for found in RUNS.glob("*/run.json"))
        raise UsageError(
            f"there is no run {where}",
            expected="the folder of a run, or the id of one below runs/",
            seen=f"runs there: {', '.join(known[-5:]) or 'none'}",
        )
    return RunDir.open(path)


def publish(run: RunDir, changes: Changes | None = None) -> dict[str, Any]:
    """Build the document of `run` from its saved judgements, write it and everything drawn from it, and return it."""
    document = build_document(run, changes)
    write_document(run, document)
    write_html(run, document)
    write_junit(run, document)
    return document


def recheck(run: RunDir) -> dict[str, Any]:
    """Judge every scenario of `run` again, save the judgements, write the reports anew, and return the document.

    Its `changes` hold, by scenario, the verdicts that differ from the saved ones: `{rule, was, now}`, where rule
    "scenario" is the scenario as a whole and None stands for not judged. Works on half-written runs too.
    """
    changes: Changes = {}
    for scenario in run.scenarios():
        if scenario.outcome == "skipped":
            continue
        changed = rejudge(run, scenario)
        run.save(scenario)
        if changed:
            changes[scenario.slug] = changed
    return publish(run, changes)


def rejudge(run: RunDir, scenario: Scenario) -> list[dict[str, Any]]:
    """Replace `scenario`'s judgements and outcome by what today's rules say; returns what differs."""
    was, was_verdict = scenario.judgements, final_verdict(scenario)[0]
    decided_by_rules = scenario.outcome in ("passed", "failed") or (scenario.outcome == "error" and not scenario.reason)
    if decided_by_rules:
        scenario.outcome = "failed"  # until the new verdict is known
    scenario.judgements = judge(run, scenario)
    if decided_by_rules:
        scenario.outcome = {Verdict.PASS: "passed", Verdict.ERROR: "error"}.get(certified(scenario), "failed")
    changed: list[dict[str, Any]] = []
    if scenario.outcome and was:
        now_verdict = final_verdict(scenario)[0]
        if now_verdict != was_verdict:
            changed.append({"rule": "scenario", "was": was_verdict, "now": now_verdict})
    for old, new in zip_longest(*_aligned(was, scenario.judgements)):
        before, after = old and old.verdict, new and new.verdict
        if before != after and was:
            changed.append({"rule": (new or old).rule, "was": before, "now": after})
    return changed


def _aligned(was: list[Any], now: list[Any]) -> tuple[list[Any], list[Any]]:
    """Both lists with the same rules at the same places; None where a rule judged in only one of them."""
    left: list[Any] = []
    right: list[Any] = []
    rest = list(now)
    for old in was:
        new = next((j for j in rest if j.rule == old.rule), None)
        if new is not None:
            rest.remove(new)
        left.append(old)
        right.append(new)
    return left + [None] * len(rest), right + rest
