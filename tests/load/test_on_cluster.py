"""Load shared by several Locust processes on a real cluster: in the client namespace, and as a Job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures.api import connect, models
from steadyset.fixtures.loadjob import NAMESPACE
from steadyset.history import load_history
from steadyset.rundir import RunDir
from steadyset.wait import wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root"),
]
PORT = 18089
PAGE_S = 180.0


def nightly(cluster: ClusterInfo, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """One short suite on that cluster."""
    argv = [
        sys.executable,
        "-m",
        "steadyset",
        "nightly",
        "--cluster-name",
        cluster.name,
        "--runs",
        str(folder),
        "--json",
    ]
    argv += ["--suite", "identity", *arguments]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=(folder.parent / "log").open("w"), text=True)


def result_of(child: subprocess.Popen[str], folder: Path) -> dict[str, Any]:
    """What it printed; its log where it did not end with 0."""
    out, _ = child.communicate()
    assert child.returncode == 0, (folder.parent / "log").read_text()[-4000:]
    found: dict[str, Any] = json.loads(out)
    return found


def test_workers_in_the_cluster(cluster: ClusterInfo, tmp_path: Path) -> None:
    """PASS; each history bears its clock's measured uncertainty, which the one kernel under all proves right."""
    folder = tmp_path / "runs"
    result = result_of(nightly(cluster, folder, "--workers-in-cluster", "2"), folder)
    assert {s["verdict"] for s in result["scenarios"]} == {"PASS"}
    run = RunDir.open(Path(result["run"]))
    for scenario in run.scenarios():
        history = load_history(run.path / scenario.histories[0])
        uncertain = {g.name: g.clock_uncertainty_ns for g in history.generators}
        assert set(uncertain) == {"cluster-1", "cluster-2", "final-1"}
        assert history.complete
        assert 0 < uncertain["cluster-1"] < 500_000_000
    said = [line for line in (tmp_path / "log").read_text().splitlines() if "its clock is" in line]
    assert len(said) == 4
    for line in said:  # "… its clock is 0.123 ms ahead, give or take 4.567 ms"
        words = line.split()
        ahead, uncertainty = float(words[words.index("is") + 1]), float(words[words.index("take") + 1])
        assert abs(ahead) <= uncertainty, line
    names = [item.metadata.name for item in models().CoreV1Api(connect(cluster)).list_namespace().items]
    assert NAMESPACE not in names


def test_several_workers_and_locusts_pages(cluster: ClusterInfo, tmp_path: Path) -> None:
    """The pages are on this machine's loopback, though the workers are in the client namespace."""
    folder = tmp_path / "runs"
    arguments = ("--load-workers", "2", "--load-web-ui", str(PORT), "--load-shape", "spike", "--load-seconds", "25")
    child = nightly(cluster, folder, "--faults", "kill", *arguments)

    def page() -> bytes:
        try:
            with closing(urllib.request.urlopen(f"http://127.0.0.1:{PORT}/stats/requests")) as answer:
                return bytes(answer.read())
        except OSError:
            return b""

    wait_for(lambda: b'"user_count"' in page(), what="Locust's page", deadline_name="PAGE_S", deadline_s=PAGE_S)
    result = result_of(child, folder)
    assert {s["verdict"] for s in result["scenarios"]} == {"PASS"}
    run = RunDir.open(Path(result["run"]))
    for scenario in run.scenarios():
        assert (run.path / scenario.histories[0] / "locust.html").is_file()
        assert f"{scenario.histories[0]}/locust.html" in (run.path / "index.html").read_text()
    assert run.params()["load"] == {"shape": "spike", "seconds": 25.0, "workers": 2, "web_ui": PORT, "in_cluster": 0}
