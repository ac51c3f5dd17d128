"""Freeze a node: none of its processes runs, while its kernel still acknowledges packets."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import begin
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import Record
from steadyset.chaos.machine import node_machine
from steadyset.chaos.nodes import answers_again, remember_node, seen_of_node, silent
from steadyset.chaos.phases import bite, recovered, undo_now
from steadyset.clusterinfo import ClusterInfo

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="node-freeze",
    lease=Lease.WATCHDOG,
    summary="freeze every process of a node, whose kernel still answers",
    deadlines={"bite_s": 30.0, "heal_s": 240.0},
    capabilities=("node-freeze", "node-exec"),
    target="node",
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Switch the node of pod `target`, or node `node/NAME`, to "freeze"."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    node = remember_node(act)
    with act.injecting({"node": node}):
        node_machine(act.info, "freeze", node)
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the node's kubelet gives no answer to a request over the network."""
    return bite(FAULT, namespace, target, silent, "the node is silent", seen_of_node)


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Switch the node to "thaw"."""
    return undo_now(FAULT, namespace, target, undo)


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the kubelet answers and the node is Ready."""
    return recovered(FAULT, namespace, target, answers_again, "the node answers and is Ready", seen_of_node)


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Switch the node of this record to "thaw"; nothing happens to one that is."""
    node_machine(info, "thaw", record.undo["node"])
    return [f"node {record.undo['node']}: thaw"]
