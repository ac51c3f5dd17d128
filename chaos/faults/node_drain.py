"""Drain a node as an administrator would: cordon it, then evict its pods, with disruption budgets respected."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.blast import Hits
from steadyset.chaos.cordon import cordon, found_schedulable, need_open, our_cordons, stray_cordons, uncordon_all
from steadyset.chaos.eviction import evict, evictable
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, controller_of, is_ready, short, uid_of
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim
from steadyset.errors import InvalidError, UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="node-drain",
    lease=Lease.WATCHDOG,
    summary="cordon a pod's node and evict its pods through the eviction API, disruption budgets respected",
    deadlines={"bite_s": 120.0, "heal_s": 240.0},
    target="node",
    rights=(
        Right("", "nodes", ("get", "patch"), "cordon the node", namespaced=False),
        Right("", "pods", ("list",), "find what runs on the node", namespaced=False),
        Right("", "pods", ("create",), "evict whatever runs on it", namespaced=False, subresource="eviction"),
    ),
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    unowned: bool = False,
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Drain the nodes of the pods of `target`, or node `node/NAME`. An eviction that a budget refuses (429) is tried
    again until `bite_s` is over. Pods of DaemonSets, mirror pods and finished pods stay, as with `kubectl drain`; pods
    without a controller are refused unless `unowned`, since evicted they would never come back."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    for victim in act.victims:
        need_open(victim)
        pods = evictable(act.kube, victim.name)
        if not pods:
            raise InvalidError(f"node {victim.name} has no pods to evict: the drain is aimed at nothing")
        alone = [p["metadata"]["name"] for p in pods if controller_of(p) is None]
        if alone and not unowned:
            raise UsageError(
                f"node {victim.name} has pods without a controller, which would not come back: {', '.join(alone)}",
                do="pass unowned=true to evict them all the same",
            )
        spared = {(namespace, name) for name in victim.pods} - {_name(p) for p in pods}
        if spared:
            name = min(spared)[1]
            raise InvalidError(f"a drain does not evict pod {name}, so it cannot be its target", do="aim at node/NAME")
        victim.seen.update(pods=pods, left={uid_of(p): _name(p) for p in pods}, blocked={})
    # Its pods go one after the other, as their disruption budgets allow.
    aimed = tuple(name for victim in act.victims for name in victim.pods)
    nodes = tuple(victim.name for victim in act.victims)
    with act.injecting({"nodes": list(nodes)}, Hits(pods=aimed, nodes=nodes, verb="evicted")):
        assert act.record is not None
        for victim in act.victims:
            cordon(act.kube, victim.name, act.record.id)
    return act.report()


undo = uncordon_all
found = found_schedulable
residue = stray_cordons


def _name(pod: Json) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _emptied(act: Act, victim: Victim) -> list[str] | None:
    """Evict until every pod found has left the node, then say where their successors are."""
    left = victim.seen["left"]
    if left and not our_cordons(act.kube.node(victim.name)):
        raise InvalidError(f"node {victim.name} is not cordoned any more: somebody undid it")
    for uid, (namespace, name) in list(left.items()):
        pod = act.kube.pod(namespace, name)
        if uid_of(pod) != uid:
            del left[uid]
        elif pod is not None and "deletionTimestamp" not in pod["metadata"]:
            victim.seen["blocked"][uid] = evict(act.kube, namespace, name, uid)
    return None if left else [_successor(act, pod) for pod in victim.seen["pods"]]


def _successor(act: Act, before: Json) -> str:
    namespace, name = _name(before)
    pod = act.kube.pod(namespace, name)
    if pod is None:
        return f"pod {namespace}/{name} ({short(uid_of(before))}) was evicted; its controller gives new names"
    where = pod["spec"].get("nodeName") or "no node yet"
    return f"pod {namespace}/{name}: {short(uid_of(before))} evicted -> {short(uid_of(pod))} on {where}"


def _blocked(act: Act, victim: Victim) -> str:
    left, blocked = victim.seen["left"], victim.seen["blocked"]
    told = [f"{'/'.join(left[uid])}: {why}" for uid, why in blocked.items() if why and uid in left]
    return "; ".join(told) or f"{len(left)} pods still terminating"


def _healed(act: Act, victim: Victim) -> list[str] | None:
    """Wait for the node to be schedulable, and for the StatefulSets' pods that were evicted to be Ready again."""
    pending, lines = _look(act, victim)
    return None if pending else lines


def _look(act: Act, victim: Victim) -> tuple[list[str], list[str]]:
    """What is still to come back, and what is back."""
    pending, back = [], [f"node {victim.name} takes pods"]
    node = act.kube.node(victim.name)
    if node["spec"].get("unschedulable") and not our_cordons(node):
        pending.append(f"node {victim.name} is cordoned")
    for before in victim.seen["pods"]:
        if (controller_of(before) or {}).get("kind") != "StatefulSet":
            continue
        namespace, name = _name(before)
        pod = act.kube.pod(namespace, name)
        if pod is None or uid_of(pod) == uid_of(before) or not is_ready(pod):
            pending.append(f"pod {name} is not Ready")
        else:
            back.append(f"pod {name} is Ready on {pod['spec']['nodeName']}")
    return pending, back


def _unhealed(act: Act, victim: Victim) -> str:
    return "; ".join(_look(act, victim)[0]) or "all back"


prove_bite = bite_probe(FAULT, _emptied, "every pod has left the node", _blocked)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _healed, "the node open and its pods Ready again", _unhealed)
