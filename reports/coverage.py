"""The coverage of promises: each one with its tests and with what saved runs say of it on each Kubernetes version.

A run counts for the version of its cluster; of several runs on one version the newest that reached a test decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import steadyset
from steadyset.reports.document import LIMITATION, expected_as, final_verdict
from steadyset.reports.html import MARKS
from steadyset.requirements import REQUIREMENTS, area, blamed
from steadyset.requirements.reading import by_requirement
from steadyset.rundir import RunDir, Scenario
from steadyset.verdict import Verdict, worst

NOT_TESTED, NOT_RUN, OPEN, SHOWN = "not tested", "not run", "open", "known limitation"
Seen = dict[str, dict[str, tuple[str, Scenario]]]  # version -> test -> (run id, scenario)


def coverage(runs: Iterable[RunDir]) -> dict[str, Any]:
    """The coverage document: `versions`, and `promises` with `tests` and the verdict `on` each version."""
    seen = _newest(runs)
    versions = sorted(seen, key=lambda v: [int(part) if part.isdigit() else 0 for part in v.split(".")])
    tests = by_requirement(Path(steadyset.__file__).parent / "suites")
    promises = []
    for number, r in enumerate(REQUIREMENTS):
        on = {version: _verdict(r.id, seen[version]) for version in versions}
        state = "" if r.id in tests else OPEN
        promises.append(
            {**vars(r), "number": number, "area": area(r.id), "tests": tests.get(r.id, []), "on": on, "state": state}
        )
    return {
        "versions": versions,
        "runs": {version: sorted({run for run, _ in seen[version].values()}) for version in versions},
        "promises": promises,
        "counts": {
            "promises": len(promises),
            "covered": sum(not p["state"] for p in promises),
            "open": sum(p["state"] == OPEN for p in promises),
            **{
                version: {
                    verdict: count
                    for verdict in (*Verdict, SHOWN, NOT_TESTED, NOT_RUN)
                    if (count := sum(p["on"][version]["verdict"] == verdict for p in promises))
                }
                for version in versions
            },
        },
    }


def _newest(runs: Iterable[RunDir]) -> Seen:
    seen: Seen = {}
    for run in sorted(runs, key=lambda run: str(run.params().get("started", ""))):
        params = run.params()
        version = str((params.get("cluster") or {}).get("version", ""))
        for scenario in run.scenarios():
            counts = not scenario.expected or expected_as(scenario) == LIMITATION
            if version and scenario.requirements and counts and scenario.outcome:
                seen.setdefault(version, {})[scenario.test_id] = (run.path.name, scenario)
    return seen


def _verdict(requirement: str, seen: dict[str, tuple[str, Scenario]]) -> dict[str, Any]:
    """The worst verdict of the tests that cover the requirement; a broken rule of another one does not count."""
    found: list[tuple[Verdict, str]] = []
    reasons, limited = [], False
    for test, (_, scenario) in sorted(seen.items()):
        if requirement not in scenario.requirements:
            continue
        if scenario.outcome == "skipped":
            reasons.append(scenario.reason)
            continue
        verdict = final_verdict(scenario)[0]
        limited |= bool(scenario.expected)
        broken = [j.rule for j in scenario.judgements if j.verdict is not Verdict.PASS]
        if verdict in (Verdict.FAIL, Verdict.INVALID) and requirement not in blamed(scenario.requirements, broken):
            verdict = Verdict.PASS
        found.append((verdict, test))
    if found:
        verdict = worst(v for v, _ in found)
        if limited and verdict is Verdict.PASS:
            return {"verdict": SHOWN, "why": ""}
        return {"verdict": verdict, "why": ", ".join(t for v, t in found if v is verdict and v is not Verdict.PASS)}
    return {"verdict": NOT_TESTED if reasons else NOT_RUN, "why": reasons[0] if reasons else ""}


def print_coverage(document: dict[str, Any], console: Console) -> None:
    """The table as text."""
    table = Table(box=None, pad_edge=False)
    for column in ("promise", *document["versions"], "tests", "says"):
        table.add_column(column, overflow="fold")
    for promise in document["promises"]:
        cells = [_cell(promise["on"][version]["verdict"]) for version in document["versions"]]
        table.add_row(promise["id"], *cells, str(len(promise["tests"])) if promise["tests"] else OPEN, promise["text"])
    console.print(table)
    counts = document["counts"]
    console.print(f"\n{counts['covered']} of {counts['promises']} promises covered, {counts['open']} open")
    for version in document["versions"]:
        console.print(f"{version}: " + ", ".join(f"{number} {verdict}" for verdict, number in counts[version].items()))


def _cell(verdict: str) -> str:
    return f"{MARKS[verdict]} {verdict}" if verdict in MARKS else verdict
