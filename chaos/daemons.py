"""The daemons of an embedded cluster: API server, etcd, kubelets, container runtimes; stopped, paused and asked."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from steadyset.chaos.act import Act, begin
from steadyset.chaos.fault import TTL_S, Fault
from steadyset.chaos.inside import need_node_exec, start_time
from steadyset.chaos.kube import Json, Kube, UnreachableError
from steadyset.chaos.ledger import Record
from steadyset.chaos.machine import machine_command
from steadyset.chaos.phases import Activity
from steadyset.chaos.targets import Victim, node_ready, resolve
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError

# By the port that each listens on at its machine's address; 0: none that others may ask.
NODE_DAEMONS = {"kubelet": 10250, "containerd": 0, "kube-proxy": 10256}
CONTROL_PLANE = {
    "kube-apiserver": 6443,
    "etcd": 2379,
    "kube-scheduler": 10259,
    "kube-controller-manager": 10257,
    "csi-attacher": 0,
    "csi-provisioner": 0,
}
API = ("kube-apiserver", "etcd")  # without one of these the API server answers nothing
CONNECT_TIMEOUT_S = 1.0  # daemon_port: connections on one machine take under a millisecond


AIMED = """Of a node (kubelet, containerd, kube-proxy): `target` is a pod on it or node/NAME. Of the control plane
    (kube-apiserver, etcd, kube-scheduler, kube-controller-manager, csi-attacher, csi-provisioner): `target` is the
    daemon's name itself."""


def daemon_action(fault: Fault, does: Callable[[Act], None], doc: str) -> Activity:
    """The action `inject` of a fault of daemons; `does` does it to the act's victims. `doc` says so in a sentence."""

    def inject(
        cluster: str,
        target: str,
        namespace: str = "default",
        daemon: str = "",
        ttl_s: float = TTL_S,
        deadlines: dict[str, float] | None = None,
    ) -> Json:
        act = begin(fault, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
        aim_at_daemons(act, daemon)
        processes = [process for victim in act.victims for process in victim.seen["processes"]]
        with act.injecting({"daemons": [victim.name for victim in act.victims], "processes": processes}):
            does(act)
        return act.report()

    inject.__doc__, inject.__module__ = f"{doc} {AIMED}", fault.module
    return inject


def switch_action(fault: Fault, verb: str, doc: str) -> Activity:
    """The action `inject` of a fault that stops or restarts daemons."""

    def switch(act: Act) -> None:
        for victim in act.victims:
            switch_daemon(act.info, verb, victim.name)

    return daemon_action(fault, switch, doc)


def aim_at_daemons(act: Act, daemon: str) -> None:
    """Make the daemon(s) the act's victims: `daemon` on the target's nodes, or the target itself of the control plane.

    UsageError when there is no such daemon, or it does not run.
    """
    name = daemon or act.target
    if name in CONTROL_PLANE:
        act.victims = [Victim(name=name)]
    elif name in NODE_DAEMONS:
        nodes = resolve(act.kube, "node", act.namespace, act.target)
        act.victims = [Victim(name=f"{n.name}-{name}", seen={"node": n.name}) for n in nodes]
    else:
        known = ", ".join([*NODE_DAEMONS, *CONTROL_PLANE])
        raise UsageError(f"no daemon {name}", expected=f"one of: {known}", seen=name)
    for victim in act.victims:
        victim.seen.update(daemon=name, processes=daemon_processes(act.info, victim.name))


def daemon_processes(info: ClusterInfo, name: str) -> list[list[int]]:
    """[pid, start] of the daemon and, where it was started through nsenter, of its child. UsageError when it is off.

    Source: the provider keeps each daemon's pid in `pids/<name>` beside the cluster file.
    """
    need_node_exec(info)
    path = Path(info.path).parent / "pids" / name
    try:
        pid = int(path.read_text())
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        inner = Path(f"/proc/{pid}/comm").read_text().strip() in ("nsenter", "keep")
    except (FileNotFoundError, ValueError):
        raise UsageError(f"daemon {name} of cluster {info.name} does not run", do="steadyset cluster status") from None
    pids = [int(child) for child in children] if inner else [pid]
    return [[p, start_time(p)] for p in pids]


def start_daemons(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Start the daemons of this record; needs this machine only, not the API server."""
    for daemon in record.undo["daemons"]:
        switch_daemon(info, "start", daemon)
    return [f"{daemon} runs" for daemon in record.undo["daemons"]]


def switch_daemon(info: ClusterInfo, verb: str, name: str) -> None:
    """`start`, `stop` or `restart` a daemon; nothing happens to one that is so already."""
    machine_command(info, ["daemon", verb, name])


def is_down(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the daemon's processes have ended, no others run in their place and nothing answers on its port."""
    lives = any(start_time(pid) == start for pid, start in victim.seen["processes"])
    if lives or _now(act, victim) or _listens(act, victim):
        return None
    lines = [f"{victim.name} has ended (pid {', '.join(str(p) for p, _ in victim.seen['processes'])})"]
    port = _port(victim)
    if port:
        lines.append(f"nothing answers on its port {port}")
    if victim.seen["daemon"] in API:
        if api_answers(act):
            return None
        lines.append("the API server answers no request")
    return lines


def is_another(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the daemon runs with another process than before."""
    now = _now(act, victim)
    before = [pid for pid, _ in victim.seen["processes"]]
    if not now or now == victim.seen["processes"] or any(start_time(p) == s for p, s in victim.seen["processes"]):
        return None
    return [f"{victim.name}: pid {', '.join(map(str, before))} -> {', '.join(str(p) for p, _ in now)}"]


def is_well(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the daemon runs and listens, the API server answers, and the node (if it is a node's) is Ready."""
    node = victim.seen.get("node", "")
    if not _now(act, victim) or (_port(victim) and not _listens(act, victim)) or not api_answers(act):
        return None
    if node and not node_ready(act.kube, node):
        return None
    return [f"{victim.name} runs; the API server answers" + (f"; node {node} is Ready" if node else "")]


def see_daemon(act: Act, victim: Victim) -> str:
    """For errors."""
    return f"pids {[p for p, _ in _now(act, victim)]}, listens {_listens(act, victim)}, API answers {api_answers(act)}"


def _now(act: Act, victim: Victim) -> list[list[int]]:
    """[pid, start] of its processes that run at this moment."""
    try:
        return [[p, s] for p, s in daemon_processes(act.info, victim.name) if s]
    except UsageError:
        return []


def _port(victim: Victim) -> int:
    return {**NODE_DAEMONS, **CONTROL_PLANE}[victim.seen["daemon"]]


def _listens(act: Act, victim: Victim) -> bool:
    """Whether something accepts a connection on the daemon's port."""
    node = victim.seen.get("node", "")
    address = act.info.node(node).address if node else act.info.api_server.rpartition(":")[0]
    if not _port(victim):
        return False
    try:
        socket.create_connection((address, _port(victim)), CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def api_answers(act: Act) -> bool:
    """Whether the API server answers a request that it has to ask etcd for."""
    try:
        act.kube.items("/api/v1/namespaces", limit="1")
    except UnreachableError:
        return False
    return True
