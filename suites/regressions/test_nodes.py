"""Failure stories of nodes: dead ones, restarted daemons, drains, volumes mounted or detached wrongly."""

import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from steadyset.chaos.faults.daemon_restart import FAULT as DAEMON_RESTART
from steadyset.chaos.faults.node_power_off import FAULT as NODE_POWER_OFF
from steadyset.chaos.faults.volume_detach import FAULT as VOLUME_DETACH
from steadyset.chaos.kube import is_ready
from steadyset.fixtures.conformance.dns import resolver
from steadyset.fixtures.conformance.stories import tell
from steadyset.fixtures.conformance.volumes import bound, node_of, told
from steadyset.fixtures.machine import node_cut_off

pytestmark = pytest.mark.disruptive

EVERYTHING = {"max_pods": "all", "max_nodes": "all"}  # what is hit is the test's own: there is no quorum to keep
NOTICED_S = 420.0  # named `noticed_s`: upstream's defaults take 50 s to miss a node and 300 s to give its pods up
DRAIN_S = 120.0
MINUTE_S = 60.0  # named `minute_s`
NAME_S = 15.0  # named `name_s`
COMMAND_S = 10.0


def _one(space, **params):
    web = space.statefulset(replicas=1, **params)
    web.wait_ready()
    space.data.write("web-0")
    return web, node_of(space, "web-0"), web.uids()["web-0"]


@pytest.mark.requirement("REG-NOD-001")
@pytest.mark.fault("node-power-off")
def test_dead_node(space, chaos, report):
    """Goal: a member of a node without power is replaced without a hand on the pod or the node.

    Method: pull the plug, wait until the pod is given up, wait for another one.
    """
    recovery = tell(space, "REG-NOD-001")
    web, node, uid = _one(space)
    with chaos.inject(NODE_POWER_OFF, f"node/{node}", **EVERYTHING, hold_max_s=2 * NOTICED_S):
        space.until("the pod is given up", lambda: _terminating(web), NOTICED_S, "noticed_s")
        space.until("another one is made", lambda: web.uids().get("web-0", uid) != uid, *recovery)


def _terminating(web):
    return all("deletionTimestamp" in pod["metadata"] for pod in web.pods().values())


@pytest.mark.requirement("REG-ATT-001")
@pytest.mark.fault("node-power-off")
def test_forced_deletion_on_a_dead_node(space, chaos, report):
    """Goal: a member that is deleted by force from a node without power runs elsewhere within a minute.

    Method: pull the plug, wait until the pod is given up, delete it with grace 0, wait for the successor.
    """
    tell(space, "REG-ATT-001")
    web, node, uid = _one(space)
    with chaos.inject(NODE_POWER_OFF, f"node/{node}", **EVERYTHING, hold_max_s=2 * NOTICED_S):
        space.until("the pod is given up", lambda: _terminating(web), NOTICED_S, "noticed_s")
        web.delete_pod(0, grace_s=0)
        told(space, "web-0", "FailedAttachVolume", "Multi-Attach")
        space.until("the successor is ready", lambda: _fresh(web, uid), MINUTE_S, "minute_s")


def _fresh(web, uid):
    return [name for name, pod in web.pods().items() if pod["metadata"]["uid"] != uid and is_ready(pod)]


@pytest.mark.requirement("REG-ATT-002")
@pytest.mark.fault("daemon-restart", "volume-detach")
@pytest.mark.parametrize("sabotage", [False, True], ids=["story", "sabotage"])
def test_restart_of_the_attach_controller(space, chaos, report, sabotage):
    """Goal: a controller manager that restarts detaches no volume that is mounted.

    Method: kill it under a member that writes; the sabotage deletes the member's VolumeAttachment by hand.
    """
    tell(space, "REG-ATT-002", sabotage=sabotage)
    report.judge("rwo-single-node")
    web, _, uid = _one(space)
    fault, target = (VOLUME_DETACH, "web-0") if sabotage else (DAEMON_RESTART, "kube-controller-manager")
    with chaos.inject(fault, target, **EVERYTHING):
        if not sabotage:
            space.data.write("web-0")
    web.wait_ready()
    if not sabotage:
        report.promise("the pod is the same", expected=uid, seen=web.uids()["web-0"])
        space.data.write("web-0")
    space.data.read_back()


@pytest.mark.requirement("REG-MNT-001")
@pytest.mark.fault("daemon-restart")
@pytest.mark.parametrize("daemon", ["kubelet", "containerd", "sabotage"])
def test_restart_of_a_kubelet(space, chaos, report, daemon):
    """Goal: a kubelet or a runtime that restarts leaves the volume of a running pod mounted.

    Method: look for the mount of the pod's volume on its node, before and after. The sabotage takes it away.
    """
    tell(space, "REG-MNT-001", sabotage=daemon == "sabotage")
    web, node, uid = _one(space)
    path = f"/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~csi/{bound(space, 'data-web-0')}/mount"
    before = _mount_id(space, node, path)
    if daemon == "sabotage":
        subprocess.run(space.info.node_command(node, ["umount", "--lazy", path]), check=True, timeout=COMMAND_S)
    else:
        with chaos.inject(DAEMON_RESTART, f"node/{node}", **EVERYTHING, daemon=daemon):
            space.data.write("web-0")
        web.wait_ready()
    report.promise("the same mount is there", expected=before, seen=_mount_id(space, node, path))
    space.data.read_back()


def _mount_id(space, node, path):
    lines = Path(f"/proc/{space.info.node(node).pid}/mountinfo").read_text().splitlines()
    return [line.split()[0] for line in lines if line.split()[4] == path]


@pytest.mark.requirement("REG-MNT-002")
@pytest.mark.needs("node-power", "node-evidence")
@pytest.mark.parametrize("sabotage", [False, True], ids=["story", "sabotage"])
def test_forced_deletion_behind_a_cut_cable(space, report, sabotage):
    """Goal: a pod deleted by force from a node that cannot be reached does not get its volume mounted a second time.

    Method: cut the cable, delete the pod with grace 0, wait until its successor is refused the volume. The sabotage
    mounts the disk where the successor waits.
    """
    tell(space, "REG-MNT-002", sabotage=sabotage)
    report.judge("rwo-single-node")
    web, node, uid = _one(space)
    with node_cut_off(space.info, node):
        web.delete_pod(0, grace_s=0)
        told(space, "web-0", "FailedAttachVolume", "Multi-Attach")
        report.promise("the successor waits", expected=[], seen=_fresh(web, uid))
        if sabotage:
            second = space.until("the successor is bound to a node", lambda: _bound_anew(web, uid))
            with _mounted_twice(space, node, node_of(space, "web-0"), second):
                space.until("the second mount is seen", lambda: _twice(space, second))
    web.wait_ready()
    space.data.read_back()


@contextmanager
def _mounted_twice(space, here, there, uid):
    """The pod's disk mounted on `there` too, where the kubelet would mount it. (One kernel, so one file system.)"""
    handle = bound(space, "data-web-0")
    path = f"/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~csi/{handle}/mount"
    lines = Path(f"/proc/{space.info.node(here).pid}/mountinfo").read_text().splitlines()
    device = next(line.split(" - ")[1].split()[1] for line in lines if f"/{handle}/mount" in line)
    command = f"mkdir -p {path} && mount -t ext4 {device} {path}"
    subprocess.run(space.info.node_command(there, ["sh", "-c", command]), check=True, timeout=COMMAND_S)
    try:
        yield
    finally:
        subprocess.run(space.info.node_command(there, ["umount", path]), check=True, timeout=COMMAND_S)


def _twice(space, uid):
    space.view.live.advance()
    nodes = [record.obj for record, _ in space.view.live.shared if record.e == "NODE"]
    return any(seen.get("what") == "mounted" and seen.get("pod_uid") == uid for seen in nodes)


@pytest.mark.requirement("REG-DRN-001")
@pytest.mark.needs("node-exec")
def test_drain_follows_a_name(space, report):
    """Goal: a drain that waits for a budget leaves alone the pod of the same name that was made elsewhere meanwhile.

    Method: drain the member's node while a budget forbids it; delete the pod, which comes back elsewhere; lift the
    budget; wait for the drain's end. (kubectl of the cluster's version.) The drain is held meanwhile: it asks again
    after 5 s, and would end at once if the first pod were still terminating, or no other one made yet.
    """
    tell(space, "REG-DRN-001")
    web, node, uid = _one(space, labels={"drained": space.name})
    budget = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 1}
    space.create({"kind": "PodDisruptionBudget", "metadata": {"name": "budget"}, "spec": budget})
    kubectl = [f"{space.info.bin_dir}/kubectl", "--kubeconfig", space.info.kubeconfig]
    drain = [
        *kubectl,
        "drain",
        node,
        f"--pod-selector=drained={space.name}",
        "--ignore-daemonsets",
        f"--timeout={int(DRAIN_S)}s",
    ]
    child = subprocess.Popen(drain, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert child.stdout
        while "error when evicting" not in (line := child.stdout.readline()):
            assert line, "the drain ended before the budget stopped it"
        child.send_signal(signal.SIGSTOP)
        web.delete_pod(0)
        second = space.until("another one is bound to a node", lambda: _bound_anew(web, uid))
        report.promise("that is another node", expected=True, seen=node_of(space, "web-0") != node)
        space.delete("PodDisruptionBudget", "budget")
        child.send_signal(signal.SIGCONT)
        output, _ = child.communicate(timeout=DRAIN_S)
        report.remember("drain", output[-400:])
        # From the API server: the drain ends as soon as that has answered, perhaps before the watch tells of it.
        now = (space.read("Pod", "web-0") or {"metadata": {}})["metadata"]
        deleted = now.get("uid") != second or "deletionTimestamp" in now
        report.promise("the pod elsewhere is left alone", expected=False, seen=deleted)
    finally:
        child.kill()
        child.wait()
        subprocess.run([*kubectl, "uncordon", node], check=True, timeout=COMMAND_S, capture_output=True)
    web.wait_ready()
    space.data.read_back()


def _bound_anew(web, uid):
    """The UID of the pod that took the place of `uid`, once it has a node."""
    pod = web.pods().get("web-0", {"metadata": {"uid": uid}})
    return pod["metadata"]["uid"] if pod["metadata"]["uid"] != uid and pod["spec"].get("nodeName") else ""


@pytest.mark.requirement("REG-DNS-001")
@pytest.mark.needs("client-namespace")
@pytest.mark.parametrize("sabotage", [False, True], ids=["story", "sabotage"])
def test_name_of_a_replaced_member(space, report, sabotage):
    """Goal: with publishNotReadyAddresses the name of a replaced member, asked for all the time, is not lost for long.

    Method: a member that is not ready; delete its pod, ask on; the sabotage publishes ready addresses only.
    """
    tell(space, "REG-DNS-001", sabotage=sabotage)
    web = space.statefulset(replicas=1, volumes=False, gated=True)
    space.patch("Service", "web", {"spec": {"publishNotReadyAddresses": True}})
    name = f"web-0.web.{space.name}.svc.cluster.local"

    def address():
        return ((web.pods().get("web-0") or {}).get("status") or {}).get("podIP", "")

    with resolver(space.info) as dns:
        space.until("the name is known", lambda: address() and dns.ask(name) == [address()])
        if sabotage:
            space.patch("Service", "web", {"spec": {"publishNotReadyAddresses": False}})
        uid = web.delete_pod(0)

        def replaced():
            dns.ask(name)  # so that an answer, or that there is none, is kept
            return web.uids().get("web-0", uid) != uid and address()

        space.until("it is replaced", replaced)
        space.until("the name leads to it", lambda: dns.ask(name) == [address()], NAME_S, "name_s")
