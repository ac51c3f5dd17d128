"""Evict one pod through the eviction API, its disruption budget respected."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.eviction import evict
from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.kube import controller_of, is_ready, short, uid_of
from steadyset.chaos.phases import bite, no_undo, recovered, undo_now
from steadyset.chaos.rights import Right
from steadyset.errors import UsageError

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
    """Ask for the eviction of pod `target`; while a budget refuses it (429) it is asked for again until `bite_s`."""
    act = begin(FAULT, cluster, namespace, target, deadlines=deadlines)
    pod = act.kube.need_pod(namespace, target)
    if controller_of(pod) is None:
        raise UsageError(f"pod {target} has no controller: evicted, it would never come back", do="choose another pod")
    act.memory.update(uid=uid_of(pod), blocked="")
    with act.injecting():
        act.memory["blocked"] = evict(act.kube, namespace, target, uid_of(pod))
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the pod of that UID is gone."""
    return bite(FAULT, namespace, target, _gone, f"pod {target} is evicted", _seen)


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Nothing to undo: the controller brings the pod back."""
    return undo_now(FAULT, namespace, target, no_undo)


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait for another pod of that name to be Ready."""
    return recovered(FAULT, namespace, target, _back, f"pod {target} Ready again", _seen)


def _gone(act: Act) -> list[str] | None:
    pod = act.kube.pod(act.namespace, act.target)
    if uid_of(pod) == act.memory["uid"]:
        if pod is not None and "deletionTimestamp" not in pod["metadata"]:
            act.memory["blocked"] = evict(act.kube, act.namespace, act.target, act.memory["uid"])
        return None
    return [f"pod {act.target}: {short(act.memory['uid'])} evicted -> {short(uid_of(pod))}"]


def _back(act: Act) -> list[str] | None:
    pod = act.kube.pod(act.namespace, act.target)
    if pod is None or uid_of(pod) == act.memory["uid"] or not is_ready(pod):
        return None
    return [f"pod {act.target} is Ready on {pod['spec']['nodeName']}"]


def _seen(act: Act) -> str:
    pod = act.kube.pod(act.namespace, act.target)
    return act.memory["blocked"] or f"UID {short(uid_of(pod))}, ready {is_ready(pod)}"
