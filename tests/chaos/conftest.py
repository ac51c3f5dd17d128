"""What the tests of faults share: throw-away network namespaces, and an embedded cluster's file."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from steadyset.chaos.blast import ALLOWED, OPT_IN, VARIABLE
from steadyset.chaos.kube import Kube, is_ready, uid_of
from steadyset.chaos.netpath import Place
from steadyset.chaos.reach import Here
from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures import images
from steadyset.rundir import RunDir
from steadyset.wait import wait_for

READY_DEADLINE_S = 60.0


@pytest.fixture
def places() -> Iterator[tuple[Place, Place]]:
    """Two network namespaces joined by a veth pair, as places."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    tag = secrets.token_hex(3)
    names = [f"sst-{tag}-{side}" for side in "ab"]
    ip = ["ip", "-batch", "-"]
    lines = [f"netns add {n}" for n in names]
    lines.append(f"link add va{tag} netns {names[0]} type veth peer name vb{tag} netns {names[1]}")
    for name, link, address in zip(names, (f"va{tag}", f"vb{tag}"), ("10.99.99.1", "10.99.99.2"), strict=True):
        lines += [f"-n {name} addr add {address}/30 dev {link}", f"-n {name} link set {link} up"]
    try:
        subprocess.run(ip, input="\n".join(line for line in lines if not line.startswith("-n")), text=True, check=True)
        for line in lines:
            if line.startswith("-n"):
                subprocess.run(["ip", *line.split()], check=True)
        yield (
            Place(name="a", address="10.99.99.1", net=f"name:{names[0]}", reach=Here()),
            Place(name="b", address="10.99.99.2", net=f"name:{names[1]}", reach=Here()),
        )
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture(scope="session")
def cluster(cluster_name: str) -> ClusterInfo:
    """The same for all of these tests, which look up what a fault may have changed."""
    from steadyset.fixtures.clusters import embedded

    return embedded.ensure_up(cluster_name)


@pytest.fixture(scope="session")
def kube(cluster: ClusterInfo) -> Kube:
    """A client of the cluster."""
    return Kube(cluster)


@pytest.fixture(scope="session")
def namespace(cluster: ClusterInfo, kube: Kube) -> Iterator[str]:
    """A namespace with a StatefulSet `member` of three Ready pods with a claim each."""
    name = f"chaos-{secrets.token_hex(3)}"
    kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": {OPT_IN: ALLOWED}}})
    bases = {"Service": "api/v1", "PodDisruptionBudget": "apis/policy/v1", "StatefulSet": "apis/apps/v1"}
    text = (Path(__file__).parent / "workload.yaml").read_text().replace("IMAGE", images.reference("probe"))
    try:
        for obj in yaml.safe_load_all(text):
            kube.request("POST", f"/{bases[obj['kind']]}/namespaces/{name}/{obj['kind'].lower()}s", obj)
        wait_all_ready(kube, name)
        yield name
    finally:
        kube.request("DELETE", f"/api/v1/namespaces/{name}")
    wait_for(
        lambda: kube.get(f"/api/v1/namespaces/{name}") is None,
        what=f"namespace {name} gone",
        deadline_name="namespace_gone",
        deadline_s=READY_DEADLINE_S,
    )


@pytest.fixture
def ready(kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The namespace, once all of its members are Ready. After a drain two of them may share a node: no cap on pods."""
    monkeypatch.setenv(f"{VARIABLE}MAX_PODS", "all")
    wait_all_ready(kube, namespace)
    return namespace


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    """A run's folder."""
    return RunDir.create(tmp_path, {}, "run")


def wait_all_ready(kube: Kube, namespace: str) -> None:
    """Until member-0, member-1 and member-2 are Ready."""
    wait_for(
        lambda: sum(is_ready(p) for p in kube.pods(namespace, labelSelector="app=member")) == 3,
        what="three members Ready",
        deadline_name="members_ready",
        deadline_s=READY_DEADLINE_S,
        describe=lambda: "\n".join(see_pod(kube, namespace, pod) for pod in kube.pods(namespace)),
    )


def see_pod(kube: Kube, namespace: str, pod: dict[str, Any]) -> str:
    """For errors: where a pod is, what it waits for, and its last events."""
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    if is_ready(pod):
        return f"{name}: Ready"
    waits = [c.get("message", "") for c in status.get("conditions", []) if c["status"] != "True"]
    states = [s.get("state") for s in status.get("containerStatuses", [])]
    events = kube.items(f"/api/v1/namespaces/{namespace}/events", fieldSelector=f"involvedObject.uid={uid_of(pod)}")
    happened = [f"{e.get('reason')}: {e.get('message')} ({e.get('lastTimestamp')})" for e in events[-5:]]
    where = pod["spec"].get("nodeName", "no node")
    return f"{name} on {where}: {status.get('phase')}; waits {waits}; containers {states}; events {happened}"
