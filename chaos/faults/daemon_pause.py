"""Pause a daemon of a node (kubelet, containerd, kube-proxy) or of the control plane, as if it hung."""

from __future__ import annotations

import signal
from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.daemons import CONTROL_PLANE, NODE_DAEMONS, daemon_processes
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.inside import signal_all, stopped
from steadyset.chaos.kube import Kube, UnreachableError
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite, recovered, undo_now
from steadyset.chaos.targets import node_of, node_ready
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="daemon-pause",
    lease=Lease.WATCHDOG,
    summary="pause a daemon (kubelet, containerd, API server, etcd, scheduler, controller manager), as if it hung",
    deadlines={"bite_s": 60.0, "heal_s": 120.0},
    capabilities=("node-exec",),
    target="cluster",
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    daemon: str = "",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Pause `daemon`. Of a node (kubelet, containerd, kube-proxy): `target` is a pod on it or node/NAME. Of the control
    plane (kube-apiserver, etcd, kube-scheduler, kube-controller-manager): `target` is the daemon's name itself."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    name = daemon or target
    if name in CONTROL_PLANE:
        full, node = name, ""
    elif name in NODE_DAEMONS:
        node = node_of(act.kube, namespace, target)
        full = f"{node}-{name}"
    else:
        raise UsageError(f"no daemon {name}", expected=f"one of: {', '.join(NODE_DAEMONS + CONTROL_PLANE)}", seen=name)
    processes = daemon_processes(act.info, full)
    act.memory.update(processes=processes, daemon=full, node=node, name=name)
    with act.injecting({"processes": processes, "daemon": full}):
        signal_all(processes, signal.SIGSTOP)
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until its processes are stopped and, where it can be asked, it does not answer any more."""
    return bite(FAULT, namespace, target, _paused, "the daemon is paused", _seen)


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Let the daemon go on."""
    return undo_now(FAULT, namespace, target, undo)


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until it runs, the API server answers, and the node (if it is a node's) is Ready."""
    return recovered(FAULT, namespace, target, _running, "the daemon runs and its cluster is well", _seen)


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Let the processes of this record go on; needs this machine only, not the API server."""
    signal_all(record.undo["processes"], signal.SIGCONT)
    return [f"{record.undo['daemon']} goes on"]


def _paused(act: Act) -> list[str] | None:
    processes = act.memory["processes"]
    if not processes or len(stopped(processes)) < len(processes):
        return None
    lines = [f"{act.memory['daemon']} is stopped (pid {', '.join(str(p) for p, _ in processes)})"]
    if act.memory["name"] in ("kube-apiserver", "etcd"):
        if _api_answers(act):
            return None
        lines.append("the API server answers no request")
    return lines


def _api_answers(act: Act) -> bool:
    try:
        act.kube.items("/api/v1/namespaces", limit="1")
    except UnreachableError:
        return False
    return True


def _running(act: Act) -> list[str] | None:
    if stopped(act.memory["processes"]):
        return None
    node = act.memory["node"]
    if node and not node_ready(act.kube, node):
        return None
    act.kube.items("/api/v1/nodes")
    return [f"{act.memory['daemon']} runs; the API server answers" + (f"; node {node} is Ready" if node else "")]


def _seen(act: Act) -> str:
    processes = act.memory["processes"]
    return f"{len(stopped(processes))} of {len(processes)} processes of {act.memory['daemon']} stopped"
