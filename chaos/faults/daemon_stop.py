"""Stop a daemon of a node or of the control plane; it stays away until the heal starts it."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import begin
from steadyset.chaos.daemons import aim_at_daemons, is_down, is_well, see_daemon, start_daemons, switch_daemon
from steadyset.chaos.fault import TTL_S, Fault, Lease
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


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    daemon: str = "",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Kill `daemon` and keep it from running. Of a node (kubelet, containerd, kube-proxy): `target` is a pod on it or
    node/NAME. Of the control plane (kube-apiserver, etcd, kube-scheduler, kube-controller-manager, csi-attacher,
    csi-provisioner): `target` is the daemon's name itself."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    aim_at_daemons(act, daemon)
    with act.injecting({"daemons": [v.name for v in act.victims]}):
        for victim in act.victims:
            switch_daemon(act.info, "stop", victim.name)
    return act.report()


undo = start_daemons
prove_bite = bite_probe(FAULT, is_down, "the daemon is gone", see_daemon)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, is_well, "the daemon runs and its cluster is well", see_daemon)
