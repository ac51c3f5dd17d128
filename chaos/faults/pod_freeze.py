"""Freeze a pod: the processes of its containers stand still, as if it hung; connections to it stay open."""

from __future__ import annotations

import signal
from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent import freezer, processes
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.inside import container_inits, need_processes
from steadyset.chaos.kube import Kube, container_ids
from steadyset.chaos.leased import end_on_node, lease_on_node
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.pods import ready, see_pod
from steadyset.chaos.reach import reach_of, reach_of_pod
from steadyset.chaos.targets import Victim
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
HOWS = ("signals", "main", "freezer")


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    how: str = "signals",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Stop the processes of the pods of `target`, the sandboxes' excepted: `how` signals sends SIGSTOP to all of them,
    main to the containers' main processes only (their children go on), freezer freezes the containers' cgroups, also
    whatever they fork meanwhile (not even SIGKILL ends them then)."""
    if how not in HOWS:
        raise UsageError(f"a pod is not frozen by {how}", expected=f"one of: {', '.join(HOWS)}", seen=how)
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    for victim in act.victims:
        reach, pod, ids = reach_of_pod(act.info, victim.obj), victim.obj, container_ids(victim.obj)
        found = reach.call(processes.container_processes, victim.uid, ids)
        own = need_processes(pod, found) if how != "main" else container_inits(act.info, pod)[1]
        cgroups = reach.call(freezer.container_cgroups, ids) if how == "freezer" else []
        names = sorted({p["name"] for p in found if [p["pid"], p["start"]] in own})
        victim.seen.update(node=reach.node, processes=own, cgroups=cgroups, names=names)
    undos = [{key: v.seen[key] for key in ("node", "processes", "cgroups")} for v in act.victims]
    with act.injecting({"victims": undos}):
        for number, victim in enumerate(act.victims):
            reach, own, cgroups = reach_of_pod(act.info, victim.obj), victim.seen["processes"], victim.seen["cgroups"]
            if cgroups:
                lease_on_node(act, number, reach, freezer.thaw, cgroups)
                reach.call(freezer.freeze, cgroups)
            else:
                lease_on_node(act, number, reach, processes.signal_all, own, int(signal.SIGCONT))
                reach.call(processes.signal_all, own, int(signal.SIGSTOP))
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Let the processes of this record go on (thaw, and SIGCONT)."""
    for number, one in enumerate(record.undo["victims"]):
        reach = reach_of(info, one["node"])
        reach.call(freezer.thaw, one["cgroups"])
        reach.call(processes.signal_all, one["processes"], int(signal.SIGCONT))
        end_on_node(info, record, number, one["node"])
    return [f"{record.target}: {sum(len(one['processes']) for one in record.undo['victims'])} processes go on"]


def _still(act: Act, victim: Victim) -> tuple[int, int]:
    """How many processes (or cgroups) stand still, and how many should: all that have not ended meanwhile."""
    reach = reach_of_pod(act.info, victim.obj)
    if victim.seen["cgroups"]:
        return len(reach.call(freezer.frozen, victim.seen["cgroups"])), len(victim.seen["cgroups"])
    own = victim.seen["processes"]
    return len(reach.call(processes.stopped, own)), len(reach.call(processes.alive, own))


def _frozen(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the kernel shows every process as stopped, or every cgroup as frozen."""
    still, wanted = _still(act, victim)
    if not wanted or still < wanted:
        return None
    what = "cgroups frozen" if victim.seen["cgroups"] else "processes stopped"
    return [f"pod {victim.name}: {wanted} {what} ({', '.join(victim.seen['names'])})"]


def _running(act: Act, victim: Victim) -> list[str] | None:
    """Wait until none is stopped and the pod is Ready."""
    return None if _still(act, victim)[0] else ready(act, victim)


def _seen(act: Act, victim: Victim) -> str:
    still, wanted = _still(act, victim)
    return f"{still} of {wanted} stand still; {see_pod(act, victim)}"


prove_bite = bite_probe(FAULT, _frozen, "every process is stopped", _seen)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _running, "the pod runs and is Ready", _seen)
