"""Detach a pod's volume while the pod uses it: its VolumeAttachment is deleted, and the storage takes the disk away."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import short, uid_of
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim
from steadyset.chaos.volumes import (
    ATTACHMENTS,
    aim_at_volumes,
    attachment_of,
    back_on_volume,
    dead,
    delete_the_pods,
    need_attachment,
    see_attachments,
    undo_of,
)

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
    """Delete the VolumeAttachments of the volumes of the pods of `target`; `claim` names the PVC when a pod has
    several."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    aim_at_volumes(act, claim)
    for victim in act.victims:
        need_attachment(act, victim)
    with act.injecting(undo_of(act)):
        for victim in act.victims:
            act.kube.delete(f"{ATTACHMENTS}/{victim.seen['attachment']}")
    return act.report()


def _detached(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the attachment is gone or says detached, and a write with fsync to the mounted volume fails."""
    name, uid = victim.seen["attachment"], victim.seen["attachment_uid"]
    attachment = act.kube.get(f"{ATTACHMENTS}/{name}")
    if uid_of(attachment) == uid and (attachment or {}).get("status", {}).get("attached"):
        return None
    failed = dead(act, victim)
    return failed and [f"VolumeAttachment {name} ({short(uid)}) is gone or detached", *failed]


def _attached(act: Act, victim: Victim) -> list[str] | None:
    """Wait for a new pod of that name to be Ready, with its volume attached to its node and taking writes."""
    lines = back_on_volume(act, victim)
    pod = act.kube.pod(act.namespace, victim.name)
    attachment = attachment_of(act.kube, victim.seen["volume"], pod["spec"]["nodeName"]) if pod and lines else None
    if not lines or not (attachment or {}).get("status", {}).get("attached"):
        return None
    return [*lines, f"volume {victim.seen['volume']} is attached there ({short(uid_of(attachment))})"]


undo = delete_the_pods
prove_bite = bite_probe(FAULT, _detached, "the volume is detached and its writer sees an error", see_attachments)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _attached, "the pod Ready on its volume", see_attachments)
