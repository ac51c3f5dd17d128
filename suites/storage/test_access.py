"""Access modes: how many nodes and pods may have a volume, and what is refused."""

import pytest

from steadyset.chaos.kube import is_ready
from steadyset.fixtures.conformance.volumes import (
    ROX,
    RWOP,
    RWX,
    bound,
    class_like,
    class_of,
    end_pod,
    gone,
    make_claim,
    phase_now,
    pod_manifest,
    ready_pod,
    run_pod,
    static_volume,
    told,
    unschedulable,
    volume,
    volume_gone,
)

SHARED_CLASS = "steadyset-shared"  # of the embedded cluster
UNUSABLE_VOLUME = 73  # the probe's exit code when it may not write


@pytest.mark.requirement("STO-ACC-001", "STO-ATT-002")
@pytest.mark.needs("volume-attach")
def test_once_means_one_node(space, report):
    """Goal: pods of one node share a ReadWriteOnce volume; a pod of another node waits until the first node let go.

    Method: two pods on one node, one on another; wait for the multi-attach refusal; delete the first two.
    """
    report.judge("rwo-single-node", mounts=space.info.can("node-evidence"))
    here, there = space.nodes(at_least=2)[:2]
    make_claim(space)
    run_pod(space, "a", claim="data", node=here)
    space.data.write("a")
    run_pod(space, "b", claim="data", node=here, args=("-read-only",))
    space.create(pod_manifest(space, "c", claim="data", node=there))
    told(space, "c", "FailedAttachVolume", "Multi-Attach")
    report.promise("the pod of the other node waits", expected=False, seen=is_ready(space.view.get("Pod", "c")))
    for name in ("a", "b"):
        end_pod(space, name)
    ready_pod(space, "c")
    space.data.read_back(via="c")


@pytest.mark.requirement("STO-ACC-002")
@pytest.mark.parametrize("by", ["scheduler", "kubelet"])
def test_once_pod_means_one_pod(space, report, by):
    """Goal: a ReadWriteOncePod volume is one pod's: a second one waits, even on the same node, until the first is gone.

    Method: two pods of one claim; the second goes through the scheduler, or past it by its nodeName.
    """
    node = space.nodes()[0]
    make_claim(space, mode=RWOP)
    run_pod(space, "a", claim="data", node=node)
    space.data.write("a")
    if by == "scheduler":
        space.create(pod_manifest(space, "b", claim="data"))
        report.promise("the scheduler says why", expected=True, seen="ReadWriteOncePod" in unschedulable(space, "b"))
    else:
        space.create(pod_manifest(space, "b", claim="data", nodeName=node))
        told(space, "b", "FailedMount")
    report.promise("the second pod waits", expected=False, seen=is_ready(space.view.get("Pod", "b")))
    end_pod(space, "a")
    ready_pod(space, "b")
    space.data.read_back(via="b")


def _folder(space, name, node):
    """A pod that keeps its file in a folder of its own on the shared volume."""
    manifest = pod_manifest(space, name, claim="data", node=node)
    manifest["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = name.partition("-")[0]
    return manifest


@pytest.mark.requirement("STO-ACC-003")
def test_many_nodes_write(space, report):
    """Goal: a ReadWriteMany volume is written on several nodes at the same time, and each sees what others wrote.

    Method: a writer on each of two nodes, with a folder of its own; read the first one's folder on the second's node.
    """
    here, there = space.nodes(at_least=2)[:2]
    class_of(space, SHARED_CLASS)
    make_claim(space, storage_class=SHARED_CLASS, mode=RWX)
    for name, node in (("a", here), ("b", there)):
        space.create(_folder(space, name, node))
    for name in ("a", "b"):
        ready_pod(space, name)
    space.data.write("a", "b", "a")
    both = [is_ready(space.view.get("Pod", name)) for name in ("a", "b")]
    report.promise("both write at the same time", expected=[True, True], seen=both)
    space.data.read_back()
    end_pod(space, "a")
    space.create(_folder(space, "a-reader", there))
    ready_pod(space, "a-reader")
    space.data.read_back("a", via="a-reader")


@pytest.mark.requirement("STO-ACC-004", "STO-ACC-005")
def test_many_nodes_read(space, report):
    """Goal: a ReadOnlyMany volume is read on several nodes at the same time, and written on none.

    Method: write a volume, keep it, bind it again as ReadOnlyMany; a reader on each of two nodes, and one who writes.
    """
    here, there = space.nodes(at_least=2)[:2]
    with class_like(space, reclaimPolicy="Retain") as name:
        make_claim(space, "first", storage_class=name)
        run_pod(space, "writer", claim="first", node=here)
        space.data.write("writer", "writer")
        end_pod(space, "writer")
        old = bound(space, "first")
        source = volume(space, old)["spec"]["csi"]
        space.delete("PersistentVolumeClaim", "first")
        gone(space, "PersistentVolumeClaim", "first")
        space.delete("PersistentVolume", old)
        volume_gone(space, old)
    kept = {"driver": source["driver"], "volumeHandle": source["volumeHandle"], "fsType": source.get("fsType", "")}
    claimed = {"namespace": space.name, "name": "data"}
    with static_volume(
        space, accessModes=[ROX], csi=kept, persistentVolumeReclaimPolicy="Delete", claimRef=claimed
    ) as again:
        make_claim(space, storage_class=space.name, mode=ROX)
        bound(space)
        for reader, node in (("a", here), ("b", there)):
            space.create(pod_manifest(space, reader, claim="data", node=node, args=("-read-only",)))
        for reader in ("a", "b"):
            ready_pod(space, reader)
            space.data.read_back(via=reader)
        space.create(pod_manifest(space, "c", claim="data", node=there, restartPolicy="Never"))
        ended = space.until("who writes has ended", lambda: _exit_code(space, "c"))
        report.promise("who opens it for writing is refused", expected=UNUSABLE_VOLUME, seen=ended)
        for reader in ("a", "b", "c"):
            end_pod(space, reader)
        space.delete("PersistentVolumeClaim", "data")
        volume_gone(space, again)


def _exit_code(space, name):
    statuses = (space.view.get("Pod", name) or {}).get("status", {}).get("containerStatuses") or []
    return next((s["state"]["terminated"]["exitCode"] for s in statuses if "terminated" in s["state"]), None)


@pytest.mark.requirement("STO-ACC-006")
@pytest.mark.needs("node-exec")
def test_modes_that_the_driver_lacks(space, report):
    """Goal: a claim in an access mode that its driver does not have gets no volume, and is told why.

    Method: ReadWriteMany of a class of disks that one node writes.
    """
    with class_like(space, volumeBindingMode="Immediate") as name:
        make_claim(space, storage_class=name, mode=RWX)
        told(space, "data", "ProvisioningFailed", "access mode")
        report.promise("the claim waits", expected="Pending", seen=phase_now(space, "data"))
