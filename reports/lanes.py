"""What the cluster did, as lanes to draw: pods per ordinal, containers and mounts by node-side evidence, attachments.

Pure functions of a trace. Times are CLOCK_MONOTONIC nanoseconds; `until` None means that it lasted beyond the trace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from steadyset.trace import Lifetime, Trace

PENDING, CREATING, NOT_READY, READY, TERMINATING, ENDED = (
    "Pending",
    "ContainerCreating",
    "NotReady",
    "Ready",
    "Terminating",
    "Ended",
)
POD_STATES = (PENDING, CREATING, NOT_READY, READY, TERMINATING, ENDED)
ATTACHING, ATTACHED, DETACHING = "Attaching", "Attached", "Detaching"


@dataclass(frozen=True)
class Span:
    """Something that held from `start` until `until` on `node`."""

    label: str
    start: int
    until: int | None
    node: str = ""
    uid: str = ""


@dataclass
class Lane:
    """Everything that happened to one name, in order of start."""

    name: str
    spans: list[Span] = field(default_factory=list)


@dataclass
class PodLane(Lane):
    """A pod's states, and what its nodes say ran and was mounted for it."""

    containers: list[Span] = field(default_factory=list)
    mounts: list[Span] = field(default_factory=list)


def ordinal_key(name: str) -> tuple[str, int]:
    """Sorts pg-2 before pg-10."""
    match = re.fullmatch(r"(.*?)-(\d+)", name)
    return (match[1], int(match[2])) if match else (name, -1)


def pod_state(pod: dict[str, Any]) -> str:
    """One of POD_STATES, from a Pod object's metadata and status."""
    status = pod.get("status") or {}
    phase = status.get("phase", "Pending")
    if phase in ("Succeeded", "Failed"):
        return ENDED
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return TERMINATING
    if phase == "Pending":
        return CREATING if (pod.get("spec") or {}).get("nodeName") else PENDING
    return READY if is_ready(pod) else NOT_READY


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether the pod's Ready condition is True."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _states(life: Lifetime, label: Any, node: Any) -> Iterator[Span]:
    """Spans of equal label and node over one object's life."""
    current: tuple[str, str] | None = None
    start = 0
    for record in life.records:
        seen = (label(record.obj), node(record.obj))
        if seen != current:
            if current is not None:
                yield Span(current[0], start, record.t, current[1], life.uid)
            current, start = seen, record.t
    if current is not None and life.end_ns != start:
        yield Span(current[0], start, life.end_ns, current[1], life.uid)


def pod_lanes(trace: Trace, namespace: str = "", statefulsets: Iterable[str] = ()) -> list[PodLane]:
    """One lane per pod name: the pods of `statefulsets`, or all of the namespace's when none is named."""
    owners = set(statefulsets)
    lanes: dict[str, PodLane] = {}
    names: dict[str, str] = {}
    for life in trace.lifetimes("Pod", namespace or None):
        names[life.uid] = life.name
        if owners and ordinal_key(life.name)[0] not in owners:
            continue
        lane = lanes.setdefault(life.name, PodLane(life.name))
        lane.spans.extend(_states(life, pod_state, lambda o: (o.get("spec") or {}).get("nodeName", "")))
    for name, lane in lanes.items():
        uids = {uid for uid, pod in names.items() if pod == name}
        lane.containers = _node_spans(trace, uids, _CONTAINERS)
        lane.mounts = _node_spans(trace, uids, _MOUNTS)
        lane.spans.sort(key=lambda s: s.start)
    return sorted(lanes.values(), key=lambda lane: ordinal_key(lane.name))


# begin event, end event, what identifies the pair besides node and pod, what to call it
_CONTAINERS = ("container-started", "container-stopped", "container_id", "container")
_MOUNTS = ("mounted", "unmounted", "path", "volume")


def _node_spans(trace: Trace, uids: set[str], what: tuple[str, str, str, str]) -> list[Span]:
    """Pairs of node-side events of the pods `uids`; one without its end lasts beyond the trace."""
    begin, end, key, label = what
    found: list[Span] = []
    open_: dict[tuple[str, str, str], tuple[int, str]] = {}
    for record in trace.node_events:
        o = record.obj
        if o.get("pod_uid") not in uids:
            continue
        identity = (str(o.get("node", "")), str(o["pod_uid"]), str(o.get(key, "")))
        if o.get("what") == begin:
            open_.setdefault(identity, (record.t, str(o.get(label, ""))))
        elif o.get("what") == end and identity in open_:
            start, name = open_.pop(identity)
            found.append(Span(name, start, record.t, identity[0], identity[1]))
    found.extend(Span(name, start, None, node, uid) for (node, uid, _), (start, name) in open_.items())
    return sorted(found, key=lambda s: s.start)


def attachment_lanes(trace: Trace, namespace: str = "") -> list[Lane]:
    """VolumeAttachments by claim: attaching, attached, detaching, on which node.

    Those of the namespace's claims when the trace has the PersistentVolumes, else all.
    """
    claims: dict[str, tuple[str, str]] = {}
    for life in trace.lifetimes("PersistentVolume"):
        ref = (life.last.get("spec") or {}).get("claimRef") or {}
        claims[life.name] = (ref.get("namespace", ""), ref.get("name", ""))
    lanes: dict[str, Lane] = {}
    for life in trace.lifetimes("VolumeAttachment"):
        volume = attachment_volume(life.last)
        claim_namespace, claim = claims.get(volume, ("", ""))
        if namespace and claim_namespace not in ("", namespace):
            continue
        lane = lanes.setdefault(claim or volume, Lane(claim or volume))
        lane.spans.extend(_states(life, attachment_state, lambda o: (o.get("spec") or {}).get("nodeName", "")))
    for lane in lanes.values():
        lane.spans.sort(key=lambda s: s.start)
    return sorted(lanes.values(), key=lambda lane: ordinal_key(lane.name))


def attachment_volume(attachment: dict[str, Any]) -> str:
    """Name of the PersistentVolume that a VolumeAttachment attaches."""
    source = (attachment.get("spec") or {}).get("source") or {}
    return str(source.get("persistentVolumeName", ""))


def attachment_state(attachment: dict[str, Any]) -> str:
    """ATTACHING, ATTACHED or DETACHING."""
    if (attachment.get("metadata") or {}).get("deletionTimestamp"):
        return DETACHING
    return ATTACHED if (attachment.get("status") or {}).get("attached") else ATTACHING


@dataclass(frozen=True)
class ServiceReady:
    """Which pods a Service's EndpointSlices named as ready, from `time` on."""

    time: int
    service: str
    pods: frozenset[str]


def service_switches(trace: Trace, namespace: str = "") -> list[ServiceReady]:
    """Every change of the ready pods behind each Service, in order of time (slices of one Service are joined)."""
    slices: dict[tuple[str, str], dict[str, frozenset[str]]] = {}
    service_of: dict[tuple[str, str], tuple[str, str]] = {}  # a DELETED record may come without its labels
    last: dict[tuple[str, str], frozenset[str]] = {}
    found: list[ServiceReady] = []
    for record in trace.of("EndpointSlice", namespace or None):
        labels = (record.obj.get("metadata") or {}).get("labels") or {}
        if "kubernetes.io/service-name" in labels:
            service_of[record.ns, record.name] = (record.ns, labels["kubernetes.io/service-name"])
        service = service_of.get((record.ns, record.name), (record.ns, record.name))
        pods = frozenset() if record.e == "DELETED" else _ready_pods(record.obj)
        slices.setdefault(service, {})[record.name] = pods
        joined = frozenset().union(*slices[service].values())
        if last.get(service) != joined:
            last[service] = joined
            found.append(ServiceReady(record.t, service[1], joined))
    return found


def _ready_pods(endpoint_slice: dict[str, Any]) -> frozenset[str]:
    """Names of the pods that a slice declares ready (`ready` unset means ready, as the API says)."""
    return frozenset(
        endpoint["targetRef"]["name"]
        for endpoint in endpoint_slice.get("endpoints") or []
        if (endpoint.get("targetRef") or {}).get("kind") == "Pod"
        and (endpoint.get("conditions") or {}).get("ready") is not False
    )


def server_pods(trace: Trace, namespace: str = "") -> dict[str, str]:
    """Pod names by everything a server may call itself: pod name, pod UID, pod address."""
    found: dict[str, str] = {}
    for life in trace.lifetimes("Pod", namespace or None):
        found[life.name] = life.name
        found[life.uid] = life.name
        for _, pod in life.states():
            address = (pod.get("status") or {}).get("podIP")
            if address:
                found[address] = life.name
    return found
