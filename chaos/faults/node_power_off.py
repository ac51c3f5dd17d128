"""Pull a node's plug: unsynced writes are lost, no connection is closed, and it boots anew at the heal."""

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
    name="node-power-off",
    lease=Lease.WATCHDOG,
    summary="power a node off without warning, and on again at the heal",
    deadlines={"bite_s": 30.0, "heal_s": 240.0},
    capabilities=("node-power", "node-exec"),
    target="node",
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Switch the node of pod `target`, or node `node/NAME`, to "off"."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    node = remember_node(act)
    with act.injecting({"node": node}):
        node_machine(act.info, "off", node)
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the node's kubelet gives no answer to a request over the network."""
    return bite(FAULT, namespace, target, silent, "the node is silent", seen_of_node)


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Switch the node to "on"."""
    return undo_now(FAULT, namespace, target, undo)


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the kubelet answers and the node is Ready."""
    return recovered(FAULT, namespace, target, answers_again, "the node answers and is Ready", seen_of_node)


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Switch the node of this record to "on"; nothing happens to one that is."""
    node_machine(info, "on", record.undo["node"])
    return [f"node {record.undo['node']}: on"]
