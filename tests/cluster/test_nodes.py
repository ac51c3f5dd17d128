"""Nodes of an embedded cluster: power, freeze, cable, joining; with a pod's volume as the witness."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest

from steadyset.fixtures.clusters.embedded import cluster as clusters
from steadyset.fixtures.clusters.embedded import mounts, operations
from steadyset.wait import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root")]

NAME = "nodetest"
READY_S = 60.0
CONNECT_S = 2.0
MOVED_S = 90.0  # fast profile: not ready after 20 s, then the out-of-service taint


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of our own, since power is pulled."""
    clusters.ensure_up(name=NAME, nodes=2)
    yield clusters.Cluster.get(NAME)
    clusters.down(NAME)


@pytest.fixture(scope="module")
def api(cluster):
    """The API as administrator."""
    return cluster.api()


def ready(api, name):
    """Whether the node is Ready."""
    node = api.request("GET", f"/api/v1/nodes/{name}")
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])


def until(condition, what, deadline_s=READY_S):
    """Wait on a condition; a failure shows the cluster's pods and events."""

    def scene():
        kubectl = clusters.Cluster.get(NAME).layout.bin / "kubectl"
        config = clusters.Cluster.get(NAME).layout.root / "admin.kubeconfig"
        wanted = (["get", "pods,volumeattachments", "-Ao", "wide"], ["get", "events", "--sort-by=.lastTimestamp"])
        runs = [[str(kubectl), f"--kubeconfig={config}", *argv] for argv in wanted]
        return "\n".join(subprocess.run(r, text=True, capture_output=True, check=False).stdout[-3000:] for r in runs)

    return wait_for(condition, what=what, deadline_name="READY_S", deadline_s=deadline_s, poll_s=0.2, describe=scene)


def claim_and_pod(node):
    """A claim, and a pod on `node` that keeps it mounted (its image is pause)."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "witness", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "32Mi"}}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "witness", "namespace": "default"},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "main",
                    "image": "steadyset.local/pause:1",
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "witness"}}],
        },
    }
    return claim, pod


def running(api):
    """The witness pod once it runs."""
    pod = api.request("GET", "/api/v1/namespaces/default/pods/witness")
    return pod if pod and pod.get("status", {}).get("phase") == "Running" else None


def mount_of(cluster, node):
    """The witness volume's mount point on a node."""
    points = [p for p, _ in mounts.mount_points(cluster.node(node).init_pid(), mounts.CSI)]
    assert len(points) == 1
    return points[0]


def shell(cluster, node, script):
    """Run a script inside a node."""
    argv = operations.command_in(cluster, node, ["sh", "-c", script])
    return subprocess.run(argv, text=True, capture_output=True, check=True).stdout


def kubelet_answers(address):
    """Whether a TCP connection to the node's kubelet can be opened from the host."""
    try:
        with socket.create_connection((address, 10250), timeout=CONNECT_S):
            return True
    except OSError:
        return False


def test_pulled_plug_loses_what_was_not_synced_and_the_volume_follows(cluster, api):
    """Goal: `node off` is a real power cut: synced data survives on another node, unsynced data is gone."""
    claim, pod = claim_and_pod("node-1")
    api.apply(claim)
    api.apply(pod)
    until(lambda: running(api), "witness runs on node-1")
    folder = mount_of(cluster, "node-1")
    shell(cluster, "node-1", f"echo synced > {folder}/synced; sync; echo unsynced > {folder}/unsynced")
    boot_before = api.request("GET", "/api/v1/nodes/node-1")["status"]["nodeInfo"]["bootID"]

    operations.act(NAME, "off", "node-1")
    assert cluster.node("node-1").init_pid() == 0
    until(lambda: not ready(api, "node-1"), "node-1 NotReady", MOVED_S)
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    patch = {"spec": {"taints": [taint]}}
    api.request("PATCH", "/api/v1/nodes/node-1", patch, "application/merge-patch+json")
    until(lambda: not api.request("GET", "/api/v1/namespaces/default/pods/witness"), "witness gone", MOVED_S)
    _, moved = claim_and_pod("node-2")
    api.apply(moved)
    until(lambda: running(api), "witness runs on node-2", MOVED_S)
    folder = mount_of(cluster, "node-2")
    assert shell(cluster, "node-2", f"cat {folder}/synced") == "synced\n"
    assert shell(cluster, "node-2", f"ls {folder}").split() == ["lost+found", "synced"]

    operations.act(NAME, "on", "node-1")
    untaint = {"spec": {"taints": None}}
    api.request("PATCH", "/api/v1/nodes/node-1", untaint, "application/merge-patch+json")
    until(lambda: ready(api, "node-1"), "node-1 Ready again")
    assert api.request("GET", "/api/v1/nodes/node-1")["status"]["nodeInfo"]["bootID"] != boot_before


def test_frozen_node_answers_no_more_until_thawed(cluster, api):
    """Goal: `node freeze` stops kubelet (its lease ages), `thaw` lets it go on; `down` of a frozen node works."""
    operations.act(NAME, "freeze", "node-2")
    assert operations.summary(cluster)["nodes"]["node-2"] == "frozen"
    until(lambda: not ready(api, "node-2"), "node-2 NotReady", MOVED_S)
    operations.act(NAME, "thaw", "node-2")
    until(lambda: ready(api, "node-2"), "node-2 Ready again")


def test_cut_node_comes_back_with_its_routes(cluster, api):
    """Goal: a pulled cable cuts the node from the API server; plugged in, pods of other nodes are reachable again."""
    operations.act(NAME, "cut", "node-1")
    assert kubelet_answers(cluster.node("node-1").address) is False
    operations.act(NAME, "uncut", "node-1")
    assert kubelet_answers(cluster.node("node-1").address) is True
    routes = shell(cluster, "node-1", "ip route")
    assert cluster.layout.node_pod_cidr(2) in routes
    assert "default via" in routes


def test_node_joins_and_leaves(cluster, api):
    """Goal: `node join` adds a node that becomes Ready and is routed to; a node that leaves takes everything along."""
    assert operations.join(NAME) == "node-3"
    assert ready(api, "node-3")
    joined = clusters.Cluster.get(NAME)
    assert cluster.layout.node_pod_cidr(3) in shell(joined, "node-1", "ip route")
    root = joined.node("node-3").root
    operations.leave(NAME, "node-3")
    assert api.request("GET", "/api/v1/nodes/node-3") is None
    assert clusters.Cluster.get(NAME).spec.nodes == [1, 2]
    assert not root.exists()
    assert cluster.layout.node_pod_cidr(3) not in shell(clusters.Cluster.get(NAME), "node-1", "ip route")
