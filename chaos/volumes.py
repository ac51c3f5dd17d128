"""A pod's volume as this machine sees it: where it is mounted, whether it takes writes, whether it is attached."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from steadyset.chaos.kube import Json, Kube, short, uid_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InvalidError, UsageError

ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
DEAD = {errno.errorcode[e] for e in (errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN)}
NOT_MOUNTED = "nothing is mounted there"
INSIDE = "var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~csi/{volume}/mount"


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


def mount_of(info: ClusterInfo, pod: Json, volume: str) -> Path:
    """Where the kubelet of the pod's node has mounted the volume for the pod, as seen from this machine."""
    node = info.node(pod["spec"]["nodeName"])
    return Path(f"/proc/{node.pid}/root") / INSIDE.format(uid=uid_of(pod), volume=volume)


def mounts_of(info: ClusterInfo, volume: str) -> list[Path]:
    """Every mount of the volume for a pod, on any node that is on."""
    pattern = INSIDE.format(uid="*", volume=volume)
    found = [path for node in info.nodes if node.pid for path in Path(f"/proc/{node.pid}/root").glob(pattern)]
    return [path for path in found if is_mounted(path)]


def is_mounted(folder: Path) -> bool:
    """Whether another file system than its parent's is mounted there."""
    try:
        return folder.stat().st_dev != folder.parent.stat().st_dev
    except FileNotFoundError:
        return False


def write_error(folder: Path) -> str:
    """Write to the volume mounted there and fsync: "" when that worked, else the errno's name.

    The file has no name (O_TMPFILE, as ext4 and XFS have it), so nothing is left however this ends.
    """
    try:
        if not is_mounted(folder):
            return NOT_MOUNTED
        fd = os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o600)
        try:
            os.write(fd, b"steadyset probes this volume\n")
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return ""


def need_writable(mount: Path, pod: str) -> None:
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
