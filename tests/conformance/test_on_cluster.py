"""`steadyset conformance` on a real cluster: to its end with a negative control, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from steadyset.chaos.kube import Kube
from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures.conformance.space import RUN_LABEL
from steadyset.rundir import RunDir
from steadyset.wait import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root")]
STARTED_DEADLINE_S = 120.0  # until a test has a namespace
END_DEADLINE_S = 180.0


def command(cluster: ClusterInfo, folder: Path, *arguments: str) -> list[str]:
    argv = [sys.executable, "-m", "steadyset", "conformance", "--cluster-name", cluster.name, "--runs", str(folder)]
    return [*argv, "--workers", "2", *arguments]


def namespaces(cluster: ClusterInfo) -> list[str]:
    """Namespaces of conformance runs."""
    return [found["metadata"]["name"] for found in Kube(cluster).items("/api/v1/namespaces", labelSelector=RUN_LABEL)]


def test_a_run_to_its_end(cluster: ClusterInfo, tmp_path: Path) -> None:
    """A promise that holds, a control that is found, both judged again offline, and no namespace left."""
    tests = "test_scaling_is_ordered,test_a_rogue_creates"
    argv = command(cluster, tmp_path, "--only", "STS-ORD-001", "--tests", tests, "--controls", "--json")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert {s["slug"]: (s["verdict"], s["judgements"]["ordered-recovery"]) for s in result["scenarios"]} == {
        "a-rogue-creates-a-pod-too-early": ("PASS", "FAIL"),
        "scaling-is-ordered-and-halts": ("PASS", "PASS"),
    }
    assert "2/2 tests, 0 failed" in done.stderr
    assert namespaces(cluster) == []
    run = RunDir.open(Path(result["run"]))
    assert "STS-ORD-001" in (run.path / "junit.xml").read_text()
    assert "STS-ORD-001" in (run.path / "index.html").read_text()
    again = subprocess.run([sys.executable, "-m", "steadyset", "recheck", result["run"]], check=False)
    assert again.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_removes_the_namespaces(cluster: ClusterInfo, tmp_path: Path, number: signal.Signals) -> None:
    """Exit 130, nothing left, and the run is there to be looked at."""
    child = subprocess.Popen(command(cluster, tmp_path, "--suite", "ordering"), start_new_session=True)
    wait_for(
        lambda: namespaces(cluster) or child.poll() is not None,
        what="a test runs",
        deadline_name="STARTED_DEADLINE_S",
        deadline_s=STARTED_DEADLINE_S,
    )
    child.send_signal(number)
    assert child.wait(END_DEADLINE_S) == 130
    assert namespaces(cluster) == []
    (run,) = [RunDir.open(path) for path in tmp_path.iterdir()]
    assert (run.path / "index.html").is_file()
    assert all(s.outcome in ("error", "passed", "skipped") for s in run.scenarios())
