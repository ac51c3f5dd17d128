"""Delete a node's object while its machine runs on, as a careless administrator or an autoscaler does."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.act import Act, begin
from steadyset.chaos.cordon import NODES
from steadyset.chaos.fault import TTL_S, Fault, Lease
from steadyset.chaos.kube import Json, Kube, RefusedError, is_ready, short, uid_of
from steadyset.chaos.ledger import Record
from steadyset.chaos.phases import bite_probe, heal_action, heal_probe
from steadyset.chaos.rights import Right
from steadyset.chaos.targets import Victim
from steadyset.clusterinfo import ClusterInfo

__all__ = ["heal", "inject", "prove_bite", "prove_heal"]

FAULT = Fault(
    name="node-delete",
    lease=Lease.WATCHDOG,
    summary="delete a node's object while the machine runs on; the heal registers it again as it was",
    deadlines={"bite_s": 15.0, "heal_s": 240.0},
    target="node",
    rights=(
        Right("", "nodes", ("get", "delete", "create"), "delete the node and register it again", namespaced=False),
        Right("storage.k8s.io", "csinodes", ("get", "delete", "create"), "the node's CSI drivers", namespaced=False),
    ),
)
CSI_NODES = "/apis/storage.k8s.io/v1/csinodes"
KEPT = ("podCIDR", "podCIDRs", "providerID", "unschedulable")


def inject(
    cluster: str,
    target: str,
    namespace: str = "default",
    ttl_s: float = TTL_S,
    deadlines: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Delete the Node objects of the nodes of the pods of `target`, or of `node/NAME`. The nodes' pods are deleted by
    the garbage collector when this lasts for more than 40 s."""
    act = begin(FAULT, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
    saved = {v.name: {"node": _node_of(v.obj), "csi": _csi_of(act.kube, v.name)} for v in act.victims}
    with act.injecting({"nodes": saved}):
        for victim in act.victims:
            act.kube.delete(f"{NODES}/{victim.name}", victim.uid)
    return act.report()


def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
    """Register the nodes of this record again, with their labels, pod ranges and CSI drivers; a kubelet that registered
    itself meanwhile is left alone. (A running kubelet updates its Node but creates it only when it starts.)"""
    lines = []
    for name, saved in record.undo["nodes"].items():
        node = kube.get(f"{NODES}/{name}")
        if node is None:
            node = _create(kube, NODES, saved["node"])
            lines.append(f"node {name}: registered again as {short(uid_of(node))}")
        csi = kube.get(f"{CSI_NODES}/{name}")
        if csi is not None and uid_of(node) not in [o["uid"] for o in csi["metadata"].get("ownerReferences", [])]:
            kube.delete(f"{CSI_NODES}/{name}", uid_of(csi))  # of the Node that is gone: to be collected anyway
            csi = None
        if csi is None and saved["csi"]:
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid_of(node)}
            _create(
                kube, CSI_NODES, {**saved["csi"], "metadata": {**saved["csi"]["metadata"], "ownerReferences": [owner]}}
            )
            lines.append(f"node {name}: its CSI drivers are known again")
    return lines


def found(info: ClusterInfo, kube: Kube, undo: Json) -> dict[str, str]:
    """Which nodes are registered, and with which labels."""
    there = {name: kube.get(f"{NODES}/{name}") for name in undo["nodes"]}
    return {f"node {name} labels": str(sorted(_labels(node))) if node else "no node" for name, node in there.items()}


def _labels(node: Json) -> dict[str, str]:
    labels: dict[str, str] = node["metadata"].get("labels") or {}
    return labels


def _node_of(node: Json) -> Json:
    """What to register again: identity, labels, ranges; not what others find out themselves."""
    meta = {
        "name": node["metadata"]["name"],
        "labels": _labels(node),
        "annotations": node["metadata"].get("annotations"),
    }
    taints = [t for t in node["spec"].get("taints", []) if not t["key"].startswith("node.kubernetes.io/")]
    spec = {k: node["spec"][k] for k in KEPT if k in node["spec"]}
    return {"metadata": meta, "spec": {**spec, **({"taints": taints} if taints else {})}}


def _csi_of(kube: Kube, name: str) -> Json:
    csi = kube.get(f"{CSI_NODES}/{name}")
    if csi is None:
        return {}
    return {"metadata": {"name": name, "annotations": csi["metadata"].get("annotations")}, "spec": csi["spec"]}


def _create(kube: Kube, path: str, body: Json) -> Json:
    """Create the object, or find it created meanwhile."""
    try:
        return kube.request("POST", path, body)
    except RefusedError as error:
        if error.status != 409:
            raise
        return kube.get(f"{path}/{body['metadata']['name']}") or {}


def _deleted(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the node of that UID is gone."""
    now = uid_of(act.kube.get(f"{NODES}/{victim.name}"))
    return None if now == victim.uid else [f"node {victim.name}: {short(victim.uid)} -> {short(now)}"]


def _registered(act: Act, victim: Victim) -> list[str] | None:
    """Wait until a node of that name is Ready, and the pods that stood for it are too."""
    node = act.kube.get(f"{NODES}/{victim.name}")
    conditions = (node or {}).get("status", {}).get("conditions", [])
    if uid_of(node) in ("", victim.uid) or ("Ready", "True") not in [(c["type"], c["status"]) for c in conditions]:
        return None
    if not all(is_ready(act.kube.pod(act.namespace, name)) for name in victim.pods):
        return None
    return [f"node {victim.name} is {short(uid_of(node))} now and Ready", *(f"pod {p} is Ready" for p in victim.pods)]


def _seen(act: Act, victim: Victim) -> str:
    pods = {name: is_ready(act.kube.pod(act.namespace, name)) for name in victim.pods}
    return f"node UID {short(uid_of(act.kube.get(f'{NODES}/{victim.name}')))}; pods ready: {pods}"


prove_bite = bite_probe(FAULT, _deleted, "the node is gone from the API", _seen)
heal = heal_action(FAULT, undo)
prove_heal = heal_probe(FAULT, _registered, "the node Ready again", _seen)
