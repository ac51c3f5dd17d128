"""Cordon a node: running pods stay, new ones do not come."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.cordon import cordon, our_cordons, uncordon
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, Kube
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite, recovered, undo_now
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import node_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="node-cordon",
    lease=Lease.WATCHDOG,
    summary="cordon a node, so that no pod is scheduled to it",
    deadlines={"bite_s": 15.0, "heal_s": 15.0},
    target="node",
    rights=(Right("", "nodes", ("get", "patch"), "cordon the node", namespaced=False),),
    disturbs=False,
)
TAINT = "node.kubernetes.io/unschedulable"


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Cordon the node of pod `target`, or node `node/NAME`."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    node = node_of(act.kube, namespace, target)
    if act.kube.node(node)["spec"].get("unschedulable"):
        raise InvalidError(f"node {node} is cordoned already: cordoning it would change nothing")
    act.memory["node"] = node
    with act.injecting({"node": node}):
        assert act.record is not None
        act.memory["owner"] = act.record.id
        cordon(act.kube, node, act.record.id)
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the node bears the taint that keeps pods away."""
    return bite(FAULT, namespace, target, _closed, "the node keeps pods away", _seen)


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Take the cordon back."""
    return undo_now(FAULT, namespace, target, undo)


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the node takes pods again."""
    return recovered(FAULT, namespace, target, _open, "the node takes pods", _seen)


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Take back the cordon of this record."""
    return uncordon(kube, record.undo["node"], record.id)


def found(info: ClusterInfo, kube: Kube, undo: Json) -> dict[str, str]:
    """Whether the node takes pods."""
    node = kube.get(f"/api/v1/nodes/{undo['node']}")
    return {f"node {undo['node']} unschedulable": str(bool(node and node["spec"].get("unschedulable")))}


def _tainted(act: Act) -> bool:
    return any(t["key"] == TAINT for t in act.kube.node(act.memory["node"])["spec"].get("taints", []))


def _closed(act: Act) -> list[str] | None:
    ours = act.memory["owner"] in our_cordons(act.kube.node(act.memory["node"]))
    return [f"node {act.memory['node']} is cordoned and bears taint {TAINT}"] if ours and _tainted(act) else None


def _open(act: Act) -> list[str] | None:
    return None if _tainted(act) else [f"node {act.memory['node']} takes pods"]


def _seen(act: Act) -> str:
    spec = act.kube.node(act.memory["node"])["spec"]
    return f"unschedulable {spec.get('unschedulable', False)}, taints {[t['key'] for t in spec.get('taints', [])]}"
