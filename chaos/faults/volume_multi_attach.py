"""Have a volume's attachment refused: the old node's VolumeAttachment does not go away, as when a detach is stuck.

A finalizer of ours keeps the VolumeAttachment while its pod is moved to another node: the volume may be on one node
only. The attach/detach controller says so by an event ("Multi-Attach error") if it sees the new pod before it begins to
detach; while a detach is under way it begins no attach and says nothing (attachDesiredVolumes in
pkg/controller/volume/attachdetach/reconciler). Released early, it is a delay.
"""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.cordon import NODES, cordon, found_schedulable, uncordon_all
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, Kube, is_ready, short, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.pods import need_alive, need_controller, pod_now, see_pod
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim
from steadyset.chaos.volumes import ATTACHMENTS, attachment_of, need_attachment, volume_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="volume-multi-attach",
    lease=Lease.WATCHDOG,
    summary="move a pod while its volume's detach is stuck: the new node's attach is refused (Multi-Attach error)",
    deadlines={"bite_s": 90.0, "heal_s": 240.0},
    rights=(
        Right("storage.k8s.io", "volumeattachments", ("get", "list", "patch"), "hold the detach", namespaced=False),
        Right("", "nodes", ("get", "list", "patch"), "cordon the node", namespaced=False),
        Right("", "pods", ("delete",), "move the pod"),
        Right("", "persistentvolumeclaims", ("get",), "find the volume"),
        Right("", "events", ("list",), "see the attach refused"),
    ),
)
FINALIZER = "steadyset.io/"


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    claim: str = "",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Hold the VolumeAttachments of the pods of `target`, cordon their nodes and delete the pods, which then wait for
    their volumes elsewhere; `claim` names the PVC when a pod has several."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    for victim in act.victims:
        need_alive(victim)
        need_controller(victim, "deleted")
        victim.seen["volume"] = volume_of(act.kube, victim.obj, claim)
        need_attachment(act, victim)
    nodes = sorted({v.obj["spec"]["nodeName"] for v in act.victims})
    if not set(_open_nodes(act.kube)) - set(nodes):
        raise UsageError("no node is left for the pod to move to", expected="another node that takes pods")
    with act.injecting({"nodes": nodes, "attachments": [v.seen["attachment"] for v in act.victims]}):
        assert act.record is not None
        mark = FINALIZER + act.record.id
        for node in nodes:
            cordon(act.kube, node, act.record.id)
        for victim in act.victims:
            _finalizers(act.kube, victim.seen["attachment"], lambda names: [*names, mark])
            act.kube.delete_pod(namespace, victim.name, victim.uid)
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Release the VolumeAttachments and uncordon the nodes of this record."""
    mark = FINALIZER + record.id
    for attachment in record.undo["attachments"]:
        _finalizers(kube, attachment, lambda names: [n for n in names if n != mark])
    released = [f"VolumeAttachment {name} released" for name in record.undo["attachments"]]
    return released + uncordon_all(info, kube, record)


found = found_schedulable


def residue(info: ClusterInfo, kube: Kube, live_ids: set[str]) -> list[str]:
    """VolumeAttachments held by us that belong to no live fault."""
    return [
        f"VolumeAttachment {item['metadata']['name']}: finalizer {mark}"
        for item in kube.items(ATTACHMENTS)
        for mark in item["metadata"].get("finalizers") or []
        if mark.startswith(f"{FINALIZER}{FAULT.name}-") and mark.removeprefix(FINALIZER) not in live_ids
    ]


def _open_nodes(kube: Kube) -> list[str]:
    return [n["metadata"]["name"] for n in kube.items(NODES) if not n["spec"].get("unschedulable")]


def _finalizers(kube: Kube, attachment: str, change: Any) -> None:
    def patch(obj: Json) -> Json:
        return {"metadata": {"finalizers": change(obj["metadata"].get("finalizers") or []) or None}}

    kube.update(f"{ATTACHMENTS}/{attachment}", patch)


def _refused(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the new pod lacks its volume on another node while only our hold keeps the old attachment.

    Any pod that moves is told of a Multi-Attach error for a moment: that event alone proves nothing.
    """
    pod = pod_now(act, victim)
    if pod is None or uid_of(pod) == victim.uid or not pod["spec"].get("nodeName") or is_ready(pod):
        return None
    where, old = pod["spec"]["nodeName"], victim.obj["spec"]["nodeName"]
    attached = (attachment_of(act.kube, victim.seen["volume"], where) or {}).get("status", {}).get("attached")
    if attached or not _held(act, victim):
        return None
    return [
        f"pod {victim.name}: {short(victim.uid)} -> {short(uid_of(pod))} on {where}, without its volume",
        f"VolumeAttachment to {old} is being deleted, and only our finalizer keeps it",
        *(event["message"] for event in _refusals(act, pod)[-1:]),
    ]


def _refusals(act: Act, pod: Json) -> list[Json]:
    return act.kube.items(
        f"/api/v1/namespaces/{act.namespace}/events",
        fieldSelector=f"involvedObject.uid={uid_of(pod)},reason=FailedAttachVolume",
    )


def _held(act: Act, victim: Victim) -> bool:
    """Whether the old attachment would be gone but for our finalizer."""
    held = act.kube.get(f"{ATTACHMENTS}/{victim.seen['attachment']}")
    if held is None or uid_of(held) != victim.seen["attachment_uid"] or act.record is None:
        return False
    finalizers = held["metadata"].get("finalizers") or []
    ours = FINALIZER + act.record.id in finalizers and all(f.startswith(FINALIZER) for f in finalizers)
    return "deletionTimestamp" in held["metadata"] and ours


def _seen(act: Act, victim: Victim) -> str:
    pod = pod_now(act, victim)
    events = [e["message"] for e in _refusals(act, pod)] if pod else []
    where = pod["spec"].get("nodeName", "no node") if pod else "no node"
    waits = [c.get("message", "") for c in pod["status"].get("conditions", []) if c["status"] != "True"] if pod else []
    return (
        f"{see_pod(act, victim)}, on {where} (was on {victim.obj['spec']['nodeName']}); attachment held: "
        f"{_held(act, victim)}; attach events: {'; '.join(events) or 'none'}; waits for: {'; '.join(waits)}"
    )


def _attached(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the new pod is Ready, its volume attached to its node, and the old attachment gone."""
    pod = pod_now(act, victim)
    old = act.kube.get(f"{ATTACHMENTS}/{victim.seen['attachment']}")
    if pod is None or uid_of(pod) == victim.uid or not is_ready(pod):
        return None
    if uid_of(old) == victim.seen["attachment_uid"] and pod["spec"]["nodeName"] != old["spec"]["nodeName"]:  # type: ignore[index]
        return None
    return [f"pod {victim.name} is Ready on {pod['spec']['nodeName']} with volume {victim.seen['volume']}"]


prove_bite = bite_probe(FAULT, _refused, "the attach is refused", _seen)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _attached, "the pod Ready with its volume", see_pod)
