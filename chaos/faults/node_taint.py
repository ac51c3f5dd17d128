"""Taint a node, by default as out of service: its pods are deleted and their volumes detached by force."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, Kube, RefusedError, is_ready, short, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite, recovered, undo_now
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import node_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, InvalidError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="node-taint",
    lease=Lease.WATCHDOG,
    summary="taint a node (default: out of service, NoExecute), so that its pods are evicted",
    deadlines={"bite_s": 60.0, "heal_s": 240.0},
    target="node",
    rights=(Right("", "nodes", ("get", "patch"), "taint the node", namespaced=False),),
)
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
CONFLICT_RETRIES = 20  # a node's status is written every few seconds: conflicts are rare and short


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    key: str = OUT_OF_SERVICE,
    value: str = "nodeshutdown",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Put taint `key`=`value`:NoExecute on the node of pod `target`. The out-of-service taint says that the node is
    off; on a running node it makes Kubernetes believe what is not so, which is the point of some tests."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    node = node_of(act.kube, namespace, target)
    if any(t["key"] == key for t in _taints(act.kube, node)):
        raise InvalidError(f"node {node} bears taint {key} already: tainting it would change nothing")
    act.memory.update(node=node, key=key, uid=uid_of(act.kube.need_pod(namespace, target)))
    with act.injecting({"node": node, "key": key, "value": value}):
        _update(act.kube, node, lambda taints: [*taints, {"key": key, "value": value, "effect": "NoExecute"}])
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the pod of that UID is gone from the node."""
    return bite(FAULT, namespace, target, _evicted, f"pod {target} is evicted", _seen)


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Remove the taint."""
    return undo_now(FAULT, namespace, target, undo)


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the taint is gone and the pod of that name is Ready."""
    return recovered(FAULT, namespace, target, _back, f"no taint, and pod {target} Ready", _seen)


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Remove the taint of this record."""
    key, value = record.undo["key"], record.undo["value"]
    _update(kube, record.undo["node"], lambda ts: [t for t in ts if (t["key"], t.get("value")) != (key, value)])
    return [f"node {record.undo['node']}: taint {key} removed"]


def found(info: ClusterInfo, kube: Kube, undo: Json) -> dict[str, str]:
    """Whether the node bears that taint."""
    return {
        f"node {undo['node']} taint {undo['key']}": str(undo["key"] in [t["key"] for t in _taints(kube, undo["node"])])
    }


def _taints(kube: Kube, node: str) -> list[Json]:
    taints: list[Json] = (kube.get(f"/api/v1/nodes/{node}") or {"spec": {}})["spec"].get("taints", [])
    return taints


def _update(kube: Kube, node: str, change: Any) -> None:
    for _ in range(CONFLICT_RETRIES):
        obj = kube.get(f"/api/v1/nodes/{node}")
        if obj is None:
            return
        version = obj["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version}, "spec": {"taints": change(obj["spec"].get("taints", []))}}
        try:
            kube.request("PATCH", f"/api/v1/nodes/{node}", patch)
        except RefusedError as error:
            if error.status != 409:
                raise
        else:
            return
    raise InstrumentError(f"node {node} changes so fast that it could not be updated in {CONFLICT_RETRIES} attempts")


def _evicted(act: Act) -> list[str] | None:
    pod = act.kube.pod(act.namespace, act.target)
    if uid_of(pod) == act.memory["uid"]:
        return None
    return [
        f"node {act.memory['node']} bears {act.memory['key']}; pod {act.target}: {short(act.memory['uid'])} is gone"
    ]


def _back(act: Act) -> list[str] | None:
    pod = act.kube.pod(act.namespace, act.target)
    tainted = any(t["key"] == act.memory["key"] for t in _taints(act.kube, act.memory["node"]))
    if tainted or pod is None or not is_ready(pod):
        return None
    return [f"node {act.memory['node']} is free of it; pod {act.target} is Ready on {pod['spec']['nodeName']}"]


def _seen(act: Act) -> str:
    pod = act.kube.pod(act.namespace, act.target)
    keys = [t["key"] for t in _taints(act.kube, act.memory["node"])]
    return f"taints {keys}; pod {short(uid_of(pod))} ready {is_ready(pod)}"
