"""Restart a daemon of a node or of the control plane: killed, and started again at once."""

from __future__ import annotations

from steadyset.chaos.daemons import is_another, is_well, see_daemon, start_daemons, switch_action
from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="daemon-restart",
    lease=Lease.WATCHDOG,
    summary="kill a daemon (kubelet, containerd, API server, etcd, scheduler, …) and start it again at once",
    deadlines={"bite_s": 60.0, "heal_s": 180.0},
    capabilities=("daemons",),
    target="cluster",
)

inject = switch_action(FAULT, "restart", "Kill `daemon` and start it again.")
undo = start_daemons
prove_bite = bite_probe(FAULT, is_another, "the daemon is another process", see_daemon)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, is_well, "the daemon runs and its cluster is well", see_daemon)
