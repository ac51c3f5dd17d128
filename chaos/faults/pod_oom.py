"""Have the kernel kill a container for want of memory: its limit is squeezed and memory allocated in its cgroup."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent.memory import mains, oom_kill, unsqueeze
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Kube, container_ids
from steadyset.chaos.leased import end_on_node, lease_on_node
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.pods import need_alive, pod_now, ready_again, restarted, see_pod
from steadyset.chaos.reach import reach_of, reach_of_pod
from steadyset.chaos.targets import Victim
from steadyset.clusterinfo import ClusterInfo

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="pod-oom",
    lease=Lease.ONE_SHOT,
    summary="squeeze a container's memory limit until the kernel kills its main process (OOMKilled)",
    deadlines={"bite_s": 60.0, "heal_s": 240.0},
    capabilities=("pod-processes",),
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Have the main processes of the containers of the pods of `target` killed by the kernel's OOM killer: the limit of
    their cgroup is lowered to little more than what is used, and a process allocates the rest."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    for victim in act.victims:
        need_alive(victim)
        victim.seen["mains"] = reach_of_pod(act.info, victim.obj).call(mains, container_ids(victim.obj))
    with act.injecting({"squeezed": [[v.obj["spec"]["nodeName"], v.seen["mains"]] for v in act.victims]}):
        for number, victim in enumerate(act.victims):
            reach = reach_of_pod(act.info, victim.obj)
            lease_on_node(act, number, reach, unsqueeze, victim.seen["mains"])
            for main in victim.seen["mains"]:
                reach.call(oom_kill, main)
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Put the memory limits back; those of containers that were killed went with them."""
    for number, (node, squeezed) in enumerate(record.undo["squeezed"]):
        reach_of(info, node).call(unsqueeze, squeezed)
        end_on_node(info, record, number, node)
    return []


def _oom_killed(act: Act, victim: Victim) -> list[str] | None:
    """Wait for new container IDs in the same pod, with OOMKilled as what ended those before."""
    lines = restarted(act, victim)
    statuses = (pod_now(act, victim) or {}).get("status", {}).get("containerStatuses", [])
    reasons = {s["name"]: s.get("lastState", {}).get("terminated", {}).get("reason", "") for s in statuses}
    if lines is None or set(reasons.values()) != {"OOMKilled"}:
        return None
    return [*lines, *(f"container {name} of {victim.name}: {reason}" for name, reason in reasons.items())]


prove_bite = bite_probe(FAULT, _oom_killed, "the containers were OOMKilled", see_pod)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, ready_again, "the pod Ready in new containers", see_pod)
