"""Stop a daemon of a node or of the control plane; it stays away until the heal starts it."""

from __future__ import annotations

from steadyset.chaos.daemons import is_down, is_well, see_daemon, start_daemons, switch_action
from steadyset.chaos.fault import Fault, Lease
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="daemon-stop",
    lease=Lease.WATCHDOG,
    summary="stop a daemon (kubelet, containerd, API server, etcd, scheduler, …) until the heal starts it",
    deadlines={"bite_s": 60.0, "heal_s": 180.0},
    capabilities=("daemons",),
    target="cluster",
)

inject = switch_action(FAULT, "stop", "Kill `daemon` and keep it from running.")
undo = start_daemons
prove_bite = bite_probe(FAULT, is_down, "the daemon is gone", see_daemon)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, is_well, "the daemon runs and its cluster is well", see_daemon)
