"""Reboot a node without warning: its plug is pulled and put back at once."""

from __future__ import annotations

from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.nodes import answers_again, rebooted, see_node, switch_action, switch_undo
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="node-reboot",
    lease=Lease.WATCHDOG,
    summary="power-cycle a node: off without warning and on again at once",
    deadlines={"bite_s": 90.0, "heal_s": 240.0},
    capabilities=("node-power", "node-exec"),
    target="node",
)

inject = switch_action(FAULT, ("off", "on"), "Power-cycle the nodes of the pods of `target`, or node `node/NAME`.")
undo = switch_undo("on", "Power on the nodes of this record; one that is on stays as it is.")
prove_bite = bite_probe(FAULT, rebooted, "the node has booted anew", see_node)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, answers_again, "the node answers and is Ready", see_node)
