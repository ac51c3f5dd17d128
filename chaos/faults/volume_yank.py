"""Yank the disk under a running pod: its file system is shut down, and every later write fails with EIO."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import begin
from steadyset.chaos.agent.volumes import shut_down
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.volumes import aim_at_volumes, back_on_volume, dead, delete_the_pods, see_volume, undo_of

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="volume-yank",
    lease=Lease.ONE_SHOT,
    summary="shut a pod's file system down as if its disk were yanked: writes fail with EIO, unsynced data is lost",
    deadlines={"bite_s": 15.0, "heal_s": 240.0},
    capabilities=("pod-volumes", "volume-attach"),
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    claim: str = "",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Shut down the file systems of the volumes of the pods of `target` without flushing their logs; `claim` names the
    PVC when a pod has several."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    aim_at_volumes(act, claim)
    with act.injecting(undo_of(act)):
        for victim in act.victims:
            victim.seen["mount"].reach.call(shut_down, victim.seen["mount"].path)
    return act.report()


undo = delete_the_pods
prove_bite = bite_probe(FAULT, dead, "the writer sees an error", see_volume)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, back_on_volume, "the pod Ready on a volume that takes writes", see_volume)
