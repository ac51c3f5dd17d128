"""Detach a pod's volume while the pod uses it: its VolumeAttachment is deleted, and the storage takes the disk away."""

from __future__ import annotations

import time
from typing import Any

from steadyset.chaos.act import Act, begin, resume
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Kube, is_ready, short, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.rights import Right
from steadyset.chaos.volumes import (
    ATTACHMENTS,
    DEAD,
    attachment_of,
    delete_the_pod,
    mount_of,
    need_writable,
    volume_of,
    write_error,
)
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="volume-detach",
    lease=Lease.ONE_SHOT,
    summary="delete the VolumeAttachment of a pod's volume while it is in use, so that its writes fail",
    deadlines={"bite_s": 60.0, "heal_s": 240.0},
    capabilities=("volume-attach", "pod-volumes"),
    rights=(Right("storage.k8s.io", "volumeattachments", ("list", "delete"), "detach the volume", namespaced=False),),
)


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    claim: str = "",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Delete the VolumeAttachment of pod `target`'s volume; `claim` names the PVC when the pod has several."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    pod = act.kube.need_pod(namespace, target)
    volume = volume_of(act.kube, pod, claim)
    attachment = attachment_of(act.kube, volume, pod["spec"].get("nodeName", ""))
    if attachment is None:
        raise InvalidError(f"volume {volume} of pod {target} has no VolumeAttachment: there is nothing to detach")
    mount = mount_of(act.info, pod, volume)
    need_writable(mount, target)
    name = attachment["metadata"]["name"]
    act.memory.update(pod=uid_of(pod), volume=volume, attachment=name, uid=uid_of(attachment), mount=mount)
    with act.injecting({"pod": target, "uid": uid_of(pod)}):
        act.kube.request("DELETE", f"{ATTACHMENTS}/{name}")
    return act.report()


def prove_bite(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait until the VolumeAttachment is gone and a write with fsync to the mounted volume fails: both."""
    act = resume(FAULT, namespace, target)
    with act.proving_bite() as lines:
        lines.extend(act.until(lambda: _bitten(act), "detached, and the writer sees it", "bite_s", lambda: _state(act)))
    return act.report()


def heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Delete the pod, so that its volume is attached and mounted anew: a file system that lost its disk stays dead."""
    act = resume(FAULT, namespace, target)
    act.healing(undo)
    return act.report()


def prove_heal(cluster: str, target: str, namespace: str = "default") -> dict[str, Any]:
    """Wait for a new pod of that name to be Ready, with its volume attached to its node and taking writes."""
    act = resume(FAULT, namespace, target)
    with act.proving_heal() as lines:
        lines.extend(act.until(lambda: _healed(act), f"{target} Ready on its volume", "heal_s", lambda: _state(act)))
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Delete the pod that lost its volume, if it still is the same one."""
    return delete_the_pod(kube, record.namespace, record.undo)


def _bitten(act: Act) -> list[str] | None:
    attachment = act.kube.get(f"{ATTACHMENTS}/{act.memory['attachment']}")
    detached = uid_of(attachment) != act.memory["uid"] or not (attachment or {}).get("status", {}).get("attached")
    if not detached:
        return None
    seen = write_error(act.memory["mount"])
    if seen not in DEAD:
        return None
    act.memory["bitten_ns"] = time.monotonic_ns()
    return [
        f"VolumeAttachment {act.memory['attachment']} ({short(act.memory['uid'])}) is gone or detached",
        f"write and fsync to volume {act.memory['volume']} in pod {act.target}: {seen}",
    ]


def _healed(act: Act) -> list[str] | None:
    pod = act.kube.pod(act.namespace, act.target)
    if pod is None or uid_of(pod) == act.memory["pod"] or not is_ready(pod):
        return None
    attachment = attachment_of(act.kube, act.memory["volume"], pod["spec"]["nodeName"])
    if not (attachment or {}).get("status", {}).get("attached"):
        return None
    if write_error(mount_of(act.info, pod, act.memory["volume"])):
        return None
    return [
        f"pod {act.target}: {short(act.memory['pod'])} -> {short(uid_of(pod))}, Ready on {pod['spec']['nodeName']}",
        f"volume {act.memory['volume']} is attached there ({short(uid_of(attachment))}) and takes writes",
    ]


def _state(act: Act) -> str:
    pod = act.kube.pod(act.namespace, act.target)
    attachments = [
        f"{a['spec']['nodeName']} attached={a.get('status', {}).get('attached')}"
        + (" being deleted" if "deletionTimestamp" in a["metadata"] else "")
        for a in act.kube.items(ATTACHMENTS)
        if a["spec"]["source"].get("persistentVolumeName") == act.memory["volume"]
    ]
    wrote = write_error(act.memory["mount"]) or "a write succeeds"
    return (
        f"attachments: {', '.join(attachments) or 'none'}; write to the mount of {short(act.memory['pod'])}: {wrote}; "
        f"pod {short(uid_of(pod))} ready {is_ready(pod)}"
    )
