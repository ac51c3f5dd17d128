"""Nodes that reboot, lose power, are tainted or deleted, that join and leave."""

import pytest

from steadyset.chaos.faults.node_delete import FAULT as NODE_DELETE
from steadyset.chaos.faults.node_power_off import FAULT as NODE_POWER_OFF
from steadyset.chaos.faults.node_reboot import FAULT as NODE_REBOOT
from steadyset.chaos.faults.node_taint import FAULT as NODE_TAINT
from steadyset.chaos.kube import is_ready
from steadyset.fixtures.conformance.static import static_pod
from steadyset.fixtures.conformance.volumes import node_of, pod_manifest, ready_pod, run_pod
from steadyset.fixtures.machine import joined_node

pytestmark = pytest.mark.disruptive

EVERYTHING = {"max_pods": "all", "max_nodes": "all"}  # what is hit is the test's own: there is no quorum to keep
NOTICED_S = 420.0  # named `noticed_s`: upstream's defaults take 50 s to miss a node and 300 s to give its pods up


def _members(space, report, **judged):
    report.judge("stable-identity", **judged)
    web = space.statefulset(replicas=3, policy="Parallel")
    web.wait_ready()
    space.data.write(*web.pods())
    return web


@pytest.mark.requirement("DIS-RBT-001", "DMN-STA-005")
@pytest.mark.fault("node-reboot")
def test_reboot(space, chaos, report):
    """Goal: members of a node that reboots without warning come back as themselves with their data; so do static pods.

    Method: power-cycle the node of a member, which also has a static pod; wait until all are ready; read back.
    """
    report.judge("rwo-single-node")
    web = _members(space, report, replacements_min=0)
    node = node_of(space, "web-1")
    with static_pod(space, node, pod_manifest(space, "static")):
        mirror = f"static-{node}"
        first = ready_pod(space, mirror)["status"]["containerStatuses"][0]["containerID"]
        with chaos.inject(NODE_REBOOT, f"node/{node}", **EVERYTHING):
            pass

        def again():
            pod = space.view.get("Pod", mirror)
            statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or [{}]
            return is_ready(pod) and statuses[0].get("containerID") not in (None, first)

        space.until("the static pod runs again", again)
        web.wait_ready()
        space.data.write(*web.pods())
        space.data.read_back()


@pytest.mark.requirement("DIS-OFF-001", "DIS-OFF-002")
@pytest.mark.fault("node-power-off", "node-taint")
@pytest.mark.parametrize("tainted", [False, True], ids=["untouched", "out-of-service"])
def test_power_off(space, chaos, report, tainted):
    """Goal: a member of a node without power is replaced once the node is tainted out of service, and not before.

    Method: pull the plug; wait until the pod is given up; without the taint nothing may follow, with it the member must
    run elsewhere on its own volume with its data.
    """
    report.judge("at-most-one-per-identity", replacements_min=int(tainted))
    web = _members(space, report, replacements_min=int(tainted))
    node, uid = node_of(space, "web-1"), web.uids()["web-1"]
    with chaos.inject(NODE_POWER_OFF, f"node/{node}", **EVERYTHING, hold_max_s=2 * NOTICED_S):
        space.until("the pod is given up", lambda: _terminating(web, "web-1"), NOTICED_S, "noticed_s")
        report.promise("no other pod is made", expected=uid, seen=web.uids().get("web-1"))
        if tainted:
            with chaos.inject(NODE_TAINT, f"node/{node}", **EVERYTHING):
                web.wait_replaced(1, uid)
                report.promise("it runs elsewhere", expected=True, seen=node_of(space, "web-1") != node)
                space.data.read_back("web-1")
    web.wait_ready()
    space.data.read_back()


def _terminating(web, name):
    pod = web.pods().get(name)
    return pod is not None and "deletionTimestamp" in pod["metadata"]


@pytest.mark.requirement("DIS-DEL-001")
@pytest.mark.fault("node-delete")
def test_node_object_is_deleted(space, chaos, report):
    """Goal: members of a node whose object is deleted are replaced as themselves, with their data.

    Method: delete the Node while its machine runs on; wait until its pods were collected; register it again.
    """
    web = _members(space, report)
    node, uid = node_of(space, "web-1"), web.uids()["web-1"]
    with chaos.inject(NODE_DELETE, f"node/{node}", **EVERYTHING):
        space.until("its pod is collected", lambda: web.uids().get("web-1") != uid, NOTICED_S, "noticed_s")
    web.wait_ready()
    space.data.read_back()


@pytest.mark.requirement("SCH-TNT-001", "SCH-TNT-002", "SCH-TNT-003", "SCH-TNT-004")
@pytest.mark.fault("node-taint")
def test_taints(space, chaos, report):
    """Goal: a NoExecute taint evicts who does not tolerate it at once, who tolerates it for a while after that while,
    and who tolerates it for good never; nobody who does not tolerate it comes.

    Method: a member, a pod that tolerates it for five seconds and one for good on one node; taint it.
    """
    web = _members(space, report, replacements_min=0)
    node, key = node_of(space, "web-0"), "steadyset.dev/maintenance"
    tolerates = {"key": key, "operator": "Exists", "effect": "NoExecute"}
    run_pod(space, "patient", node=node, tolerations=[{**tolerates, "tolerationSeconds": 5}])
    run_pod(space, "immune", node=node, tolerations=[tolerates])
    uid = web.uids()["web-0"]
    with chaos.inject(NODE_TAINT, f"node/{node}", **EVERYTHING, key=key, value="yes") as taint:
        space.until("the patient pod is evicted too", lambda: _deleted(space, "patient"))
        web.wait_replaced(0, uid)
        report.promise("the member runs elsewhere", expected=True, seen=node_of(space, "web-0") != node)
        waited = _deleted(space, "patient") - taint.inject_ns
        report.remember("tolerated_s", waited / 1e9)
        report.promise("tolerationSeconds are kept", expected=True, seen=5e9 < waited < 30e9)
        report.promise("who tolerates it stays", expected=True, seen=is_ready(space.view.get("Pod", "immune")))
    web.wait_ready()
    space.data.read_back()


def _deleted(space, name):
    """When the deletion of the first pod of that name began, in the trace's nanoseconds; 0 if it has not."""
    states = space.view.states("Pod", name)
    return next((r.t for r in states if r.e == "DELETED" or "deletionTimestamp" in r.obj["metadata"]), 0)


@pytest.mark.requirement("DMN-NOD-001", "DMN-NOD-002")
@pytest.mark.needs("node-power")
def test_node_joins_and_leaves(space, report):
    """Goal: a node that joins gets a pod of every DaemonSet; the pods of one that has left are collected.

    Method: a DaemonSet; let a node join, write to its pod; take the node away for good.
    """
    manifest = pod_manifest(space, "agent")
    template = {"metadata": manifest["metadata"], "spec": manifest["spec"]}
    spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": template}
    space.create({"kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": spec})
    before = sorted(space.nodes())
    space.until("one on every node", lambda: _where(space) == before)
    with joined_node(space.info) as node:
        space.until("the new node has one too", lambda: _where(space) == sorted([*before, node]))
    space.until("the node's pod is collected", lambda: node not in _all_nodes(space), NOTICED_S, "noticed_s")
    report.promise("the others run on", expected=before, seen=_where(space))


def _all_nodes(space):
    return {pod["spec"].get("nodeName") for pod in space.view.all("Pod").values()}


def _where(space):
    return sorted(pod["spec"].get("nodeName", "") for pod in space.view.all("Pod").values() if is_ready(pod))
