"""What the tests of several folders share: an embedded cluster, accounts on it, a real probe process."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures import images
from steadyset.fixtures.images.oci import open_archive
from steadyset.wait import wait_for

OWN_CLUSTER = "testing"
START_S = 10.0
REQUEST_S = 5.0


@pytest.fixture(scope="session")
def cluster_name() -> Iterator[str]:
    """An embedded cluster that is up: the one named by STEADYSET_TEST_CLUSTER, which is kept, or one of our own."""
    if os.geteuid() != 0:
        pytest.skip("needs root for an embedded cluster")
    from steadyset.fixtures.clusters import embedded

    name = os.environ.get("STEADYSET_TEST_CLUSTER", "")
    embedded.ensure_up(name or OWN_CLUSTER)
    yield name or OWN_CLUSTER
    if not name:
        embedded.down(OWN_CLUSTER)


@pytest.fixture(scope="module")
def cluster(cluster_name: str) -> ClusterInfo:
    """The same as it is now: another module's tests may have rebooted a node, which has other processes then."""
    from steadyset.fixtures.clusters import embedded

    return embedded.ensure_up(cluster_name)


@pytest.fixture(scope="module")
def kubectl(cluster: ClusterInfo) -> Callable[..., str]:
    """kubectl as the cluster's administrator: arguments, and text for its standard input; what it printed."""

    def run(*arguments: str, stdin: str = "") -> str:
        argv = [str(Path(cluster.bin_dir) / "kubectl"), "--kubeconfig", cluster.kubeconfig, *arguments]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout

    return run


@pytest.fixture(scope="module")
def kubeconfig_of(
    cluster: ClusterInfo, kubectl: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """A kubeconfig for the cluster of the service account in NAMESPACE that is named ACCOUNT."""

    def write(namespace: str, account: str) -> Path:
        content = yaml.safe_load(Path(cluster.kubeconfig).read_text())
        token = kubectl("-n", namespace, "create", "token", account).strip()
        content["users"][0]["user"] = {"token": token}
        path = tmp_path_factory.mktemp(account) / "kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture(scope="session")
def probe_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe as it is in the image."""
    target = tmp_path_factory.mktemp("probe")
    with open_archive(images.build("probe")) as image:
        layer = image.open(image.path(image.manifest["layers"][0]["digest"]))
        with tarfile.open(fileobj=layer) as content:
            content.extract("probe", target, filter="data")
    (target / "probe").chmod(0o755)
    return target / "probe"


class ProbeProcess:
    """One probe server on loopback."""

    def __init__(self, binary: Path, data: Path, pod: str = "probe-1", port: int = 0, *args: str) -> None:
        # -listen with port 0 lets the kernel choose; the server says which.
        self.process = subprocess.Popen(
            [str(binary), "-listen", f"127.0.0.1:{port}", "-data", str(data), *args],
            env={**os.environ, "POD_NAME": pod, "POD_UID": f"uid-of-{pod}", "NODE_NAME": "node-7"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.banner = self.process.stdout.readline()
        self.port = int(self.banner.rpartition(":")[2] or 0)

    def call(self, method: str, path: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_S)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        return response.status, json.loads(raw) if raw.startswith(b"{") else raw.decode()

    def post(self, path: str) -> Any:
        return self.call("POST", path)[1]

    def get(self, path: str) -> Any:
        return self.call("GET", path)[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def exit_code(self) -> int:
        wait_for(
            lambda: self.process.poll() is not None, what="probe ended", deadline_name="START_S", deadline_s=START_S
        )
        return int(self.process.returncode)

    def stderr(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()


@pytest.fixture
def start_probe(probe_binary: Path) -> Iterator[Callable[..., ProbeProcess]]:
    """Start probes; all are ended with the test."""
    started: list[ProbeProcess] = []

    def start(data: Path, pod: str = "probe-1", port: int = 0, *args: str) -> ProbeProcess:
        started.append(ProbeProcess(probe_binary, data, pod, port, *args))
        return started[-1]

    yield start
    for probe in started:
        probe.kill()
        for stream in (probe.process.stdout, probe.process.stderr):
            if stream is not None:
                stream.close()
