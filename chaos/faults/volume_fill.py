"""Fill a pod's volume until no byte is left."""

from __future__ import annotations

import secrets
from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent.volumes import FILL_PREFIX, FULL, fill, remove_file
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Kube, is_ready
from steadyset.chaos.leased import end_on_node, lease_on_node
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.targets import Victim
from steadyset.chaos.volumes import aim_at_volumes, mount_of, mounts_of, see_volume, write_error
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="volume-fill",
    lease=Lease.WATCHDOG,
    summary="fill a pod's volume, so that its writes fail with ENOSPC",
    deadlines={"bite_s": 60.0, "heal_s": 240.0},
    capabilities=("pod-volumes",),
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    claim: str = "",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Write a file into the volume of each pod of `target` until it is full; `claim` names the PVC when there are
    several."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    aim_at_volumes(act, claim)
    file = FILL_PREFIX + secrets.token_hex(4)
    filled = [[v.seen["volume"], v.seen["mount"].reach.node] for v in act.victims]
    with act.injecting({"filled": filled, "file": file}):
        for number, victim in enumerate(act.victims):
            mount = victim.seen["mount"]
            lease_on_node(act, number, mount.reach, remove_file, mount.volume, file)
            victim.seen["bytes"] = mount.reach.call(fill, mount.path, file)
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Remove the file wherever the volume is mounted by now; InstrumentError while it is mounted nowhere."""
    file = record.undo["file"]
    for number, (volume, node) in enumerate(record.undo["filled"]):
        mounts = mounts_of(info, volume)
        if not mounts:
            raise InstrumentError(
                f"volume {volume} is mounted nowhere: {file} cannot be removed from it yet",
                do="start a pod that uses it, then: steadyset sweep",
            )
        mounts[0].reach.call(remove_file, volume, file)
        end_on_node(info, record, number, node)
    return [f"volume {volume}: {file} removed" for volume, _ in record.undo["filled"]]


def _full(act: Act, victim: Victim) -> list[str] | None:
    """Wait until a write to the volume fails for want of space."""
    error = write_error(victim.seen["mount"])
    if error != FULL:
        return None
    return [f"volume {victim.seen['volume']} took {victim.seen['bytes']} bytes more; a write to it: {error}"]


def _free(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the volume takes writes again and the pod is Ready."""
    pod = act.kube.pod(act.namespace, victim.name)
    if pod is None or not is_ready(pod) or write_error(mount_of(act.info, pod, victim.seen["volume"])):
        return None
    return [f"volume {victim.seen['volume']} takes writes; pod {victim.name} is Ready"]


prove_bite = bite_probe(FAULT, _full, "the volume is full", see_volume)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _free, "space again, and the pod Ready", see_volume)
