"""Freeze a node: none of its processes runs, while its kernel still acknowledges packets."""

from __future__ import annotations

from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.nodes import answers_again, see_node, silent, switch_action, switch_undo
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="node-freeze",
    lease=Lease.WATCHDOG,
    summary="freeze every process of a node, whose kernel still answers",
    deadlines={"bite_s": 30.0, "heal_s": 240.0},
    capabilities=("node-freeze", "node-exec"),
    target="node",
)

inject = switch_action(FAULT, ("freeze",), "Freeze the nodes of the pods of `target`, or node `node/NAME`.")
undo = switch_undo("thaw", "Thaw the nodes of this record.")
prove_bite = bite_probe(FAULT, silent, "the node is silent", see_node)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, answers_again, "the node answers and is Ready", see_node)
