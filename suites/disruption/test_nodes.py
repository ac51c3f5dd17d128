"""Nodes that reboot or lose power."""

import pytest

from steadyset.chaos.faults.node_power_off import FAULT as NODE_POWER_OFF
from steadyset.chaos.faults.node_reboot import FAULT as NODE_REBOOT
from steadyset.chaos.kube import is_ready
from steadyset.fixtures.conformance.static import static_pod
from steadyset.fixtures.conformance.volumes import node_of, pod_manifest, ready_pod

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


@pytest.mark.requirement("DIS-OFF-001")
@pytest.mark.fault("node-power-off")
def test_power_off(space, chaos, report):
    """Goal: a member of a node without power is not replaced as long as nobody says that the node is off.

    Method: pull the plug; wait until the pod is given up, look for another one; power on, read everything back.
    """
    report.judge("at-most-one-per-identity", replacements_min=0)
    web = _members(space, report, replacements_min=0)
    node, uid = node_of(space, "web-1"), web.uids()["web-1"]
    with chaos.inject(NODE_POWER_OFF, f"node/{node}", **EVERYTHING, hold_max_s=2 * NOTICED_S):
        space.until("the pod is given up", lambda: _terminating(web, "web-1"), NOTICED_S, "noticed_s")
        report.promise("no other pod is made", expected=uid, seen=web.uids().get("web-1"))
    web.wait_ready()
    space.data.read_back()


def _terminating(web, name):
    pod = web.pods().get(name)
    return pod is not None and "deletionTimestamp" in pod["metadata"]
