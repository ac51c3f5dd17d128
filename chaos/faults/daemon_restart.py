"""Restart a daemon of a node or of the control plane: killed, and started again at once."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import begin
from steadyset.chaos.daemons import aim_at_daemons, is_another, is_well, see_daemon, start_daemons, switch_daemon
from steadyset.chaos.fault import TTL_S, Fault, Lease
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


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    daemon: str = "",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Kill `daemon` and start it again. Of a node (kubelet, containerd, kube-proxy): `target` is a pod on it or
    node/NAME. Of the control plane (kube-apiserver, etcd, kube-scheduler, kube-controller-manager, csi-attacher,
    csi-provisioner): `target` is the daemon's name itself."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    aim_at_daemons(act, daemon)
    with act.injecting({"daemons": [v.name for v in act.victims]}):
        for victim in act.victims:
            switch_daemon(act.info, "restart", victim.name)
    return act.report()


undo = start_daemons
prove_bite = bite_probe(FAULT, is_another, "the daemon is another process", see_daemon)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, is_well, "the daemon runs and its cluster is well", see_daemon)
