"""Fill a pod's volume until no byte is left."""

from __future__ import annotations

import secrets
from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent.volumes import FILL_PREFIX, FULL, fill, remove_file
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Kube, is_ready
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite, recovered, undo_now
from steadyset.chaos.reach import NodeLease, end_lease, has_reach, reach_of
from steadyset.chaos.volumes import mount_of, mounts_of, need_writable, volume_of, write_error
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
    """Write a file into pod `target`'s volume until it is full; `claim` names the PVC when the pod has several."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    pod = act.kube.need_pod(namespace, target)
    volume = volume_of(act.kube, pod, claim)
    mount = mount_of(act.info, pod, volume)
    need_writable(mount, target)
    file = FILL_PREFIX + secrets.token_hex(4)
    act.memory.update(volume=volume, mount=mount)
    with act.injecting({"volume": volume, "file": file, "node": mount.reach.node}):
        assert act.record is not None
        lease = NodeLease(mount.reach, act.record.id, ttl_s)
        lease.begin(remove_file, volume, file)
        act.renewing.append(lease.renew)
        act.memory["bytes"] = mount.reach.call(fill, mount.path, file)
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until a write to the volume fails for want of space."""
    return bite(FAULT, namespace, target, _full, "the volume is full", _seen)


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Remove the file."""
    return undo_now(FAULT, namespace, target, undo)


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the volume takes writes again and the pod is Ready."""
    return recovered(FAULT, namespace, target, _free, f"space again, and pod {target} Ready", _seen)


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Remove the file wherever the volume is mounted by now; InstrumentError while it is mounted nowhere."""
    mounts = mounts_of(info, record.undo["volume"])
    if not mounts:
        raise InstrumentError(
            f"volume {record.undo['volume']} is mounted nowhere: {record.undo['file']} cannot be removed from it yet",
            do="start a pod that uses it, then: steadyset sweep",
        )
    mounts[0].reach.call(remove_file, record.undo["volume"], record.undo["file"])
    if has_reach(info, record.undo["node"]):
        end_lease(reach_of(info, record.undo["node"]), record.id)
    return [f"volume {record.undo['volume']}: {record.undo['file']} removed"]


def _full(act: Act) -> list[str] | None:
    error = write_error(act.memory["mount"])
    if error != FULL:
        return None
    return [f"volume {act.memory['volume']} took {act.memory['bytes']} bytes more; a write to it: {error}"]


def _free(act: Act) -> list[str] | None:
    pod = act.kube.pod(act.namespace, act.target)
    if pod is None or not is_ready(pod) or write_error(mount_of(act.info, pod, act.memory["volume"])):
        return None
    return [f"volume {act.memory['volume']} takes writes; pod {act.target} is Ready"]


def _seen(act: Act) -> str:
    error = write_error(act.memory["mount"]) or "a write succeeds"
    return f"{error}; ready {is_ready(act.kube.pod(act.namespace, act.target))}"
