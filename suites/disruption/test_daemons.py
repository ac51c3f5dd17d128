"""Daemons that restart: kubelet, runtime, and the control plane in the middle of a rollout."""

import pytest

from steadyset.chaos.faults.daemon_restart import FAULT as DAEMON_RESTART
from steadyset.fixtures.conformance.volumes import node_of

EVERYTHING = {"max_pods": "all", "max_nodes": "all"}  # what is hit is the test's own: there is no quorum to keep

pytestmark = [pytest.mark.disruptive, pytest.mark.fault("daemon-restart")]


@pytest.mark.parametrize(
    "daemon",
    [
        pytest.param("kubelet", marks=pytest.mark.requirement("DIS-KUB-001")),
        pytest.param("containerd", marks=pytest.mark.requirement("DIS-RUN-001")),
    ],
)
def test_node_daemon(space, chaos, report, daemon):
    """Goal: a kubelet or a runtime that restarts leaves running members and their volumes alone.

    Method: kill it under a member and let it start again, write on before, while and after; compare containers.
    """
    report.judge("stable-identity", replacements_min=0)
    report.judge("rwo-single-node")
    web = space.statefulset(replicas=3, policy="Parallel")
    web.wait_ready()
    space.data.write(*web.pods())
    before = _containers(web)
    with chaos.inject(DAEMON_RESTART, f"node/{node_of(space, 'web-1')}", **EVERYTHING, daemon=daemon):
        space.data.write(*web.pods())
    web.wait_ready()
    space.data.write(*web.pods())
    report.promise("the containers are the same", expected=before, seen=_containers(web))
    space.data.read_back()


def _containers(web):
    return {
        name: [status.get("containerID", "") for status in pod["status"].get("containerStatuses", [])]
        for name, pod in web.pods().items()
    }


@pytest.mark.parametrize(
    "daemon",
    [
        pytest.param("kube-apiserver", marks=pytest.mark.requirement("DIS-CTL-001")),
        pytest.param("kube-controller-manager", marks=pytest.mark.requirement("DIS-CTL-002")),
        pytest.param("etcd", marks=pytest.mark.requirement("DIS-CTL-003")),
        pytest.param("kube-scheduler", marks=pytest.mark.requirement("DIS-CTL-004")),
    ],
)
def test_control_plane_in_a_rollout(space, chaos, report, daemon):
    """Goal: a rollout goes on in its order, and no member loses its identity or data, when a controller restarts.

    Method: kill it once the first of three members is being replaced; wait for the rollout's end; read back.
    """
    if daemon != "kube-apiserver":  # its restart makes watches start anew, and a step between is not seen
        report.judge("rolling-update")
    report.judge("stable-identity", replacements_min=3)
    web = space.statefulset(replicas=3)
    web.wait_ready()
    space.data.write(*web.pods())
    uid = web.uids()["web-2"]
    web.roll("2")
    space.until("the first member is being replaced", lambda: web.uids().get("web-2") != uid)
    with chaos.inject(DAEMON_RESTART, daemon, **EVERYTHING):
        web.wait_rolled_out()
    made = {name: pod["metadata"]["creationTimestamp"] for name, pod in web.pods().items()}
    order = sorted(["web-2", "web-1", "web-0"], key=lambda name: made[name])
    report.promise("members were replaced in order", expected=["web-2", "web-1", "web-0"], seen=order)
    space.data.write(*web.pods())
    space.data.read_back()
