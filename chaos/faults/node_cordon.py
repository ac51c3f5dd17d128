"""Cordon a node: running pods stay, new ones do not come."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.cordon import cordon, found_schedulable, need_open, our_cordons, uncordon_all
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim

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
    """Cordon the nodes of the pods of `target`, or node `node/NAME`."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    for victim in act.victims:
        need_open(victim)
    with act.injecting({"nodes": [v.name for v in act.victims]}):
        assert act.record is not None
        act.memory["owner"] = act.record.id
        for victim in act.victims:
            cordon(act.kube, victim.name, act.record.id)
    return act.report()


undo = uncordon_all
found = found_schedulable


def _tainted(act: Act, victim: Victim) -> bool:
    return any(t["key"] == TAINT for t in act.kube.node(victim.name)["spec"].get("taints", []))


def _closed(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the node bears the taint that keeps pods away."""
    ours = act.memory["owner"] in our_cordons(act.kube.node(victim.name))
    return [f"node {victim.name} is cordoned and bears taint {TAINT}"] if ours and _tainted(act, victim) else None


def _open(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the node takes pods again."""
    return None if _tainted(act, victim) else [f"node {victim.name} takes pods"]


def _seen(act: Act, victim: Victim) -> str:
    spec = act.kube.node(victim.name)["spec"]
    return f"unschedulable {spec.get('unschedulable', False)}, taints {[t['key'] for t in spec.get('taints', [])]}"


prove_bite = bite_probe(FAULT, _closed, "the node keeps pods away", _seen)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _open, "the node takes pods", _seen)
