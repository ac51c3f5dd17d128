"""A pod's volume: where it is mounted, whether it takes writes, whether it is attached."""

from __future__ import annotations

import errno
from functools import partial
from typing import Any

import msgspec

from steadyset.chaos.agent import volumes
from steadyset.chaos.kube import Json, Kube, short, uid_of
from steadyset.chaos.reach import Reach, all_reaches, at_once, reach_of_pod
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError, UsageError

ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
DEAD = {errno.errorcode[e] for e in (errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN)}


class Mount(msgspec.Struct, kw_only=True, frozen=True):
    """A volume as it is mounted for a pod: its path on the node, and how the node is worked."""

    volume: str
    path: str
    reach: Reach


def volume_of(kube: Kube, pod: Json, claim: str = "") -> str:
    """Name of the PersistentVolume behind the pod's claim (its first one); UsageError when it has none."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]
    if not claims or (claim and claim not in claims):
        known = ", ".join(claims) or "none"
        raise UsageError(f"pod {name} has no claim {claim or 'at all'}", expected=f"one of: {known}", seen=claim)
    bound = kube.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim or claims[0]}")
    volume = (bound or {}).get("spec", {}).get("volumeName", "")
    if not volume:
        raise InvalidError(f"claim {claim or claims[0]} of pod {name} is not bound to a volume")
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


def need_writable(mount: Mount, pod: str) -> None:
    """InvalidError when the volume takes no writes before the fault: breaking it would prove nothing."""
    before = write_error(mount)
    if before:
        raise InvalidError(f"the volume of pod {pod} takes no writes as it is ({before}): breaking it proves nothing")


def delete_the_pod(kube: Kube, namespace: str, undo: dict[str, Any]) -> list[str]:
    """Delete the pod that lost its volume, if it still is the same one: a dead file system stays dead until then."""
    name, uid = undo["pod"], undo["uid"]
    if uid_of(kube.pod(namespace, name)) != uid:
        return []
    kube.delete_pod(namespace, name, uid)
    return [f"pod {namespace}/{name} ({short(uid)}) deleted, to be staged anew"]
