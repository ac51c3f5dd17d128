"""Drain a node as an administrator would: cordon it, then evict its pods, with disruption budgets respected."""

from __future__ import annotations

import time
from typing import Any

from steadyset.chaos.act import Act, begin, resume
from steadyset.chaos.blast import Hits
from steadyset.chaos.cordon import cordon, our_cordons, uncordon
from steadyset.chaos.eviction import evict
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, Kube, controller_of, is_ready, short, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import NODE_PREFIX, node_of
from steadyset.clusterinfo import ClusterInfo
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
MIRROR = "kubernetes.io/config.mirror"


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    unowned: bool = False,
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Drain the node of pod `target`, or node `node/NAME`. An eviction that a budget refuses (429) is tried again until
    `bite_s` is over. Pods of DaemonSets, mirror pods and finished pods stay, as with `kubectl drain`; pods without a
    controller are refused unless `unowned`, since evicted they would never come back."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    node = node_of(act.kube, namespace, target)
    if act.kube.node(node)["spec"].get("unschedulable"):
        raise InvalidError(f"node {node} is cordoned already: draining it would prove nothing")
    pods = _evictable(act.kube, node)
    if not pods:
        raise InvalidError(f"node {node} has no pods to evict: the drain is aimed at nothing")
    alone = [p["metadata"]["name"] for p in pods if controller_of(p) is None]
    if alone and not unowned:
        raise UsageError(
            f"node {node} has pods without a controller, which would not come back: {', '.join(alone)}",
            do="pass unowned=true to evict them all the same",
        )
    if not target.startswith(NODE_PREFIX) and (namespace, target) not in [_name(p) for p in pods]:
        raise InvalidError(f"a drain does not evict pod {target}, so it cannot be its target", do="aim at node/NAME")
    named = {_name(p) for p in pods if (controller_of(p) or {}).get("kind") == "StatefulSet"}
    act.memory.update(node=node, pods={uid_of(p): _name(p) for p in pods}, named=named, blocked={})
    # Its pods go one after the other, as their disruption budgets allow.
    aimed = () if target.startswith(NODE_PREFIX) else (target,)
    with act.injecting({"node": node}, Hits(pods=aimed, nodes=(node,), verb="evicted")):
        assert act.record is not None
        cordon(act.kube, node, act.record.id)
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Evict until every pod found has left the node, then say where their successors are."""
    act = resume(FAULT, namespace, target)
    left: dict[str, tuple[str, str]] = dict(act.memory["pods"])
    with act.proving_bite() as lines:
        if not our_cordons(act.kube.node(act.memory["node"])):
            raise InvalidError(f"node {act.memory['node']} is not cordoned any more: somebody undid it")
        act.until(
            lambda: _evict_all(act, left),
            f"every pod has left node {act.memory['node']}",
            "bite_s",
            lambda: (
                "; ".join(
                    f"{'/'.join(left[u])}: {why}" for u, why in act.memory["blocked"].items() if why and u in left
                )
                or f"{len(left)} pods still terminating"
            ),
        )
        act.memory["bitten_ns"] = time.monotonic_ns()
        lines.extend(
            _successor(act.kube, namespace_, name, uid) for uid, (namespace_, name) in act.memory["pods"].items()
        )
    return act.report()


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Uncordon the node."""
    act = resume(FAULT, namespace, target)
    act.healing(undo)
    return act.report()


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait for the node to be schedulable, and for the StatefulSets' pods that were evicted to be Ready again."""
    act = resume(FAULT, namespace, target)
    with act.proving_heal() as lines:
        lines.extend(
            act.until(lambda: _healed(act), "node open and pods Ready again", "heal_s", lambda: _unhealed(act))
        )
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Take back the cordon of this record."""
    return uncordon(kube, record.undo["node"], record.id)


def found(info: ClusterInfo, kube: Kube, undo: Json) -> dict[str, str]:
    """Whether the node takes pods."""
    node = kube.get(f"/api/v1/nodes/{undo['node']}")
    return {f"node {undo['node']} unschedulable": str(bool(node and node["spec"].get("unschedulable")))}


def residue(info: ClusterInfo, kube: Kube, live_ids: set[str]) -> list[str]:
    """Cordons of ours that belong to no live fault."""
    return [
        f"node {node['metadata']['name']}: cordon of {owner}"
        for node in kube.items("/api/v1/nodes")
        for owner in our_cordons(node)
        if owner not in live_ids
    ]


def _name(pod: Json) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _evictable(kube: Kube, node: str) -> list[Json]:
    found = []
    for pod in kube.pods(fieldSelector=f"spec.nodeName={node}"):
        owner = controller_of(pod) or {}
        finished = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if (
            owner.get("kind") != "DaemonSet"
            and MIRROR not in (pod["metadata"].get("annotations") or {})
            and not finished
        ):
            found.append(pod)
    return found


def _evict_all(act: Act, left: dict[str, tuple[str, str]]) -> bool:
    """Ask for the eviction of every pod still there; True once none is. Pods gone are taken out of `left`."""
    for uid, (namespace, name) in list(left.items()):
        pod = act.kube.pod(namespace, name)
        if uid_of(pod) != uid:
            del left[uid]
        elif pod is not None and "deletionTimestamp" not in pod["metadata"]:
            act.memory["blocked"][uid] = evict(act.kube, namespace, name, uid)
    return not left


def _successor(kube: Kube, namespace: str, name: str, uid: str) -> str:
    pod = kube.pod(namespace, name)
    if pod is None:
        return f"pod {namespace}/{name} ({short(uid)}) was evicted; its controller gives new names"
    where = pod["spec"].get("nodeName") or "no node yet"
    return f"pod {namespace}/{name}: {short(uid)} evicted -> {short(uid_of(pod))} on {where}"


def _healed(act: Act) -> list[str] | None:
    return None if _pending(act) else [f"node {act.memory['node']} takes pods", *_back(act)]


def _pending(act: Act) -> list[str]:
    """What is still to come back."""
    pending = []
    node = act.kube.node(act.memory["node"])
    if node["spec"].get("unschedulable") and not our_cordons(node):
        pending.append(f"node {act.memory['node']} is cordoned")
    for uid, (namespace, name) in act.memory["pods"].items():
        pod = act.kube.pod(namespace, name)
        if (namespace, name) in act.memory["named"] and (uid_of(pod) == uid or not is_ready(pod)):
            pending.append(f"pod {name} is not Ready")
    return pending


def _back(act: Act) -> list[str]:
    lines = []
    for namespace, name in act.memory["named"]:
        pod = act.kube.pod(namespace, name)
        if pod is not None:
            lines.append(f"pod {name} is Ready on {pod['spec']['nodeName']}")
    return lines


def _unhealed(act: Act) -> str:
    return "; ".join(_pending(act)) or "all back"
