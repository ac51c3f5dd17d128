"""Attachment: a volume follows its pod from node to node, and a volume of one node keeps its pod there."""

import shlex
import subprocess

import pytest

from steadyset.fixtures.conformance.volumes import (
    HOSTNAME,
    bound,
    cluster_wide,
    end_pod,
    gone,
    make_claim,
    node_of,
    pod_manifest,
    ready_pod,
    run_pod,
    static_volume,
    unschedulable,
    volume,
)

LOCAL_CLASS = "steadyset-local"  # of the embedded cluster
COMMAND_S = 10.0


@pytest.mark.requirement("STO-ATT-001", "STO-ATT-003")
@pytest.mark.needs("volume-attach")
@pytest.mark.takes(30)
def test_volume_follows_its_pod(space, report):
    """Goal: a volume goes wherever its pod goes, with its data; it is unmounted before it is detached.

    Method: one pod after the other on each of up to three nodes and back on the first, each reads and writes.
    """
    report.judge("rwo-single-node", mounts=space.info.can("node-evidence"))
    nodes = space.nodes(at_least=2)[:3]
    make_claim(space)
    for node in (*nodes, nodes[0]):
        run_pod(space, "web", claim="data", node=node)
        space.data.write("web")
        space.data.read_back()
        end_pod(space, "web")


@pytest.mark.requirement("STO-LOC-001")
@pytest.mark.needs("node-exec")
def test_local_class(space, report):
    """Goal: a volume that only one node reaches keeps its pod there, however often that is replaced.

    Method: a StatefulSet pod on a node-tied class, replaced twice; a pod of its claim that must go elsewhere waits.
    """
    here, there = space.nodes(at_least=2)[:2]
    make_claim(space, storage_class=LOCAL_CLASS)
    run_pod(space, "web", claim="data", node=here)
    space.data.write("web")
    for _ in range(2):
        end_pod(space, "web")
        run_pod(space, "web", claim="data")
        report.promise("the pod is back where its volume is", expected=here, seen=node_of(space, "web"))
    space.create(pod_manifest(space, "other", claim="data", node=there))
    reason = unschedulable(space, "other")
    report.promise("elsewhere it waits, and says why", expected=True, seen="volume" in reason.lower())
    terms = volume(space, bound(space))["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    seen = [e["values"] for t in terms for e in t["matchExpressions"]]
    report.promise("the volume names its node", expected=[[here]], seen=seen)
    space.data.read_back()


@pytest.mark.requirement("STO-LOC-002")
@pytest.mark.needs("node-exec")
def test_local_folder(space, report):
    """Goal: a static `local` volume binds only once a pod wants it, and its pod is scheduled to the volume's node.

    Method: a folder on the last node as a local volume; a pod without a node of its own finds it there, twice.
    """
    node = space.nodes(at_least=2)[-1]
    folder = f"/var/lib/kubelet/{space.name}"
    affinity = {"key": HOSTNAME, "operator": "In", "values": [node]}
    _on(space, node, f"mkdir -m 0777 {shlex.quote(folder)}")
    manifest = {
        "kind": "StorageClass",
        "metadata": {"name": "local"},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    try:
        with (
            cluster_wide(space, manifest) as made,
            static_volume(
                space,
                storageClassName=made["metadata"]["name"],
                local={"path": folder},
                nodeAffinity={"required": {"nodeSelectorTerms": [{"matchExpressions": [affinity]}]}},
            ) as ours,
        ):
            make_claim(space, storage_class=made["metadata"]["name"])
            for _ in range(2):
                space.create(pod_manifest(space, "web", claim="data"))
                ready_pod(space, "web")
                report.promise("the pod is where its volume is", expected=node, seen=node_of(space, "web"))
                space.data.write("web")
                space.data.read_back()
                end_pod(space, "web")
            report.promise("the claim has the volume", expected=ours, seen=bound(space))
            space.delete("PersistentVolumeClaim", "data")
            gone(space, "PersistentVolumeClaim", "data")
    finally:
        _on(space, node, f"rm -rf {shlex.quote(folder)}")


def _on(space, node, command):
    subprocess.run(space.info.node_command(node, ["sh", "-c", command]), check=True, timeout=COMMAND_S)
