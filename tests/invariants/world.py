"""A small world that writes traces as a correct cluster would, and the ways in which a broken one differs.

`World` keeps a clock, a StatefulSet with claims, volumes, attachments, pods and nodes, and appends what the observer
would have recorded. Every step keeps Kubernetes' promises; a test breaks one on purpose by naming it.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec

from steadyset.trace import NODE_EVIDENCE, Record, Trace

ENDS = "2026-01-01T00:01:00Z"  # of every deletion, when its grace ends
NS, SET = "ns", "db"
KINDS = """Pod StatefulSet PersistentVolumeClaim PersistentVolume VolumeAttachment EndpointSlice Service
PodDisruptionBudget ControllerRevision Lease Event Node"""
S = 1_000_000_000
MS = 1_000_000


class World:
    """Writes records; `trace()` gives them as the reader would."""

    def __init__(
        self, *, replicas: int = 3, policy: str = "OrderedReady", nodes: int = 3, evidence: bool = True
    ) -> None:
        self.now = 10 * S
        self.rv = 100
        self.uids = itertools.count(1)
        self.records: list[Record] = []
        self.replicas, self.policy, self.nodes = replicas, policy, [f"node-{i}" for i in range(1, nodes + 1)]
        self.evidence = evidence
        self.pods: dict[int, dict[str, Any]] = {}
        self.on: dict[str, str] = {}  # pod uid -> node
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.attached: dict[tuple[int, str], str] = {}  # (ordinal, node) -> uid of the VolumeAttachment
        self.volume_source: dict[str, Any] = {}  # what stands in the pod instead of a claim
        for kind in KINDS.split():
            self.note("listed", k=kind)
        if evidence:
            for node in self.nodes:
                self.note("listed", k=NODE_EVIDENCE, name=node)

    # -- records
    def write(self, e: str, k: str, name: str, uid: str, obj: Any, *, ns: str = NS, **more: Any) -> None:
        self.rv += 1
        raw = msgspec.Raw(msgspec.json.encode(obj))
        self.records.append(
            Record(more.pop("t", self.now), 0, e, k, ns, name, uid, str(self.rv), more.pop("inferred", False), raw)
        )

    def note(self, what: str, *, k: str = "", name: str = "", **more: Any) -> None:
        raw = msgspec.Raw(msgspec.json.encode({"what": what, **more}))
        self.records.append(Record(self.now, 0, "NOTE", k, "", name, raw=raw))

    def gap(self, kind: str, from_ns: int, until_ns: int, **more: Any) -> None:
        raw = msgspec.Raw(msgspec.json.encode({"from_ns": from_ns, "until_ns": until_ns, "reason": "cut", **more}))
        self.records.append(Record(until_ns, 0, "GAP", kind, raw=raw))

    def tick(self, seconds: float = 1.0) -> None:
        self.now += int(seconds * S)

    def trace(self, *, end: bool = True) -> Trace:
        """What was written so far, vouched for."""
        self.tick(0.001)
        if end:
            self.note("end")
        return Trace(self.records)

    def put(self, k: str, name: str, uid: str, obj: dict[str, Any], *, ns: str = NS, **more: Any) -> None:
        """ADDED or MODIFIED, as the name is new or known."""
        event = "MODIFIED" if (k, uid) in self.objects else "ADDED"
        self.objects[k, uid] = obj
        meta = {"name": name, "namespace": ns, "uid": uid, "resourceVersion": str(self.rv + 1)}
        obj["metadata"] = {**obj.get("metadata", {}), **meta}
        self.write(event, k, name, uid, obj, ns=ns, **more)

    def delete(self, k: str, name: str, uid: str, *, ns: str = NS, **more: Any) -> None:
        self.write("DELETED", k, name, uid, self.objects.pop((k, uid)), ns=ns, **more)

    # -- the StatefulSet
    def statefulset(self, **spec: Any) -> None:
        templates = [] if self.volume_source else [{"metadata": {"name": "data"}}]
        body = {"serviceName": SET, "replicas": self.replicas, "podManagementPolicy": self.policy,
                "selector": {"matchLabels": {"app": SET}}, "volumeClaimTemplates": templates, **spec}  # fmt: skip
        self.put("StatefulSet", SET, "sts", {"spec": body})

    def pod_object(self, ordinal: int, uid: str, **over: Any) -> dict[str, Any]:
        name = f"{SET}-{ordinal}"
        source = self.volume_source or {"persistentVolumeClaim": {"claimName": f"data-{name}"}}
        labels = {"app": SET, "statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": str(ordinal)}
        return {
            "metadata": {
                "labels": labels,
                "ownerReferences": [{"kind": "StatefulSet", "name": SET, "controller": True}],
            },
            "spec": {"hostname": name, "subdomain": SET, "volumes": [{"name": "data", **source}], **over},
            "status": {"phase": "Pending", "conditions": []},
        }

    def claim(self, ordinal: int) -> None:
        """The claim of an ordinal and its volume, unless they exist."""
        claim, volume = f"data-{SET}-{ordinal}", f"pv-{ordinal}"
        if self.volume_source or ("PersistentVolumeClaim", f"c{ordinal}") in self.objects:
            return
        self.put(
            "PersistentVolumeClaim",
            claim,
            f"c{ordinal}",
            {"spec": {"volumeName": volume}, "status": {"phase": "Bound"}},
        )
        spec = {"claimRef": {"namespace": NS, "name": claim}, "accessModes": ["ReadWriteOnce"],
                "csi": {"volumeHandle": f"h-{ordinal}"}}  # fmt: skip
        self.put("PersistentVolume", volume, f"v{ordinal}", {"spec": spec, "status": {"phase": "Bound"}}, ns="")

    def create(self, ordinal: int, *, uid: str = "", **over: Any) -> str:
        """The controller creates the pod's API object."""
        self.claim(ordinal)
        uid = uid or f"{next(self.uids):08x}-0000-0000-0000-000000000000"
        pod = self.pods[ordinal] = self.pod_object(ordinal, uid, **over)
        self.put("Pod", f"{SET}-{ordinal}", uid, pod)
        return uid

    def uid(self, ordinal: int) -> str:
        return str(self.pods[ordinal]["metadata"]["uid"])

    def update(self, ordinal: int, *, ready: bool | None = None, **meta: Any) -> None:
        """Change the pod's readiness or metadata."""
        pod = msgspec.json.decode(msgspec.json.encode(self.pods[ordinal]))
        if ready is not None:
            pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
        pod["metadata"].update(meta)
        self.pods[ordinal] = pod
        self.put("Pod", f"{SET}-{ordinal}", self.uid(ordinal), pod)

    def vanish(self, ordinal: int, **more: Any) -> str:
        """The pod's API object goes."""
        uid = self.uid(ordinal)
        self.delete("Pod", f"{SET}-{ordinal}", uid, **more)
        del self.pods[ordinal]
        return uid

    # -- the nodes
    def node_event(self, what: str, uid: str, ordinal: int, node: str) -> None:
        if not self.evidence:
            return
        facts: dict[str, Any] = {"what": what, "node": node, "pod_uid": uid}
        if what.startswith("container"):
            facts |= {
                "container": "main",
                "container_id": f"c-{uid}",
                "pod": f"{SET}-{ordinal}",
                "namespace": NS,
                "sandbox": False,
            }
        else:
            facts |= {"volume": f"pv-{ordinal}", "path": f"/pods/{uid}/{ordinal}"}
        raw = msgspec.Raw(msgspec.json.encode(facts))
        self.records.append(Record(self.now, 0, "NODE", NODE_EVIDENCE, name=node, raw=raw))

    def attach(self, ordinal: int, node: str) -> None:
        if (ordinal, node) in self.attached or self.volume_source:
            return
        uid = self.attached[ordinal, node] = f"va-{ordinal}-{node}-{next(self.uids)}"
        spec = {"nodeName": node, "source": {"persistentVolumeName": f"pv-{ordinal}"}}
        self.put("VolumeAttachment", uid, uid, {"spec": spec, "status": {"attached": False}}, ns="")
        self.tick(0.1)
        self.put("VolumeAttachment", uid, uid, {"spec": spec, "status": {"attached": True}}, ns="")

    def detach(self, ordinal: int, node: str) -> None:
        uid = self.attached.pop((ordinal, node))
        obj = dict(self.objects["VolumeAttachment", uid])
        obj["metadata"] = {"deletionTimestamp": ENDS}
        self.put("VolumeAttachment", uid, uid, obj, ns="")
        self.tick(0.1)
        self.delete("VolumeAttachment", uid, uid, ns="")

    def start(self, ordinal: int, node: str) -> None:
        """The node attaches, mounts, runs and reports Ready."""
        uid = self.uid(ordinal)
        for other in self.nodes:
            if other != node and (ordinal, other) in self.attached:
                self.detach(ordinal, other)
        self.attach(ordinal, node)
        self.tick(0.1)
        if not self.volume_source:
            self.node_event("mounted", uid, ordinal, node)
        self.tick(0.1)
        self.node_event("container-started", uid, ordinal, node)
        self.on[uid] = node
        self.tick(0.1)
        self.update(ordinal, ready=True)

    def halt(self, uid: str, ordinal: int) -> None:
        """The node ends the container and unmounts."""
        node = self.on.pop(uid)
        self.node_event("container-stopped", uid, ordinal, node)
        self.tick(0.05)
        if not self.volume_source:
            self.node_event("unmounted", uid, ordinal, node)
        self.tick(0.05)

    def remove(self, ordinal: int) -> str:
        """A graceful deletion, from its request until the API object is gone."""
        self.update(ordinal, ready=False, deletionTimestamp=ENDS, deletionGracePeriodSeconds=30)
        self.tick(0.2)
        uid = self.uid(ordinal)
        if uid in self.on:
            self.halt(uid, ordinal)
        return self.vanish(ordinal)

    # -- whole stories
    def deploy(self) -> None:
        self.statefulset()
        for ordinal in range(self.replicas):
            self.tick()
            self.create(ordinal)
            self.tick(0.3)
            self.start(ordinal, self.nodes[ordinal % len(self.nodes)])

    def replace(self, ordinal: int, node: str = "") -> None:
        """Delete a pod; the controller and a node bring it back."""
        self.tick()
        old = self.remove(ordinal)
        self.tick(0.1)
        self.create(ordinal)
        self.tick(0.2)
        self.start(ordinal, node or self.nodes[sum(old.encode()) % len(self.nodes)])

    def scale(self, replicas: int) -> None:
        """Scale down or up in the promised order."""
        before, self.replicas = self.replicas, replicas
        self.tick()
        self.statefulset()
        for ordinal in range(before - 1, replicas - 1, -1):
            self.tick(0.2)
            self.remove(ordinal)
        for ordinal in range(before, replicas):
            self.tick(0.2)
            self.create(ordinal)
            self.start(ordinal, self.nodes[ordinal % len(self.nodes)])


def write_trace(records: list[Record], path: Path) -> None:
    """The records as the observer's file."""
    path.write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in records))
