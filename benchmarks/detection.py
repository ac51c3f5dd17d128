"""How surely known defects are found: seeded runs of each, beside the correct configuration under the same schedule.

    python benchmarks/detection.py --cluster-name NAME [--only galera/no-flush,…] [--runs 10] [--minutes 8]

A run deploys the stack anew, drives load, breaks it and judges: one negative control of suites/negative. Results
accumulate in --results, so that it can be stopped and started again (detection-results.jsonl beside this file has
those so far). Prints detected/N with a 95 % interval (Wilson 1927) beside the false alarms of the corrected runs. The
named peer: a public lab that found one of these defects in 22 of 93 runs of five minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import steadyset
from steadyset.fixtures.clusters import embedded
from steadyset.fixtures.stacks import stack_class
from steadyset.names import names_in
from steadyset.rundir import RunDir

RUN_MAX_S = 180.0  # from the deployment to the judgement; a run beyond it has found nothing
END_MAX_S = 120.0  # from its interruption until it has cleaned up
Z = 1.959964  # 95 %
SUITE = Path(steadyset.__file__).parent / "suites" / "negative"


class Defect(NamedTuple):
    """A mis-configuration (a variant of a stack), the control that provokes it, and the rule that must name it."""

    stack: str
    variant: str
    fault: str
    test: str
    rule: str

    @property
    def name(self) -> str:
        """By what it is selected."""
        return f"{self.stack}/{self.variant}"

    @property
    def node(self) -> str:
        """The control as pytest names it."""
        return f"{SUITE.resolve() / f'test_{self.stack}.py'}::{self.test}"


DEFECTS = (
    Defect("probe", "emptydir", "kill", "test_emptydir_poses_as_a_volume", "pvc-retention"),
    Defect("probe", "claims-deleted", "scale to none", "test_claims_go_with_members_scaled_away", "pvc-retention"),
    Defect("probe", "parallel", "scale to none", "test_parallel_poses_as_ordered", "ordered-recovery"),
    Defect("probe", "no-service", "none", "test_nobody_made_the_headless_service", "stable-identity"),
    Defect(
        "postgresql",
        "async",
        "partition of the primary",
        "test_asynchronous_replication_under_partition",
        "set-durability",
    ),
    Defect("postgresql", "replica-reads", "none", "test_reads_from_a_lagging_replica", "linearizable-register"),
    Defect(
        "redis",
        "no-min-replicas",
        "partition",
        "test_primary_that_needs_no_replicas_under_partition",
        "set-durability",
    ),
    Defect("rabbitmq", "ignore-partitions", "partition", "test_mirrors_that_ignore_a_partition", "durable-log"),
    Defect("galera", "no-flush", "crash of all", "test_crash_of_all_members_before_a_flush", "set-durability"),
    Defect("galera", "ignore-sb", "partition", "test_halves_that_ignore_a_split_brain", "split-brain"),
    Defect("galera", "repeatable-read", "none", "test_updates_of_what_a_snapshot_never_saw", "linearizable-register"),
    Defect("kafka", "unclean", "partition of the leader", "test_one_acknowledgement_under_partition", "durable-log"),
)


class Result(NamedTuple):
    """One run. `verdicts` are by rule; none when it was not judged, and `error` says why."""

    defect: str
    seed: int
    corrected: bool
    seconds: float
    verdicts: dict[str, str]
    error: str = ""


class Row(NamedTuple):
    """What all runs of one defect say."""

    defect: Defect
    detected: int
    runs: int
    low: float
    high: float
    false_alarms: int
    clean_runs: int
    unjudged: int  # invalid or broken runs of either kind


def wilson(hits: int, runs: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) without runs."""
    if not runs:
        return 0.0, 1.0
    share, weight = hits / runs, Z * Z / runs
    middle, half = share + weight / 2, Z * math.sqrt(share * (1 - share) / runs + weight / (4 * runs))
    return (middle - half) / (1 + weight), (middle + half) / (1 + weight)


def summarise(defects: Sequence[Defect], results: Sequence[Result]) -> list[Row]:
    """One row per defect that was run. A run that was not judged is counted as not detected."""
    rows = []
    for defect in defects:
        own = [result for result in results if result.defect == defect.name]
        broken, clean = ([r for r in own if r.corrected is corrected] for corrected in (False, True))
        if not own:
            continue
        detected = sum(result.verdicts.get(defect.rule) == "FAIL" for result in broken)
        low, high = wilson(detected, len(broken))
        alarms = sum("FAIL" in result.verdicts.values() for result in clean)
        unjudged = sum(not r.verdicts or bool({"INVALID", "ERROR"} & set(r.verdicts.values())) for r in own)
        rows.append(Row(defect, detected, len(broken), low, high, alarms, len(clean), unjudged))
    return rows


def load_results(path: Path) -> list[Result]:
    """The results so far."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return [Result(**json.loads(line)) for line in lines if line.strip()]


def outstanding(defects: Sequence[Defect], done: Sequence[Result], runs: int) -> Iterator[tuple[Defect, int, bool]]:
    """What is still to be run, seed by seed, so that every defect has about as many runs whenever it is stopped."""
    have = {(result.defect, result.seed, result.corrected) for result in done}
    for seed in range(1, runs + 1):
        for defect in defects:
            for corrected in (False, True):
                if (defect.name, seed, corrected) not in have:
                    yield defect, seed, corrected


def run_once(cluster_file: str, defect: Defect, seed: int, corrected: bool, folder: Path) -> Result:
    """Deploy, break, judge; the run's evidence lies in `folder`."""
    argv = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(SUITE.resolve().parent), "-q"]
    argv += ["--import-mode=importlib", "-p", "no:cacheprovider", "--run-dir", str(folder), defect.node]
    argv += ["--cluster-file", cluster_file, "--stack", defect.stack, "--seed", str(seed)]
    argv += ["--corrected"] if corrected else []
    started = time.monotonic()
    child = subprocess.Popen([*argv, "--parent", str(os.getpid())], stdout=sys.stderr, start_new_session=True)
    error = ""
    try:
        child.wait(RUN_MAX_S)
    except subprocess.TimeoutExpired:
        error = f"took longer than {RUN_MAX_S:g} s"
        child.send_signal(signal.SIGINT)
        try:
            child.wait(END_MAX_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    seconds = round(time.monotonic() - started, 1)
    scenarios = RunDir.open(folder).scenarios() if (folder / "run.json").is_file() else []
    if error or not scenarios:
        return Result(defect.name, seed, corrected, seconds, {}, error or "no scenario was written")
    verdicts = {judgement.rule: str(judgement.verdict) for judgement in scenarios[0].judgements}
    return Result(defect.name, seed, corrected, seconds, verdicts, scenarios[0].reason)


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [
        f"{'defect':28}{'fault':26}{'found by':24}{'detected':>10}  {'95 %':13}{'false alarms':>13}{'unjudged':>10}"
    ]
    for row in rows:
        interval = f"{row.low:.0%} to {row.high:.0%}"
        lines.append(
            f"{row.defect.name:28}{row.defect.fault:26}{row.defect.rule:24}{f'{row.detected}/{row.runs}':>10}  "
            f"{interval:13}{f'{row.false_alarms}/{row.clean_runs}':>13}{row.unjudged:>10}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run what is outstanding within the budget, then print the table of everything so far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster-name", default="default", help="embedded cluster, brought up when it is not")
    parser.add_argument("--only", default="", help="comma-separated defects, as stack/variant")
    parser.add_argument("--runs", type=int, default=10, help="seeded runs of each, and as many corrected ones")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no further run after this long")
    parser.add_argument("--results", type=Path, default=Path("runs/detection.jsonl"), help="where results accumulate")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    given = parser.parse_args()
    names = names_in(given.only)
    known = [defect.name for defect in DEFECTS]
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no defect is called {', '.join(unknown)}; there are {', '.join(known)}")
    defects = [defect for defect in DEFECTS if not names or defect.name in names]
    given.results.parent.mkdir(parents=True, exist_ok=True)
    results = load_results(given.results)
    todo = list(outstanding(defects, results, given.runs))
    began = time.monotonic()
    if todo:
        images = {
            name
            for defect, _, corrected in todo
            for name in stack_class(defect.stack)().images_of("" if corrected else defect.variant)
        }
        info = embedded.ensure_up(given.cluster_name, image_names=("probe", *sorted(images - {"probe"})))
        for number, (defect, seed, corrected) in enumerate(todo, 1):
            if given.minutes and time.monotonic() - began > 60 * given.minutes:
                break
            kind = "corrected" if corrected else "defective"
            sys.stderr.write(f"{number}/{len(todo)} {defect.name} seed {seed}, {kind}\n")
            with tempfile.TemporaryDirectory(prefix="steadyset-detection-") as scratch:
                result = run_once(info.path, defect, seed, corrected, Path(scratch) / "run")
            results.append(result)
            with given.results.open("a") as file:
                file.write(json.dumps(result._asdict()) + "\n")
            sys.stderr.write(f"  {result.verdicts or result.error} after {result.seconds} s\n")
    rows = summarise(defects, results)
    as_json = json.dumps([{**row._asdict(), "defect": row.defect.name} for row in rows], indent=1)
    sys.stdout.write((as_json if given.json else table(rows)) + "\n")


if __name__ == "__main__":
    main()
