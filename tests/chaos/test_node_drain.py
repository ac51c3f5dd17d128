"""node-drain on a real cluster, sabotage included."""

from __future__ import annotations

import pytest

from steadyset.chaos.faults.node_drain import FAULT, residue
from steadyset.chaos.kube import Kube, uid_of
from steadyset.chaos.runner import FaultError, inject
from steadyset.clusterinfo import ClusterInfo
from steadyset.rundir import RunDir

pytestmark = pytest.mark.cluster


def test_drained_pod_moves_and_the_node_is_opened_again(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir
) -> None:
    """The pod is evicted to another node; afterwards the node takes pods again and bears no mark of ours."""
    before = kube.need_pod(ready, "member-0")
    node = before["spec"]["nodeName"]
    with inject(cluster, run_dir, "drain", FAULT, "member-0", namespace=ready) as span:
        assert kube.node(node)["spec"]["unschedulable"]
        assert uid_of(before) != uid_of(kube.pod(ready, "member-0"))
    assert span.error == ""
    assert "unschedulable" not in kube.node(node)["spec"]
    assert node != kube.need_pod(ready, "member-0")["spec"]["nodeName"]
    assert residue(cluster, kube, set()) == []


@pytest.mark.slow
def test_a_budget_that_forbids_it_makes_the_drain_invalid(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir
) -> None:
    """Retries 429 until the deadline, then says which budget; the node is uncordoned all the same."""
    path = f"/apis/policy/v1/namespaces/{ready}/poddisruptionbudgets/member"
    node = kube.need_pod(ready, "member-1")["spec"]["nodeName"]
    kube.request("PATCH", path, {"spec": {"maxUnavailable": 0}})
    try:
        with (
            pytest.raises(FaultError, match="disruption budget"),
            inject(cluster, run_dir, "drain", FAULT, "member-1", namespace=ready, deadlines={"bite_s": 6.0}),
        ):
            pytest.fail("the fault was held though the pod was not evicted")
    finally:
        kube.request("PATCH", path, {"spec": {"maxUnavailable": 1}})
    assert "unschedulable" not in kube.node(node)["spec"]


@pytest.mark.slow
def test_a_node_drained_already_is_invalid(cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir) -> None:
    """Somebody else's cordon stays as it was."""
    node = kube.need_pod(ready, "member-2")["spec"]["nodeName"]
    kube.request("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})
    try:
        with (
            pytest.raises(FaultError, match="cordoned already"),
            inject(cluster, run_dir, "drain", FAULT, "member-2", namespace=ready),
        ):
            pytest.fail("the fault was held though it could prove nothing")
        assert kube.node(node)["spec"]["unschedulable"]
    finally:
        kube.request("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}})
