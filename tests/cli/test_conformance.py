"""`steadyset conformance` before it reaches a cluster: what it refuses, and what it would run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from steadyset.cli import conformance, nightly
from steadyset.clusterinfo import ClusterInfo, NodeInfo
from steadyset.errors import UsageError
from steadyset.fixtures.session import Options
from steadyset.rundir import RunDir

GIVEN: dict[str, Any] = {"tier": "quick", "only": "STS-ORD-001", "not_these": "", "tests": "", "controls": False}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "STS-NO-001"], "no requirement is called STS-NO-001"),
        (["--skip", "nothing-*"], "no requirement is called nothing-"),
        (["--suite", "nowhere"], "no suite is called nowhere"),
        (["--workers", "-1"], "--workers is negative"),
    ],
)
def test_bad_input_is_refused_before_anything_is_done(
    flags: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nightly, "bring_up", lambda _options: pytest.fail("a cluster was asked for"))
    runs = tmp_path / "runs"
    result = CliRunner().invoke(conformance.command, [*flags, "--runs", str(runs)], standalone_mode=False)
    assert isinstance(result.exception, UsageError), result.output
    assert message in str(result.exception)
    assert not runs.exists()


def test_the_two_passes(tmp_path: Path) -> None:
    """Parallel tests are distributed; disruptive ones run one at a time; controls only when asked for."""
    run = RunDir.create(tmp_path, {})
    options = Options(cluster_file="c.json", trace_file="1:t", seed=7)
    base, files = Path("suites"), ["ordering/test_it.py"]
    parallel = conformance.pytest_argv(options, run, base, files, GIVEN, "not disruptive", 4)
    alone = conformance.pytest_argv(options, run, base, files, {**GIVEN, "controls": True}, "disruptive", 0)
    assert parallel[parallel.index("-n") + 1] == "4"
    assert "-n" not in alone
    assert parallel[parallel.index("--only") + 1] == "STS-ORD-001"
    assert "requirement and not disruptive and not control" in parallel
    assert "requirement and disruptive" in alone
    assert "--not-these" not in parallel
    assert parallel[-1] == "suites/ordering/test_it.py"


def test_workers_follow_the_size_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance.os, "cpu_count", lambda: 2)
    embedded = ClusterInfo(name="c", provider="embedded", kubeconfig="k")
    assert conformance.workers_for(embedded, 60) == 6
    assert [conformance.workers_for(embedded, tests) for tests in (0, 1, 2, 8)] == [1, 1, 1, 4]
    nodes = [NodeInfo(name=f"n{i}", address="") for i in range(20)]
    assert conformance.workers_for(ClusterInfo(name="c", provider="kubeconfig", kubeconfig="k", nodes=nodes), 60) == 12


def test_the_choice_of_tests() -> None:
    """By folder, requirement, name, tier, and with or without controls; nothing is no choice."""
    suites = nightly.suite_paths("ordering,negative")
    given = {"only": "STS-ORD-001,STS-ORD-011", "tests": "", "controls": False, "tier": "full"}
    names = [test.function for test in conformance.choose(suites, given)]
    assert names == ["test_two_hundred_at_once", "test_scaling_is_ordered_and_halts"]
    quick = conformance.choose(suites, {**given, "tier": "quick", "controls": True})
    assert {test.function for test in quick} >= {
        "test_scaling_is_ordered_and_halts",
        "test_a_rogue_creates_a_pod_too_early",
    }
    assert "test_two_hundred_at_once" not in {test.function for test in quick}
    with pytest.raises(UsageError, match="no conformance test fits"):
        conformance.choose(suites, {**given, "tests": "nothing_is_called_so"})


def test_nightly_leaves_conformance_tests_out(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, {})
    argv = nightly.pytest_argv(Options(cluster_file="c"), run, ["suites/ordering"], [], controls=True)
    assert argv[argv.index("-m", 3) + 1] == "not requirement"
