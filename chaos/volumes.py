"""A pod's volume: where it is mounted, whether it takes writes, whether it is attached."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Concatenate

import msgspec

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent import volumes
from steadyset.chaos.agent.node import Node
from steadyset.chaos.fault import TTL_S, Fault
from steadyset.chaos.kube import Json, Kube, is_ready, short, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import Activity
from steadyset.chaos.reach import Reach, all_reaches, at_once, reach_of_pod
from steadyset.chaos.targets import Victim
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError, UsageError

ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
DEAD = {errno.errorcode[e] for e in (errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN)}


class Mount(msgspec.Struct, kw_only=True, frozen=True):
    """A volume as it is mounted for a pod: its path on the node, and how the node is worked."""

    volume: str
    path: str
    reach: Reach


def claim_of(pod: Json, claim: str = "") -> str:
    """Name of the pod's claim (its first one when `claim` is empty); UsageError when it has no such claim."""
    name, volumes = pod["metadata"]["name"], pod["spec"].get("volumes", [])
    claims = [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]
    short_names = {c.removesuffix(f"-{name}"): c for c in claims}  # a template's name stands for its claim
    found = claims[0] if claims and not claim else short_names.get(claim, claim)
    if found not in claims:
        known = ", ".join(claims) or "none"
        raise UsageError(f"pod {name} has no claim {claim or 'at all'}", expected=f"one of: {known}", seen=claim)
    return str(found)


def claim_path(namespace: str, claim: str) -> str:
    """Where the claim lies in the API."""
    return f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}"


def volume_of(kube: Kube, pod: Json, claim: str = "") -> str:
    """Name of the PersistentVolume behind the pod's claim (its first one); UsageError when it has none."""
    name = claim_of(pod, claim)
    bound = kube.get(claim_path(pod["metadata"]["namespace"], name))
    volume = (bound or {}).get("spec", {}).get("volumeName", "")
    if not volume:
        raise InvalidError(f"claim {name} of pod {pod['metadata']['name']} is not bound to a volume")
    return str(volume)


def attachment_of(kube: Kube, volume: str, node: str) -> Json | None:
    """The VolumeAttachment of that volume to that node."""
    for item in kube.items(ATTACHMENTS):
        if item["spec"]["source"].get("persistentVolumeName") == volume and item["spec"]["nodeName"] == node:
            return item
    return None


def mount_of(info: ClusterInfo, pod: Json, volume: str) -> Mount:
    """Where the kubelet of the pod's node has mounted the volume for the pod; the path is "" while it has not."""
    reach = reach_of_pod(info, pod)
    found = reach.call(volumes.mounts, volume, uid_of(pod))
    return Mount(volume=volume, path=found[0] if found else "", reach=reach)


def mounts_of(info: ClusterInfo, volume: str) -> list[Mount]:
    """Every mount of the volume for a pod, on any node whose kernel can be worked."""
    reaches = all_reaches(info)
    found = at_once([partial(reach.call, volumes.mounts, volume) for reach in reaches])
    return [Mount(volume=volume, path=p, reach=r) for r, paths in zip(reaches, found, strict=True) for p in paths]


def write_error(mount: Mount) -> str:
    """Write to the volume mounted there and fsync: "" when that worked, else the errno's name."""
    return mount.reach.call(volumes.write_error, mount.path)


def mount_action(fault: Fault, verb: Callable[Concatenate[Node, str, ...], object], doc: str) -> Activity:
    """The action `inject` of a fault that does `verb` to the path where each victim's volume is mounted."""

    def inject(
        cluster: str,
        target: str,
        namespace: str = "default",
        claim: str = "",
        ttl_s: float = TTL_S,
        deadlines: dict[str, float] | None = None,
    ) -> Json:
        act = begin(fault, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
        aim_at_volumes(act, claim)
        with act.injecting(undo_of(act)):
            for victim in act.victims:
                victim.seen["mount"].reach.call(verb, victim.seen["mount"].path)
        return act.report()

    inject.__doc__, inject.__module__ = f"{doc}; `claim` names the PVC when a pod has several.", fault.module
    return inject


def aim_at_volumes(act: Act, claim: str = "") -> None:
    """Note volume and mount of each victim; `claim` names the PVC when the pods have several.

    Errors: UsageError for a pod without such a claim; InvalidError when a volume takes no writes before the fault:
    breaking it would prove nothing.
    """
    for victim in act.victims:
        volume = volume_of(act.kube, victim.obj, claim)
        mount = mount_of(act.info, victim.obj, volume)
        before = write_error(mount)
        if before:
            raise InvalidError(
                f"the volume of pod {victim.name} takes no writes as it is ({before}): breaking it proves nothing"
            )
        victim.seen.update(volume=volume, mount=mount)


def need_attachment(act: Act, victim: Victim) -> None:
    """Note the VolumeAttachment of the victim's volume. InvalidError when it has none."""
    volume = victim.seen["volume"]
    attachment = attachment_of(act.kube, volume, victim.obj["spec"].get("nodeName", ""))
    if attachment is None:
        raise InvalidError(f"volume {volume} of pod {victim.name} has no VolumeAttachment: there is nothing to detach")
    victim.seen.update(attachment=attachment["metadata"]["name"], attachment_uid=uid_of(attachment))


def undo_of(act: Act) -> Json:
    """What `delete_the_pods` needs to know."""
    return {"pods": {v.name: v.uid for v in act.victims}}


def dead(act: Act, victim: Victim) -> list[str] | None:
    """Wait until a write with fsync to the mounted volume fails."""
    error = write_error(victim.seen["mount"])
    if error not in DEAD:
        return None
    return [f"write and fsync to volume {victim.seen['volume']} in pod {victim.name}: {error}"]


def back_on_volume(act: Act, victim: Victim) -> list[str] | None:
    """Wait for a new pod of that name to be Ready with a volume that takes writes."""
    pod = act.kube.pod(act.namespace, victim.name)
    if pod is None or uid_of(pod) == victim.uid or not is_ready(pod):
        return None
    if write_error(mount_of(act.info, pod, victim.seen["volume"])):
        return None
    where = pod["spec"]["nodeName"]
    return [
        f"pod {victim.name}: {short(victim.uid)} -> {short(uid_of(pod))}, Ready on {where}; its volume takes writes"
    ]


def see_volume(act: Act, victim: Victim) -> str:
    """For errors."""
    pod = act.kube.pod(act.namespace, victim.name)
    error = write_error(victim.seen["mount"]) or "a write succeeds"
    return f"mount of {short(victim.uid)}: {error}; pod {short(uid_of(pod))} ready {is_ready(pod)}"


def see_attachments(act: Act, victim: Victim) -> str:
    """For errors: the volume's attachments, and what a writer sees."""
    attachments = [
        f"{a['spec']['nodeName']} attached={a.get('status', {}).get('attached')}"
        + (" being deleted" if "deletionTimestamp" in a["metadata"] else "")
        for a in act.kube.items(ATTACHMENTS)
        if a["spec"]["source"].get("persistentVolumeName") == victim.seen["volume"]
    ]
    return f"attachments: {', '.join(attachments) or 'none'}; {see_volume(act, victim)}"


def delete_the_pods(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Delete the pods that lost their volumes, to be mounted anew: a dead file system stays dead until then."""
    lines = []
    for name, uid in record.undo["pods"].items():
        if uid_of(kube.pod(record.namespace, name)) == uid:  # else it has been replaced already
            kube.delete_pod(record.namespace, name, uid)
            lines.append(f"pod {record.namespace}/{name} ({short(uid)}) deleted, to be staged anew")
    return lines
