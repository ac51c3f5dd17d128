"""Evict pods through the eviction API, their disruption budgets respected."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.eviction import evict
from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe, no_undo
from steadyset.chaos.pods import gone, need_controller, pod_now, ready_again, see_pod
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="pod-evict",
    lease=Lease.ONE_SHOT,
    summary="evict a pod through the eviction API, its disruption budget respected",
    deadlines={"bite_s": 60.0, "heal_s": 180.0},
    rights=(Right("", "pods", ("create",), "evict the pod", subresource="eviction"),),
)


def inject(
    cluster: str, target: str, namespace: str = "default", deadlines: dict[str, float] | None = None
) -> dict[str, Any]:
    """Ask for the eviction of the pods of `target`; what a budget refuses (429) is asked for again until `bite_s`."""
    act = begin(FAULT, cluster, namespace, target, deadlines=deadlines)
    for victim in act.victims:
        need_controller(victim, "evicted")
    with act.injecting():
        for victim in act.victims:
            victim.seen["blocked"] = evict(act.kube, namespace, victim.name, victim.uid)
    return act.report()


def _evicted(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the pod of that UID is gone, asking again while its budget refuses."""
    found = gone(act, victim)
    pod = pod_now(act, victim) if found is None else None
    if pod is not None and "deletionTimestamp" not in pod["metadata"]:
        victim.seen["blocked"] = evict(act.kube, act.namespace, victim.name, victim.uid)
    return found


def _seen(act: Act, victim: Victim) -> str:
    return victim.seen["blocked"] or see_pod(act, victim)


prove_bite = bite_probe(FAULT, _evicted, "the pod is evicted", _seen)
heal = heal_action(FAULT, no_undo)
prove_heal = heal_probe(FAULT, ready_again, "the pod Ready again", see_pod)
