"""Taint a node, by default as out of service: its pods are deleted and their volumes detached by force."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.cordon import NODES
from steadyset.chaos.eviction import evictable
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, Kube, controller_of, is_ready, short, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="node-taint",
    lease=Lease.WATCHDOG,
    summary="taint a node (default: out of service, NoExecute), so that its pods are evicted",
    deadlines={"bite_s": 60.0, "heal_s": 240.0},
    target="node",
    rights=(
        Right("", "nodes", ("get", "patch"), "taint the node", namespaced=False),
        Right("", "pods", ("list",), "find what runs on the node", namespaced=False),
    ),
)
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    key: str = OUT_OF_SERVICE,
    value: str = "nodeshutdown",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Put taint `key`=`value`:NoExecute on the nodes of the pods of `target`, or on `node/NAME`. The out-of-service
    taint says that the node is off; on a running node it makes Kubernetes believe what is not so, which is the point of
    some tests."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    for victim in act.victims:
        if any(t["key"] == key for t in victim.obj["spec"].get("taints", [])):
            raise InvalidError(f"node {victim.name} bears taint {key} already: tainting it would change nothing")
        pods = [p for p in evictable(act.kube, victim.name) if not _tolerates(p, key)]
        if not pods:
            raise InvalidError(f"node {victim.name} has no pods that the taint evicts: it is aimed at nothing")
        victim.seen["pods"] = pods
    act.memory["key"] = key
    with act.injecting({"nodes": [v.name for v in act.victims], "key": key, "value": value}):
        for victim in act.victims:
            _set_taints(act.kube, victim.name, lambda ts: [*ts, {"key": key, "value": value, "effect": "NoExecute"}])
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Remove the taint of this record."""
    mine = record.undo["key"], record.undo["value"]
    for node in record.undo["nodes"]:
        _set_taints(kube, node, lambda taints: [t for t in taints if (t["key"], t.get("value")) != mine])
    return [f"node {node}: taint {mine[0]} removed" for node in record.undo["nodes"]]


def found(info: ClusterInfo, kube: Kube, undo: Json) -> dict[str, str]:
    """Whether the nodes bear that taint."""
    return {f"node {n} taint {undo['key']}": str(undo["key"] in _keys(kube, n)) for n in undo["nodes"]}


def _set_taints(kube: Kube, node: str, change: Any) -> None:
    kube.update(f"{NODES}/{node}", lambda obj: {"spec": {"taints": change(obj["spec"].get("taints", []))}})


def _keys(kube: Kube, node: str) -> list[str]:
    return [t["key"] for t in (kube.get(f"{NODES}/{node}") or {"spec": {}})["spec"].get("taints", [])]


def _tolerates(pod: Json, key: str) -> bool:
    effects = ("", "NoExecute")
    tolerations = [t for t in pod["spec"].get("tolerations", []) if t.get("effect", "") in effects]
    return any(t.get("key", "") in ("", key) for t in tolerations)


def _evicted(act: Act, victim: Victim) -> list[str] | None:
    """Wait until every pod that does not tolerate the taint is gone from the node."""
    key, lines = act.memory["key"], []
    if key not in _keys(act.kube, victim.name):
        return None
    for before in victim.seen["pods"]:
        namespace, name = before["metadata"]["namespace"], before["metadata"]["name"]
        if uid_of(act.kube.pod(namespace, name)) == uid_of(before):
            return None
        lines.append(f"node {victim.name} bears {key}; pod {namespace}/{name}: {short(uid_of(before))} is gone")
    return lines


def _back(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the taint is gone and the StatefulSets' pods that were evicted are Ready."""
    lines = [f"node {victim.name} is free of it"]
    for before in victim.seen["pods"]:
        if (controller_of(before) or {}).get("kind") == "StatefulSet":
            pod = act.kube.pod(before["metadata"]["namespace"], before["metadata"]["name"])
            if pod is None or not is_ready(pod):
                return None
            lines.append(f"pod {pod['metadata']['name']} is Ready on {pod['spec']['nodeName']}")
    return None if act.memory["key"] in _keys(act.kube, victim.name) else lines


def _seen(act: Act, victim: Victim) -> str:
    names = [p["metadata"]["name"] for p in evictable(act.kube, victim.name)]
    return f"node {victim.name}: taints {_keys(act.kube, victim.name)}; pods {names}"


prove_bite = bite_probe(FAULT, _evicted, "the node's pods are evicted", _seen)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _back, "no taint, and the pods Ready again", _seen)
