"""`steadyset nightly` on a real cluster: a run to its end, one that is interrupted, one whose process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures.api import connect, models
from steadyset.judge import judge
from steadyset.rundir import RunDir
from steadyset.verdict import Verdict
from steadyset.wait import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root")]
FAULT_DEADLINE_S = 180.0  # until a fault is being injected
END_DEADLINE_S = 240.0
NAMESPACE = "steadyset-probe"


def command(cluster: ClusterInfo, folder: Path, *arguments: str) -> list[str]:
    """nightly with one short suite on that cluster."""
    argv = [sys.executable, "-m", "steadyset", "nightly", "--cluster-name", cluster.name, "--runs", str(folder)]
    return [*argv, "--suite", "identity", *arguments]


def run_below(folder: Path) -> RunDir:
    """The only run in the folder."""
    (path,) = folder.iterdir()
    return RunDir.open(path)


def namespaces(cluster: ClusterInfo) -> set[str]:
    """Names of the namespaces that are there."""
    listed = models().CoreV1Api(connect(cluster)).list_namespace().items
    return {item.metadata.name for item in listed}


def test_a_run_to_its_end(cluster: ClusterInfo, tmp_path: Path) -> None:
    """Exit 0, JSON on stdout alone, every report written, nothing left in the cluster, and the same verdict again."""
    done = subprocess.run(command(cluster, tmp_path, "--json"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    run = run_below(tmp_path)
    assert result["verdict"] == "PASS"
    assert [s["slug"] for s in result["scenarios"]] == ["member-is-killed", "process-is-killed"]
    for name in ("document.json", "index.html", "junit.xml", "run.json"):
        assert (run.path / name).stat().st_size > 0
    assert list((run.path / "allure-results").glob("*-result.json"))
    assert NAMESPACE not in namespaces(cluster)
    again = subprocess.run([sys.executable, "-m", "steadyset", "recheck", str(run.path)], check=False)
    assert again.returncode == 0


def start_until_fault(cluster: ClusterInfo, folder: Path) -> subprocess.Popen[str]:
    """nightly, at the moment when it injects its first fault."""
    log = folder.parent / "log"
    with log.open("w") as out:
        child = subprocess.Popen(command(cluster, folder), stdout=out, stderr=out, text=True, start_new_session=True)
    wait_for(
        lambda: "fault: pod-kill on" in log.read_text() or child.poll() is not None,
        what="a fault is being injected",
        deadline_name="FAULT_DEADLINE_S",
        deadline_s=FAULT_DEADLINE_S,
        describe=log.read_text,
    )
    assert child.poll() is None, log.read_text()
    return child


def evidence(folder: Path) -> Any:
    """The scenario of the run below `folder`, which was cut short, and the verdicts that its evidence gives."""
    run = run_below(folder)
    (scenario,) = run.scenarios()
    return scenario, {j.verdict for j in judge(run, scenario)}


def test_an_interrupt_heals_cleans_and_keeps_the_evidence(cluster: ClusterInfo, tmp_path: Path) -> None:
    """Ctrl-C in a fault: exit 130, no namespace left, and what was recorded can be judged (it proves nothing)."""
    runs = tmp_path / "runs"
    child = start_until_fault(cluster, runs)
    child.send_signal(signal.SIGINT)
    assert child.wait(END_DEADLINE_S) == 130
    scenario, verdicts = evidence(runs)
    assert (scenario.outcome, scenario.reason) == ("error", "interrupted")
    assert Verdict.ERROR not in verdicts
    assert (run_below(runs).path / "index.html").is_file()
    assert NAMESPACE not in namespaces(cluster)


@pytest.mark.slow
def test_a_kill_of_nightly_cleans_as_well(cluster: ClusterInfo, tmp_path: Path) -> None:
    """SIGKILL of the command: the kernel interrupts its pytest, which heals and cleans; the run can be rechecked."""
    runs = tmp_path / "runs"
    child = start_until_fault(cluster, runs)
    child.kill()
    child.wait()
    wait_for(
        lambda: NAMESPACE not in namespaces(cluster),
        what=f"namespace {NAMESPACE} gone",
        deadline_name="END_DEADLINE_S",
        deadline_s=END_DEADLINE_S,
    )
    scenario, verdicts = evidence(runs)
    assert scenario.outcome == "error"
    assert Verdict.ERROR not in verdicts
