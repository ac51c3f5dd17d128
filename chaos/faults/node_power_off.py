"""Pull a node's plug: unsynced writes are lost, no connection is closed, and it boots anew at the heal."""

from __future__ import annotations

from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.nodes import answers_again, see_node, silent, switch_action, switch_undo
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="node-power-off",
    lease=Lease.WATCHDOG,
    summary="power a node off without warning, and on again at the heal",
    deadlines={"bite_s": 30.0, "heal_s": 240.0},
    capabilities=("node-power", "node-exec"),
    target="node",
)

inject = switch_action(
    FAULT, ("off",), "Power off the nodes of the pods of `target`, or node `node/NAME`, without warning."
)
undo = switch_undo("on", "Power on the nodes of this record.")
prove_bite = bite_probe(FAULT, silent, "the node is silent", see_node)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, answers_again, "the node answers and is Ready", see_node)
