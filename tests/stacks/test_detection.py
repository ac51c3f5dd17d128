"""The benchmarks of detection and of the matrix: their arithmetic, their tables, that they go on where they stopped."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from steadyset.fixtures.stacks import stack_class
from steadyset.judge import rules

ROOT = Path(__file__).parents[2]


def benchmark(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


detection, stack_matrix = benchmark("detection"), benchmark("stack_matrix")


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"),
    [(22, 93, 0.1618, 0.3323), (10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (0, 0, 0.0, 1.0)],
)
def test_wilson(hits: int, runs: int, low: float, high: float) -> None:
    """Values of the closed form, the public lab's 22 of 93 among them."""
    assert detection.wilson(hits, runs) == pytest.approx((low, high), abs=5e-4)


def test_every_defect_is_a_control_of_its_variant() -> None:
    """The control exists, is marked with the variant, and expects the rule that the table names."""
    for defect in detection.DEFECTS:
        assert defect.variant in stack_class(defect.stack).variants
        assert defect.rule in rules()
        source = ast.parse((ROOT / "suites" / "negative" / f"test_{defect.stack}.py").read_text())
        (control,) = [f for f in source.body if isinstance(f, ast.FunctionDef) and f.name == defect.test]
        text = ast.unparse(control)
        assert f"mark.variant('{defect.variant}')" in text, defect.name
        assert f"report.expect('FAIL', rule='{defect.rule}')" in text, defect.name


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What is in the file is not run again; every defect gets its next seed before any gets the one after."""
    one, two = detection.DEFECTS[:2]
    file = tmp_path / "results.jsonl"
    done = [detection.Result(one.name, 1, False, 60.0, {one.rule: "FAIL"})]
    file.write_text("".join(json.dumps(result._asdict()) + "\n" for result in done))
    left = list(detection.outstanding((one, two), detection.load_results(file), 2))
    assert left[:3] == [(one, 1, True), (two, 1, False), (two, 1, True)]
    assert len(left) == 7


def test_what_counts_as_detected() -> None:
    """Only a FAIL by the rule that names the harm; on a correct configuration any FAIL is a false alarm."""
    defect = detection.DEFECTS[0]
    verdicts = [
        (False, {defect.rule: "FAIL"}),
        (False, {defect.rule: "PASS", "split-brain": "FAIL"}),
        (False, {}),
        (True, {defect.rule: "PASS"}),
        (True, {defect.rule: "PASS", "split-brain": "FAIL"}),
        (True, {defect.rule: "INVALID"}),
    ]
    results = [detection.Result(defect.name, n, corrected, 1.0, found) for n, (corrected, found) in enumerate(verdicts)]
    (row,) = detection.summarise(detection.DEFECTS, results)
    assert (row.detected, row.runs, row.false_alarms, row.clean_runs, row.unjudged) == (1, 3, 1, 3, 2)
    assert "1/3" in detection.table([row])


def row(cell: str, verdict: str, away: float | None = None, lost: int = 0) -> dict[str, Any]:
    harms = {"lost": lost, "borne": lost, "duplicated": 0, "reordered": None}
    return {"stack": "redis", "cell": cell, "verdict": verdict, "without_acks_s": away, **harms}


def test_the_matrix_goes_on_where_it_stopped() -> None:
    """Cells that have been run are left out, and every stack gets its next run before any gets the one after."""
    cells = stack_matrix.cells_of("redis")
    assert len(stack_matrix.cells_of("probe")) == len(cells) - 2  # members that know nothing of each other
    done = [row("kill-all", "PASS")]
    (first, left), (second, whole), (third, again), _ = stack_matrix.outstanding(["redis", "kafka"], done, 2)
    assert (first, second, third) == ("redis", "kafka", "redis")
    assert set(cells) - set(left) == {"kill-all"}
    assert whole == cells
    assert again == cells


def test_the_matrix_tells_every_verdict() -> None:
    """Runs that did not pass are named; the longest silence is that of all runs; what cannot be run says so."""
    rows = [row("kill-all", "PASS", 2.5), row("kill-all", "INVALID", 7.25), row("halves", "PASS", lost=9)]
    redis, stolon = stack_matrix.table(["redis", "stolon"], rows).splitlines()[2:]
    assert "| 1/2, 1 INVALID, 7.2 s |" in redis
    assert "| 1/1, 9 lost, 9 of them as granted |" in redis
    assert redis.count("| - ") == 8
    assert "*not tested*" in stolon
