"""An image pushed to a real registry (the distribution project's) is what a cluster given by kubeconfig pulls."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures import images
from steadyset.fixtures.clusters import embedded
from steadyset.fixtures.clusters.embedded.cluster import Cluster
from steadyset.wait import wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root"),
    pytest.mark.skipif(shutil.which("docker-registry") is None, reason="needs docker-registry (apt-get install it)"),
]
OWN_CLUSTER = "pushtest"
PORT = 5000
REGISTRY_READY_S = 10.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterInfo]:
    """A cluster of our own, without our images: whatever runs on it was pulled."""
    yield embedded.ensure_up(OWN_CLUSTER)
    embedded.down(OWN_CLUSTER)


@pytest.fixture
def registry(cluster: ClusterInfo, tmp_path: Path) -> Iterator[str]:
    """HOST:PORT of a registry on the cluster's bridge, by plain HTTP."""
    layout = Cluster.get(OWN_CLUSTER).layout
    host = f"{layout.bridge_address}:{PORT}"
    config: dict[str, Any] = {"version": 0.1, "http": {"addr": host}, "log": {"level": "info"}}
    config["storage"] = {"filesystem": {"rootdirectory": str(tmp_path / "blobs")}}
    (tmp_path / "config.yml").write_text(yaml.safe_dump(config))
    hosts = layout.registry_hosts / host
    hosts.mkdir(parents=True, exist_ok=True)
    (hosts / "hosts.toml").write_text(f'[host."http://{host}"]\n  capabilities = ["pull", "resolve"]\n')
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            ["docker-registry", "serve", str(tmp_path / "config.yml")], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_for(
            lambda: _answers(f"http://{host}/v2/"),
            what="the registry",
            deadline_name="REGISTRY_READY_S",
            deadline_s=REGISTRY_READY_S,
            describe=lambda: (tmp_path / "log").read_text()[-2000:],
        )
        yield host
    finally:
        server.terminate()
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def steadyset(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a user gives it."""
    return subprocess.run([sys.executable, "-m", "steadyset", *arguments], capture_output=True, text=True, check=False)


def test_what_was_pushed_is_pulled(
    cluster: ClusterInfo, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`images push`, then a suite with the same --registry: its pods run the digest that the push printed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    prefix = f"{registry}/team"
    pushed = steadyset("images", "push", "probe", "--registry", prefix, "--insecure", "--json")
    assert pushed.returncode == 0, pushed.stderr
    ((reference, digest),) = msgspec.json.decode(pushed.stdout).items()
    assert reference == images.reference("probe", prefix)

    run = steadyset(
        "nightly", "--stack", "probe", "--suite", "identity", "--kubeconfig", cluster.kubeconfig,
        "--confirm-uid", cluster.uid, "--registry", prefix, "--runs", str(tmp_path / "runs"), "--json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert "PASS" in {scenario["verdict"] for scenario in msgspec.json.decode(run.stdout)["scenarios"]}
    traces = [trace.read_text() for trace in (tmp_path / "runs").glob("*/trace/*.jsonl")]
    ran = {image for trace in traces for image in re.findall(r'"imageID":"([^"]+)"', trace)}
    assert f"{prefix}/probe@{digest}" in ran
