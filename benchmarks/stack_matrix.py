"""Every stack under every fault that it must stand, as really run: how often, how often it passed, how long unanswered.

    python benchmarks/stack_matrix.py --cluster-name NAME [--only redis,kafka] [--runs 1] [--minutes 8]
    python benchmarks/stack_matrix.py --runs 0 --results benchmarks/matrix-results.jsonl

A run is `steadyset nightly --stack NAME --faults matrix` (or the cells that are still to be run). Rows accumulate in
--results, so that it can be stopped and started again (matrix-results.jsonl beside this file has those so far). Prints
passed/runs of each cell, the longest time without an acknowledged write in any of them and what most harm one did
("as granted": within what the stack says may be lost); "-" was not run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from steadyset.fixtures.matrix import ALL_CELLS, CELLS, selected
from steadyset.fixtures.stacks import STACKS, stack_class
from steadyset.names import names_in
from steadyset.reports.matrix import HARMS, harm
from steadyset.rundir import RunDir

Row = dict[str, Any]  # a row of `document["matrix"]` (reports/matrix.py), the cluster's version and the reason with it


def load_rows(path: Path) -> list[Row]:
    """The rows so far."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.strip()]


def cells_of(stack: str) -> list[str]:
    """The cells that say something about this stack."""
    return [cell.name for cell in selected([ALL_CELLS], fails_over=stack_class(stack)().fails_over)]


def outstanding(stacks: Sequence[str], rows: Sequence[Row], runs: int) -> Iterator[tuple[str, list[str]]]:
    """Stack by stack the cells that have fewer than 1, 2, … `runs` runs."""
    have = Counter((row["stack"], row["cell"]) for row in rows)
    for number in range(1, runs + 1):
        for stack in stacks:
            if cells := [cell for cell in cells_of(stack) if have[stack, cell] < number]:
                yield stack, cells


def run_once(stack: str, cells: Sequence[str], cluster: str, kubernetes: str, folder: Path) -> list[Row]:
    """Run these cells; their rows. The run's evidence stays in `folder`."""
    before = set(folder.glob("*/document.json"))
    faults = ALL_CELLS if list(cells) == cells_of(stack) else ",".join(cells)
    argv = [sys.executable, "-m", "steadyset", "nightly", "--stack", stack, "--faults", faults, "--suite", "matrix"]
    argv += ["--cluster-name", cluster, "--runs", str(folder)]
    argv += ["--kubernetes-version", kubernetes] if kubernetes else []
    sys.stderr.write(f"steadyset {' '.join(argv[3:])}\n")
    subprocess.run(argv, stdout=sys.stderr, check=False)
    rows = []
    for path in set(folder.glob("*/document.json")) - before:
        document = json.loads(path.read_text())
        reasons = {scenario["slug"]: scenario["why"] or scenario["reason"] for scenario in document["scenarios"]}
        version = RunDir.open(path.parent).params()["cluster"]["version"]
        noted = {"kubernetes": version, "run": path.parent.name}
        rows += [{**row, **noted, "reason": reasons[row["slug"]]} for row in document["matrix"]]
    return rows


def told(rows: Sequence[Row]) -> str:
    """One field: passed/runs, other verdicts by name, the longest time without an acknowledgement, the most harm."""
    if not rows:
        return "-"
    verdicts = Counter(row["verdict"] for row in rows)
    words = [f"{verdicts.pop('PASS', 0)}/{len(rows)}", *(f"{n} {verdict}" for verdict, n in sorted(verdicts.items()))]
    if away := [row["without_acks_s"] for row in rows if row["without_acks_s"] is not None]:
        words.append(f"{max(away):.1f} s")
    if harmed := [row for row in rows if any(row[name] for name in HARMS)]:
        words.append(harm(max(harmed, key=lambda row: sum(row[name] or 0 for name in HARMS))))
    return ", ".join(words)


def table(stacks: Sequence[str], rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, a line per stack."""
    names = [cell.name for cell in CELLS]
    lines = [f"| stack | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    for stack in stacks:
        if stack_class(stack)().lacking_images():
            lines.append(f"| {stack} | *not tested* without an image of yours " + "| " * (len(names) - 1) + "|")
            continue
        cells = cells_of(stack)
        fields = [
            told([r for r in rows if (r["stack"], r["cell"]) == (stack, cell)]) if cell in cells else "says nothing"
            for cell in names
        ]
        lines.append(f"| {stack} | {' | '.join(fields)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is outstanding within the budget, then print the table of everything so far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster-name", default="default", help="embedded cluster, brought up when it is not")
    parser.add_argument("--kubernetes-version", default="", help="version of a new cluster")
    parser.add_argument("--only", default="", help="comma-separated stacks")
    parser.add_argument("--runs", type=int, default=1, help="runs of each cell; 0 prints what there is")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no further stack after this long")
    parser.add_argument("--runs-folder", type=Path, default=Path("runs"), help="where each run's evidence stays")
    parser.add_argument("--results", type=Path, default=Path("runs/matrix.jsonl"), help="where rows accumulate")
    given = parser.parse_args()
    known = [stack.name for stack in STACKS]
    names = names_in(given.only) or known
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no stack is called {', '.join(unknown)}; there are {', '.join(known)}")
    given.results.parent.mkdir(parents=True, exist_ok=True)
    rows = load_rows(given.results)
    began = time.monotonic()
    can_run = [name for name in names if not stack_class(name)().lacking_images()]
    for stack, cells in outstanding(can_run, rows, given.runs):
        if given.minutes and time.monotonic() - began > 60 * given.minutes:
            break
        new = run_once(stack, cells, given.cluster_name, given.kubernetes_version, given.runs_folder)
        rows += new
        with given.results.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in new)
    sys.stdout.write(table(names, rows) + "\n")


if __name__ == "__main__":
    main()
