"""Expand a pod's volume while the pod writes to it. A claim never shrinks again.

Where the file system cannot grow while it is mounted, the claim waits with FileSystemResizePending, and the heal
replaces the pod: the next mount grows it.
"""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.agent.disks import size_of
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, Kube, is_ready, short, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.pods import need_alive, need_controller, pod_now, see_pod
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim
from steadyset.chaos.volumes import claim_of, claim_path, mount_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="volume-expand",
    lease=Lease.ONE_SHOT,
    summary="expand a pod's PersistentVolumeClaim while the pod writes to it",
    deadlines={"bite_s": 120.0, "heal_s": 240.0},
    capabilities=("volume-expand",),
    rights=(
        Right("", "persistentvolumeclaims", ("get", "patch"), "ask for more"),
        Right("", "persistentvolumes", ("get",), "see the volume grow", namespaced=False),
        Right("storage.k8s.io", "storageclasses", ("get",), "see whether it may grow", namespaced=False),
        Right("", "pods", ("delete",), "replace a pod whose file system grows at its next mount only"),
    ),
)
MIB = 1 << 20
PENDING = "FileSystemResizePending"


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    add_mib: int = 32,
    claim: str = "",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Ask for `add_mib` MiB more in the claims of the pods of `target`; `claim` names the PVC when a pod has several.
    Refused when the claim's StorageClass does not allow expansion."""
    if add_mib < 1:
        raise UsageError(f"a claim cannot grow by {add_mib} MiB", expected="1 or more")
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    for victim in act.victims:
        need_alive(victim)
        need_controller(victim, "replaced")
        name = claim_of(victim.obj, claim)
        bound = act.kube.get(claim_path(namespace, name)) or {"spec": {}}
        _need_expandable(act, name, bound)
        size, volume = _bytes(bound["status"]["capacity"]["storage"]), bound["spec"]["volumeName"]
        victim.seen.update(claim=name, volume=volume, before=size, wanted=size + add_mib * MIB)
        victim.seen["room"] = _room(act, victim, victim.obj)
    claims = {v.name: [v.uid, v.seen["claim"]] for v in act.victims}
    with act.injecting({"claims": claims}):
        for victim in act.victims:
            body = {"spec": {"resources": {"requests": {"storage": str(victim.seen["wanted"])}}}}
            act.kube.request("PATCH", claim_path(namespace, victim.seen["claim"]), body)
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Replace the pods whose file system waits for its next mount to grow; nothing shrinks."""
    lines = []
    for name, (uid, claim) in record.undo["claims"].items():
        if (
            _is_pending(kube.get(claim_path(record.namespace, claim)))
            and uid_of(kube.pod(record.namespace, name)) == uid
        ):
            kube.delete_pod(record.namespace, name, uid)
            lines.append(f"pod {name} ({short(uid)}) deleted, so that its file system grows")
    return lines


def _need_expandable(act: Act, claim: str, bound: Json) -> None:
    name = bound["spec"].get("storageClassName", "")
    if not (act.kube.get(f"/apis/storage.k8s.io/v1/storageclasses/{name}") or {}).get("allowVolumeExpansion"):
        raise UsageError(
            f"claim {claim} cannot be expanded",
            expected="a StorageClass with allowVolumeExpansion",
            seen=f"StorageClass {name or 'none'}",
            do="report it as not tested",
        )


def _bytes(quantity: str) -> int:
    from kubernetes.utils.quantity import parse_quantity

    return int(parse_quantity(quantity))  # type: ignore[no-untyped-call]


def _is_pending(claim: Json | None) -> bool:
    return PENDING in [c["type"] for c in (claim or {}).get("status", {}).get("conditions") or []]


def _room(act: Act, victim: Victim, pod: Json) -> int:
    """Size of the file system as the node has it mounted, 0 where that cannot be seen."""
    if not act.info.can("pod-volumes"):
        return 0
    mount = mount_of(act.info, pod, victim.seen["volume"])
    return mount.reach.call(size_of, mount.path)


def _grown(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the volume has grown, and its claim says so or waits for the file system to grow too."""
    claim, volume = victim.seen["claim"], victim.seen["volume"]
    bound = act.kube.get(claim_path(act.namespace, claim)) or {}
    capacity = _bytes((act.kube.get(f"/api/v1/persistentvolumes/{volume}") or {})["spec"]["capacity"]["storage"])
    grown = _bytes(bound["status"]["capacity"]["storage"]) >= victim.seen["wanted"]
    if capacity < victim.seen["wanted"] or not (grown or _is_pending(bound)):
        return None
    how = "under load" if grown else f"its claim waits: {PENDING}"
    return [f"volume {volume} of claim {claim}: {victim.seen['before']} -> {capacity} bytes, {how}"]


def _larger(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the claim has the new capacity, its file system (where that can be seen) too, and the pod is Ready."""
    bound, pod = act.kube.get(claim_path(act.namespace, victim.seen["claim"])) or {}, pod_now(act, victim)
    capacity = _bytes(bound["status"]["capacity"]["storage"])
    if capacity < victim.seen["wanted"] or pod is None or not is_ready(pod):
        return None
    room = _room(act, victim, pod)
    if victim.seen["room"] and room <= victim.seen["room"]:
        return None
    return [f"claim {victim.seen['claim']}: {capacity} bytes; its file system {victim.seen['room']} -> {room} bytes"]


prove_bite = bite_probe(FAULT, _grown, "the volume has grown", see_pod)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _larger, "the file system has grown, and the pod is Ready", see_pod)
