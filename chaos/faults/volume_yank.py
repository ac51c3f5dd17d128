"""Yank the disk under a running pod: its file system is shut down, and every later write fails with EIO."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent.volumes import shut_down
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Kube, is_ready, short, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite, recovered, undo_now
from steadyset.chaos.volumes import DEAD, delete_the_pod, mount_of, need_writable, volume_of, write_error
from steadyset.clusterinfo import ClusterInfo

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
    """Shut down the file system of pod `target`'s volume without flushing its log; `claim` when it has several."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    pod = act.kube.need_pod(namespace, target)
    volume = volume_of(act.kube, pod, claim)
    mount = mount_of(act.info, pod, volume)
    need_writable(mount, target)
    act.memory.update(pod=uid_of(pod), volume=volume, mount=mount)
    with act.injecting({"pod": target, "uid": uid_of(pod)}):
        mount.reach.call(shut_down, mount.path)
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until a write with fsync to the mounted volume fails."""
    return bite(FAULT, namespace, target, _dead, "the writer sees an error", _seen)


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Delete the pod, so that its volume is mounted anew."""
    return undo_now(FAULT, namespace, target, undo)


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait for a new pod of that name to be Ready with a volume that takes writes."""
    return recovered(FAULT, namespace, target, _back, f"pod {target} Ready on a volume that takes writes", _seen)


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Delete the pod that lost its volume, if it still is the same one."""
    return delete_the_pod(kube, record.namespace, record.undo)


def _dead(act: Act) -> list[str] | None:
    error = write_error(act.memory["mount"])
    return [f"write and fsync to volume {act.memory['volume']} in pod {act.target}: {error}"] if error in DEAD else None


def _back(act: Act) -> list[str] | None:
    pod = act.kube.pod(act.namespace, act.target)
    if pod is None or uid_of(pod) == act.memory["pod"] or not is_ready(pod):
        return None
    if write_error(mount_of(act.info, pod, act.memory["volume"])):
        return None
    return [f"pod {act.target}: {short(act.memory['pod'])} -> {short(uid_of(pod))}, Ready; its volume takes writes"]


def _seen(act: Act) -> str:
    pod = act.kube.pod(act.namespace, act.target)
    error = write_error(act.memory["mount"]) or "a write succeeds"
    return f"old mount: {error}; pod {short(uid_of(pod))} ready {is_ready(pod)}"
