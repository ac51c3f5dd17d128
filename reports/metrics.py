"""How long things took: outage as the clients saw it, the stages of recovery as the cluster showed them, latencies.

Pure functions of fault spans, trace and operations. Every duration is seconds since the fault was injected unless said
otherwise; None means that the evidence cannot tell, and `unknown` then says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from steadyset.history import FOREVER
from steadyset.reports import lanes
from steadyset.reports.series import OUTCOMES, SERVICE, Bools, Ints, Ops
from steadyset.rundir import FaultSpan
from steadyset.trace import Lifetime, Trace

SILENCE_COUNTED_S = 1.0  # shorter stretches without acknowledged writes are pauses between requests, not outage


@dataclass
class Window:
    """One fault and the stretch of the scenario that belongs to it: since the fault before it, until the one after."""

    fault: FaultSpan
    begin: int
    until: int

    @property
    def inject(self) -> int:
        """When the fault was injected."""
        return self.fault.inject_ns


@dataclass
class Found:
    """Metrics by name, and for those that are None the reason."""

    values: dict[str, Any] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, at: int | None, since: int, why: str) -> None:
        """Store `at - since` in seconds, or None with its reason."""
        if at is None:
            self.values[name] = None
            self.unknown[name] = why
        else:
            self.values[name] = round((at - since) / 1e9, 3)


def windows(faults: Sequence[FaultSpan], begin: int, until: int) -> list[Window]:
    """A window for every fault that was injected, in order of injection."""
    injected = sorted((f for f in faults if f.inject_ns), key=lambda f: f.inject_ns)
    found = []
    for i, fault in enumerate(injected):
        previous = max((f.healed_ns or f.inject_ns for f in injected[:i]), default=begin)
        following = injected[i + 1].inject_ns if i + 1 < len(injected) else until
        found.append(Window(fault, min(previous, fault.inject_ns), max(following, fault.inject_ns)))
    return found


def longest_silence(times: Ints, begin: int, until: int) -> tuple[int, int] | None:
    """The longest stretch without any of `times` that touches [begin, until]; None when there are no times at all.

    A stretch runs from one time to the next; the first may begin before `begin`, the last ends at `until`.
    """
    stretches = silences(times, begin, until)
    if not len(stretches):
        return None
    first, last = stretches[np.argmax(stretches[:, 1] - stretches[:, 0])]
    return int(first), int(last)


def silences(times: Ints, begin: int, until: int) -> Ints:
    """Rows (from, until): the stretches between neighbouring `times` that touch [begin, until]; none without times."""
    known = np.sort(times[times <= until])
    if not len(known):
        return np.empty((0, 2), np.int64)
    marks = np.concatenate([[begin] if known[0] > begin else [], known, [until]]).astype(np.int64)
    stretches = np.column_stack([marks[:-1], marks[1:]])
    return stretches[(stretches[:, 1] > begin) & (stretches[:, 0] < until)]


def affected_pods(trace: Trace, fault: FaultSpan, namespace: str = "") -> list[str]:
    """Names of the pods that the fault's target names, by pod, node, claim or volume; empty when it names none."""
    words = set(re.findall(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", fault.target))
    found = []
    for life in trace.lifetimes("Pod", namespace or None):
        state = life.at(fault.inject_ns)
        if state is None:
            continue
        node = (state.get("spec") or {}).get("nodeName", "")
        claims = claims_of(state)
        volumes = {volume_of(trace, life.ns, claim) for claim in claims} - {""}
        if words & ({life.name, life.uid, node, *claims, *volumes} - {""}):
            found.append(life.name)
    direct = [name for name in found if name in words]
    return sorted(set(direct or found), key=lanes.ordinal_key)


def claims_of(pod: dict[str, Any]) -> list[str]:
    """Names of the claims that a pod mounts."""
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return [v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim")]


def volume_of(trace: Trace, namespace: str, claim: str) -> str:
    """The PersistentVolume bound to a claim, by the last state seen; "" when unknown."""
    lives = trace.lifetimes("PersistentVolumeClaim", namespace, claim)
    return str((lives[-1].last.get("spec") or {}).get("volumeName", "")) if lives else ""


def _container_ids(pod: dict[str, Any]) -> frozenset[str]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return frozenset(s["containerID"] for s in statuses if s.get("containerID"))


def detected(trace: Trace, window: Window, pods: Iterable[str], namespace: str = "") -> tuple[int, str] | None:
    """The first sign in the API that something happened to `pods`, and what it was; None when there was none."""
    signs: list[tuple[int, str]] = []
    nodes: set[str] = set()
    for name in pods:
        for life in trace.lifetimes("Pod", namespace or None, name):
            before = life.at(window.inject)
            if before is None:
                continue
            nodes.add((before.get("spec") or {}).get("nodeName", ""))
            signs.extend(_signs(life, before, window))
    for node in nodes - {""}:
        for record in trace.of("Node", name=node):
            if window.inject < record.t <= window.until and record.e != "DELETED" and not lanes.is_ready(record.obj):
                signs.append((record.t, f"node {node} not Ready"))
                break
    return min(signs, default=None)


def _signs(life: Lifetime, before: dict[str, Any], window: Window) -> list[tuple[int, str]]:
    if life.deletion and window.inject < life.deletion.t <= window.until:
        signs = [(life.deletion.t, f"pod {life.name} deleted")]
    else:
        signs = []
    was, containers = lanes.pod_state(before), _container_ids(before)
    for record in life.records:
        if not window.inject < record.t <= window.until:
            continue
        state = lanes.pod_state(record.obj)
        if state != was and state in (lanes.NOT_READY, lanes.TERMINATING, lanes.ENDED):
            return [*signs, (record.t, f"pod {life.name} {state}")]
        if _container_ids(record.obj) - containers:
            return [*signs, (record.t, f"pod {life.name} has a new container")]
    return signs


def _slowest(times: list[int | None]) -> int | None:
    """The latest of the times; None when there are none or one of them is unknown."""
    known = [t for t in times if t is not None]
    return max(known) if known and len(known) == len(times) else None


def rescheduled(trace: Trace, window: Window, pods: Iterable[str], namespace: str = "") -> int | None:
    """When the last of the replaced pods had a node again; None when none was replaced, or one waits still."""
    times: list[int | None] = []
    for life in _replacements(trace, window, pods, namespace):
        times.append(next((t for t, o in life.states() if (o.get("spec") or {}).get("nodeName")), None))
    return _slowest(times)


def _replacements(trace: Trace, window: Window, pods: Iterable[str], namespace: str) -> list[Lifetime]:
    """Per pod name the last new incarnation that appeared in the window."""
    found = []
    for name in pods:
        new = [
            life
            for life in trace.lifetimes("Pod", namespace or None, name)
            if window.inject < life.start_ns <= window.until
        ]
        found.extend(new[-1:])
    return found


def attached(trace: Trace, window: Window, pods: Iterable[str], namespace: str = "") -> int | None:
    """When the last volume of `pods` that was attached anew was attached; None when all kept their attachment."""
    volumes = set()
    for name in pods:
        for life in trace.lifetimes("Pod", namespace or None, name):
            volumes |= {volume_of(trace, life.ns, claim) for claim in claims_of(life.last)}
    times: list[int | None] = []
    for life in trace.lifetimes("VolumeAttachment"):
        new = window.inject < life.start_ns <= window.until
        if new and lanes.attachment_volume(life.last) in volumes - {""}:
            times.append(next((t for t, o in life.states() if lanes.attachment_state(o) == lanes.ATTACHED), None))
    return _slowest(times)


def ready_again(trace: Trace, window: Window, pods: Iterable[str], namespace: str = "") -> int | None:
    """When the last pod that stopped being Ready was Ready again; None when none stopped, or one still is not."""
    times: list[int | None] = []
    for name in pods:
        lives = trace.lifetimes("Pod", namespace or None, name)
        states = sorted((t, lanes.pod_state(o)) for life in lives for t, o in life.states())
        after = [(t, state) for t, state in states if window.inject < t <= window.until]
        gone = [life.deletion.t for life in lives if life.deletion and window.inject < life.deletion.t <= window.until]
        lost = min([*gone, *(t for t, state in after if state != lanes.READY)], default=None)
        if lost is not None:
            last_bad = max([*gone, *(t for t, state in after if state != lanes.READY)])
            times.append(next((t for t, state in after if state == lanes.READY and t >= last_bad), None))
    return _slowest(times)


@dataclass(frozen=True)
class NewAck:
    """The first acknowledged write that only the recovered service can have given."""

    time: int
    server: str
    epoch: int
    before: str  # the server that acknowledged with the newest epoch before the fault; "" when none did


def first_new_ack(
    ops: Ops, window: Window, targets: frozenset[str], hit_ns: int | None, *, own_stores: bool = False
) -> NewAck | None:
    """The first acknowledgement after the fault of a newer epoch than any before, or of a target's new incarnation.

    `targets` are the names under which the affected pods acknowledge. Where servers tell no epoch, a target's first
    acknowledgement of a request sent after `hit_ns` (when it was seen to be gone) counts. With `own_stores`, each
    member being a store of its own, only the targets' acknowledgements count, and each succeeds itself.
    """
    acked = ops.acknowledged_writes & (ops.end != FOREVER) & (ops.end >= window.begin) & (ops.end <= window.until)
    before = acked & (ops.end <= window.inject)
    if not before.any():
        return None
    newest = int(ops.epoch[before].max())
    among = np.flatnonzero(before)
    old = ops.servers[int(ops.server[among[np.lexsort((ops.end[among], ops.epoch[among]))[-1]]])]
    after = acked & (ops.start >= window.inject)
    found = after & (ops.epoch > newest) & (newest >= 0 and not own_stores)
    for code, server in enumerate(ops.servers):
        if server not in targets:
            continue
        own = ops.epoch[before & (ops.server == code)]
        if len(own) and own.max() >= 0:
            found |= after & (ops.server == code) & (ops.epoch > own.max())
        elif len(own) and hit_ns is not None:
            found |= after & (ops.server == code) & (ops.start >= hit_ns)
    if not found.any():
        return None
    first = int(np.flatnonzero(found)[np.argmin(ops.end[found])])
    server = ops.servers[int(ops.server[first])]
    return NewAck(int(ops.end[first]), server, int(ops.epoch[first]), server if own_stores else old)


def label_switch(trace: Trace, window: Window, old: str, new: str, namespace: str = "") -> tuple[int, str] | None:
    """When the last Service that pointed at pod `old` and not at `new` pointed at `new`, and its name.

    With `old` and `new` the same pod: when the last Service that lost it had it back. None when no Service did, or one
    never switched.
    """
    follows: dict[str, int] = {}  # Services that have to switch, and when they did
    pods: dict[str, frozenset[str]] = {}
    for change in lanes.service_switches(trace, namespace):
        if change.time > window.until:
            break
        had, pods[change.service] = pods.get(change.service, frozenset()), change.pods
        if change.time > window.inject:
            if old == new and new in had and new not in change.pods:
                follows[change.service] = 0
            elif new in change.pods and not follows.get(change.service, 1):
                follows[change.service] = change.time
        elif old != new:
            follows.pop(change.service, None)
            if old in change.pods and new not in change.pods:
                follows[change.service] = 0
    if not follows or not all(follows.values()):
        return None
    slowest = max(follows, key=lambda service: follows[service])
    return follows[slowest], slowest


def latencies(ops: Ops, begin: int, until: int) -> dict[str, Any]:
    """p50 and p99 of acknowledged operations in milliseconds, and how many ended how; by time of sending."""
    inside: Bools = (ops.start >= begin) & (ops.start < until)
    mask = inside & ops.ok & (ops.end != FOREVER)
    values = (ops.end[mask] - ops.start[mask]) / 1e6
    low, high = np.percentile(values, (50, 99)) if len(values) else (None, None)
    counts = {name: int((inside & (ops.outcome == code)).sum()) for name, code in OUTCOMES.items()}
    return {
        "p50_ms": None if low is None else round(float(low), 2),
        "p99_ms": None if high is None else round(float(high), 2),
        **counts,
    }


def outage_scope(ops: Ops, pods: Iterable[str]) -> tuple[Bools, str]:
    """Which operations a fault on `pods` could stop, and in words which those are.

    Where each member is a store of its own (its Service goes to it alone), those of the affected members; else all.
    """
    service = ops.kind == ops.kinds.index(SERVICE)
    own = sorted(pod for pod in pods if (service & ops.to([pod])).any())
    if own:
        return ops.to(own), f"to {', '.join(own)}"
    return np.ones(len(ops), np.bool_), ""


def outage(found: Found, ops: Ops, scope: Bools, begin: int, until: int) -> None:
    """Seconds without acknowledged writes over [begin, until]: by any session in scope, and through the Service."""
    last = ops.last_ns(scope)
    end = until if last is None else min(until, last)
    service = ops.kind == ops.kinds.index(SERVICE)
    for name, mask in (("without_acks_s", ops.write & scope), ("without_acks_service_s", ops.write & scope & service)):
        times = ops.end[mask & ops.ok & (ops.end != FOREVER)]
        longest = longest_silence(times, begin, end) if end > begin else None
        why = "no write was acknowledged" if mask.any() else "no write was recorded"
        found.put(name, longest[1] if longest else None, longest[0] if longest else 0, why)
        if name == "without_acks_s":
            lengths = np.diff(silences(times, begin, end)) / 1e9
            total = float(lengths[lengths >= SILENCE_COUNTED_S].sum())
            found.values["silence_ns"] = longest
            found.values["without_acks_total_s"] = round(total, 3) if longest else None


def restart_outage_s(ops: Ops, pods: Iterable[str], begin: int, until: int) -> float | None:
    """Seconds without acknowledged writes while all members were restarted in turn, the longest: no fault is held then.

    Where each member is a store of its own, that of the member that was silent longest.
    """
    own = [scope for scope, words in (outage_scope(ops, [pod]) for pod in pods) if words]
    seconds = []
    for scope in own or [np.ones(len(ops), np.bool_)]:
        found = Found()
        outage(found, ops, scope, begin, until)
        seconds.append(found.values["without_acks_s"])
    return max((s for s in seconds if s is not None), default=None)


def fault_metrics(window: Window, trace: Trace | None, ops: Ops, namespace: str = "") -> dict[str, Any]:
    """Everything measured about one fault, with `unknown` naming what could not be and why."""
    found = Found()
    since = window.inject
    pods = affected_pods(trace, window.fault, namespace) if trace else []
    scope, scope_words = outage_scope(ops, pods)
    outage(found, ops, scope, since, window.until)
    hit: tuple[int, str] | None = None
    targets: frozenset[str] = frozenset()
    if trace is None:
        for name in ("detect_s", "reschedule_s", "attach_s", "ready_s"):
            found.put(name, None, since, "no trace")
    else:
        nobody = "" if pods else f"the target {window.fault.target!r} names no pod of the trace"
        hit = detected(trace, window, pods, namespace)
        found.put("detect_s", hit[0] if hit else None, since, nobody or "the API showed no sign")
        for name, measure, why in (
            ("reschedule_s", rescheduled, "no pod was replaced and scheduled"),
            ("attach_s", attached, "no volume was attached anew"),
            ("ready_s", ready_again, "no pod stopped being Ready and was Ready again"),
        ):
            found.put(name, measure(trace, window, pods, namespace), since, nobody or why)
        names = lanes.server_pods(trace, namespace)
        targets = frozenset(server for server in ops.servers if pod_of(server, names) in pods)
    ack = first_new_ack(ops, window, targets, hit[0] if hit else None, own_stores=bool(scope_words))
    found.put(
        "first_ack_s", ack.time if ack else None, since, "no write of a newer epoch or incarnation was acknowledged"
    )
    _label_lag(found, window, trace, ack, namespace)
    recovered = max([window.fault.healed_ns, ack.time if ack else 0, since])
    return {
        "fault": window.fault.fault,
        "target": window.fault.target,
        "pods": pods,
        "scope": scope_words,
        **found.values,
        "detected_by": hit[1] if hit else "",
        "first_ack_by": ack.server if ack else "",
        "first_ack_epoch": ack.epoch if ack else None,
        "latency": {
            "before": latencies(ops, window.begin, since),
            "during": latencies(ops, since, recovered),
            "after": latencies(ops, recovered, window.until),
        },
        "unknown": found.unknown,
    }


def pod_of(server: str, names: dict[str, str]) -> str:
    """The pod behind a server's name, which may be its name, UID, address, or one of these with a port or suffix."""
    if server in names:
        return names[server]
    return next((names[part] for part in re.split(r"[:/@ ]", server) if part in names), "")


def _label_lag(found: Found, window: Window, trace: Trace | None, ack: NewAck | None, namespace: str) -> None:
    """Service-label lag: the new primary's first acknowledgement → its Service points at it (negative when earlier)."""
    if trace is None or ack is None:
        found.put("label_lag_s", None, 0, "no trace" if trace is None else "no new primary acknowledged a write")
        return
    names = lanes.server_pods(trace, namespace)
    old, new = pod_of(ack.before, names), pod_of(ack.server, names)
    if not old or not new:
        found.put("label_lag_s", None, 0, f"no pod is known as {ack.server if old else ack.before}")
        return
    switch = label_switch(trace, window, old, new, namespace)
    why = f"no Service lost {new} and had it back" if old == new else f"no Service went from {old} to {new}"
    found.put("label_lag_s", switch[0] if switch else None, ack.time, why)
    if switch:
        found.values["label_lag_service"] = switch[1]
