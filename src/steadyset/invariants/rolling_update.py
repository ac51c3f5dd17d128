"""Rule `rolling-update`: order, partition, OnDelete and maxUnavailable of a StatefulSet's update, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from steadyset.invariants.base import Findings, plural
from steadyset.invariants.objects import Obj, replicas, short, spec, start_ordinal, status
from steadyset.invariants.setwalk import CREATED, DELETING, RESOLUTION_S, SetWalk, Step, deleted_at, min_ready_s
from steadyset.trace import Trace
from steadyset.verdict import Judgement

EVENT_NS = 10_000_000_000  # the controller's event of a deletion arrives within this
EVENT_EARLY_NS = 500_000_000  # … or this much before the deletion is seen: two watches


@dataclass(frozen=True)
class RollingUpdate:
    """`updates_min`: pods replaced by one of another revision. `lag_ms`: the controller reads a cache. Deletions are
    the controller's where it says so (Event SuccessfulDelete); those of anybody else are not judged.
    """

    namespace: str
    statefulset: str
    updates_min: int = 1
    lag_ms: int = 2000

    rule: ClassVar[str] = "rolling-update"
    claim: ClassVar[str] = (
        "pods are updated from the highest ordinal to the partition, never more than maxUnavailable at once, and never "
        "under OnDelete"
    )

    def check(self, trace: Trace) -> Judgement:
        """Judge every deletion by the controller and every creation below the partition."""
        found = Findings(self, trace)
        found.needs("Pod", "StatefulSet", "Event")
        found.open_gaps("StatefulSet")
        for gap in trace.gaps("Pod") + trace.gaps("Event"):
            found.hidden(gap, "a step of an update")
        found.count("updates", 0)
        found.count("controller_deletions", 0)
        walk = SetWalk(trace, self.namespace, self.statefulset)
        deletions = self._controller_deletions(trace, walk)
        for step in walk:
            current = walk.statefulset_at(step.record)
            if step.what == CREATED:
                self._created(found, current, step)
            elif step.what == DELETING and (step.member.name, step.t) in deletions:
                failed = status(step.member.pod).get("phase") in ("Failed", "Succeeded")
                if not failed and step.member.ordinal < start_ordinal(current) + replicas(current):
                    found.count("controller_deletions")
                    self._updated(found, current, step)
        if not found.violations:
            found.at_least("updates", self.updates_min)
        return found.judgement(f"{plural(found.observed['updates'], 'update')} in the promised order")

    def _controller_deletions(self, trace: Trace, walk: SetWalk) -> set[tuple[str, int]]:
        """(pod name, time) of the controller's own deletions: for each of its events the last before it."""
        begun: dict[str, list[int]] = {}
        for step in walk:
            if step.what == DELETING:
                begun.setdefault(step.member.name, []).append(step.t)
        found: set[tuple[str, int]] = set()
        for record in trace.of("Event", self.namespace):
            event = record.obj
            about = event.get("involvedObject") or {}
            if event.get("reason") != "SuccessfulDelete" or record.e in ("DELETED", "SYNC"):
                continue
            if about.get("kind") != "StatefulSet" or about.get("name") != self.statefulset:
                continue
            words = str(event.get("message", "")).split()
            name = next((word for word in words if word in begun), "")
            before = [t for t in begun.get(name, []) if t <= record.t + EVENT_EARLY_NS]
            if before and record.t - before[-1] <= EVENT_NS:
                found.add((name, before[-1]))
        return found

    def _created(self, found: Findings, statefulset: Obj, step: Step) -> None:
        old = step.recent.get(step.member.ordinal)
        if old is not None and old.revision != step.member.revision:
            found.count("updates")
        kept = str(status(statefulset).get("currentRevision", ""))
        if step.member.ordinal < start_ordinal(statefulset) + _partition(statefulset) and kept:
            found.count("creations_below_partition")
            if step.member.revision != kept:
                found.violated(
                    step.t,
                    f"pod {step.member.name} ({short(step.record.uid)}), below partition {_partition(statefulset)}, "
                    f"was created at revision {step.member.revision}, not at the current {kept}",
                )

    def _updated(self, found: Findings, statefulset: Obj, step: Step) -> None:
        who = f"pod {step.member.name} ({short(step.record.uid)})"
        strategy = spec(statefulset).get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            found.violated(step.t, f"{who} was deleted by the controller, although the strategy is OnDelete")
            return
        partition = _partition(statefulset)
        if step.member.ordinal < start_ordinal(statefulset) + partition:
            found.violated(step.t, f"{who} was deleted by the controller, although the partition is {partition}")
            return
        allowed = _max_unavailable(statefulset)
        away = []
        for number in range(step.member.ordinal + 1, start_ordinal(statefulset) + replicas(statefulset)):
            other = step.members.get(number)
            if other is not None and not other.deleting and other.revision == step.member.revision:
                found.violated(
                    step.t, f"{who} was updated while its successor {other.name} still had revision {other.revision}"
                )
                return
            if other is None or not other.ready_within(step.t, self.lag_ms * 1_000_000):
                away.append(f"{self.statefulset}-{number}")
            elif not other.initially_ready and other.is_ready():
                ready_s = other.ready_s(step.t, deleted_at(step.member.pod))
                if ready_s < min_ready_s(statefulset) - RESOLUTION_S:
                    away.append(f"{other.name} (Ready for {ready_s:.3f} s of {min_ready_s(statefulset)} s)")
        if len(away) + 1 > allowed:
            found.violated(
                step.t, f"{who} was updated while {', '.join(away)} was not available: maxUnavailable is {allowed}"
            )


def _partition(statefulset: Obj) -> int:
    rolling = (spec(statefulset).get("updateStrategy") or {}).get("rollingUpdate") or {}
    return int(rolling.get("partition") or 0)


def _max_unavailable(statefulset: Obj) -> int:
    """maxUnavailable as a number; a percentage is of the replicas, rounded up, at least 1."""
    rolling = (spec(statefulset).get("updateStrategy") or {}).get("rollingUpdate") or {}
    value = rolling.get("maxUnavailable")
    if value is None:
        return 1
    if isinstance(value, str) and value.endswith("%"):
        return max(1, ceil(int(value[:-1]) * replicas(statefulset) / 100))
    return int(value)
