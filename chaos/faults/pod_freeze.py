"""Freeze a pod: every process of its containers stands still, as if it hung; connections to it stay open."""

from __future__ import annotations

import signal
from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent import freezer, processes
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.inside import need_processes
from steadyset.chaos.kube import Kube, container_ids, is_ready, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite, recovered, undo_now
from steadyset.chaos.reach import NodeLease, end_lease, reach_of, reach_of_pod
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="pod-freeze",
    lease=Lease.WATCHDOG,
    summary="stop every process of a pod's containers (SIGSTOP, or their cgroups' freezer), as if the pod hung",
    deadlines={"bite_s": 15.0, "heal_s": 180.0},
    capabilities=("pod-processes",),
)
HOWS = ("signals", "freezer")


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    how: str = "signals",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Stop every process of pod `target`, its sandbox's excepted: `how` signals sends SIGSTOP, `how` freezer freezes
    the containers' cgroups, also whatever they fork meanwhile (not even SIGKILL ends them then)."""
    if how not in HOWS:
        raise UsageError(f"a pod is not frozen by {how}", expected=f"one of: {', '.join(HOWS)}", seen=how)
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    pod = act.kube.need_pod(namespace, target)
    reach = reach_of_pod(act.info, pod)
    found = reach.call(processes.container_processes, uid_of(pod), container_ids(pod))
    own = need_processes(pod, found)
    undo: dict[str, Any] = {"node": reach.node, "processes": own}
    if how == "freezer":
        undo["cgroups"] = reach.call(freezer.container_cgroups, container_ids(pod))
    act.memory.update(undo, reach=reach, names=sorted({p["name"] for p in found}))
    with act.injecting(undo):
        assert act.record is not None
        lease = NodeLease(reach, act.record.id, ttl_s)
        if how == "freezer":
            lease.begin(freezer.thaw, undo["cgroups"])
            reach.call(freezer.freeze, undo["cgroups"])
        else:
            lease.begin(processes.signal_all, own, int(signal.SIGCONT))
            reach.call(processes.signal_all, own, int(signal.SIGSTOP))
    act.renewing.append(lease.renew)
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the kernel shows every process as stopped, or every cgroup as frozen."""
    return bite(FAULT, namespace, target, _frozen, "every process is stopped", _seen)


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Let the processes go on (SIGCONT, or thaw)."""
    return undo_now(FAULT, namespace, target, undo)


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until none is stopped and the pod is Ready."""
    return recovered(FAULT, namespace, target, _running, f"pod {target} runs and is Ready", _seen)


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Let the processes of this record go on."""
    reach = reach_of(info, record.undo["node"])
    if "cgroups" in record.undo:
        reach.call(freezer.thaw, record.undo["cgroups"])
    reach.call(processes.signal_all, record.undo["processes"], int(signal.SIGCONT))
    end_lease(reach, record.id)
    return [f"pod {record.target}: {len(record.undo['processes'])} processes go on"]


def _still(act: Act) -> tuple[int, int]:
    """How many stand still, and how many should."""
    if "cgroups" in act.memory:
        return len(act.memory["reach"].call(freezer.frozen, act.memory["cgroups"])), len(act.memory["cgroups"])
    processes_ = act.memory["processes"]
    return len(act.memory["reach"].call(processes.stopped, processes_)), len(processes_)


def _frozen(act: Act) -> list[str] | None:
    still, wanted = _still(act)
    if not wanted or still < wanted:
        return None
    what = "cgroups frozen" if "cgroups" in act.memory else "processes stopped"
    return [f"pod {act.target}: {wanted} {what} ({', '.join(act.memory['names'])})"]


def _running(act: Act) -> list[str] | None:
    if _still(act)[0] or not is_ready(act.kube.pod(act.namespace, act.target)):
        return None
    return [f"pod {act.target} runs and is Ready"]


def _seen(act: Act) -> str:
    still, wanted = _still(act)
    ready = is_ready(act.kube.pod(act.namespace, act.target))
    return f"{still} of {wanted} stand still, ready {ready}"
