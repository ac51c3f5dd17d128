"""Rules of scaling: `scale-down-halts`, `parallel-burst`, `min-ready-seconds` and `retention-policy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from steadyset.invariants.base import Findings, plural
from steadyset.invariants.objects import (
    PARALLEL,
    policy,
    replicas,
    short,
    spec,
    start_ordinal,
    templates,
    terminating,
)
from steadyset.invariants.setwalk import CREATED, DELETING, GONE, RESOLUTION_S, SetWalk, created_at, min_ready_s
from steadyset.trace import Trace
from steadyset.verdict import Judgement


@dataclass(frozen=True)
class ScaleDownHalts:
    """`deletions_min`: deletions by scaling down. `halts_min`: times that a scale-down had to wait."""

    namespace: str
    statefulset: str
    deletions_min: int = 0
    halts_min: int = 1
    lag_ms: int = 2000

    rule: ClassVar[str] = "scale-down-halts"
    claim: ClassVar[str] = "an OrderedReady scale-down deletes no pod while a predecessor that stays is not Ready"

    def check(self, trace: Trace) -> Judgement:
        """Judge every deletion at or beyond spec.replicas; count the moments at which one had to wait."""
        found = Findings(self, trace)
        found.needs("Pod", "StatefulSet")
        for kind in ("Pod", "StatefulSet"):
            for gap in trace.gaps(kind):
                found.hidden(gap, "a deletion beside an unready predecessor")
        found.count("deletions", 0)
        found.count("halts", 0)
        walk = SetWalk(trace, self.namespace, self.statefulset)
        waiting, before = False, dict[int, bool]()  # ready or not, by ordinal
        for step in walk:
            current = walk.statefulset_at(step.record)
            end = start_ordinal(current) + replicas(current)
            stays = range(start_ordinal(current), end)
            now = {n: member.is_ready() for n, member in step.members.items()}
            unready = [n for n in stays if not now.get(n)]
            for members in (before, now):  # until this step the pods were as before, under the spec now in force
                waits = not terminating(current) and any(n >= end for n in members)
                waits = waits and not all(members.get(n) for n in stays)
                found.count("halts", waits and not waiting)
                waiting = waits
            before = now
            if step.what != DELETING or step.member.ordinal < end or not current or terminating(current):
                continue
            if policy(current) == PARALLEL:
                continue
            found.count("deletions")
            for number in unready:
                other = step.members.get(number) or step.recent.get(number)
                if other is None or not other.ready_within(step.t, self.lag_ms * 1_000_000):
                    found.violated(
                        step.t,
                        f"pod {step.member.name} ({short(step.record.uid)}) was scaled down while its predecessor "
                        f"{self.statefulset}-{number} was not Ready",
                    )
        if not found.violations:
            found.at_least("deletions", self.deletions_min)
            found.at_least("halts", self.halts_min)
        return found.judgement(
            f"{plural(found.observed['deletions'], 'scale-down deletion')}, {plural(found.observed['halts'], 'halt')} "
            "at an unready predecessor"
        )


@dataclass(frozen=True)
class ParallelBurst:
    """`pods_min`: pods created together. `burst_ms`: all creations of one scale-up lie within this."""

    namespace: str
    statefulset: str
    pods_min: int = 2
    burst_ms: int = 5000

    rule: ClassVar[str] = "parallel-burst"
    claim: ClassVar[str] = "under podManagementPolicy Parallel no creation waits for another pod to be Ready"

    def check(self, trace: Trace) -> Judgement:
        """For each growth of spec.replicas: every new ordinal is created within `burst_ms` of it."""
        found = Findings(self, trace)
        found.needs("Pod", "StatefulSet")
        for gap in trace.gaps("Pod"):
            found.hidden(gap, "when pods were created")
        found.open_gaps("StatefulSet")
        walk = SetWalk(trace, self.namespace, self.statefulset)
        created: dict[int, list[int]] = {}
        for step in walk:
            if step.what == CREATED:
                created.setdefault(step.member.ordinal, []).append(step.t)
        found.count("pods", 0)
        have = 0
        for record in walk.sets:
            wanted, start = replicas(record.obj), start_ordinal(record.obj)
            if policy(record.obj) != PARALLEL:
                found.violated(record.t, f"StatefulSet {self.statefulset} says {policy(record.obj)}, not Parallel")
                break
            if wanted > have and record.e != "SYNC":
                for number in range(start + have, start + wanted):
                    after = [t for t in created.get(number, []) if t >= record.t - self.burst_ms * 1_000_000]
                    late = after[0] - record.t if after else trace.end_ns - record.t
                    if late > self.burst_ms * 1_000_000:
                        how = "was created only" if after else "was not created"
                        found.violated(
                            record.t, f"pod {self.statefulset}-{number} {how} {late / 1e9:.3f} s after it was asked for"
                        )
                    elif after:
                        found.count("pods")
            have = wanted
        if not found.violations:
            found.at_least("pods", self.pods_min)
        return found.judgement(f"{plural(found.observed['pods'], 'pod')} created without waiting")


@dataclass(frozen=True)
class MinReadySeconds:
    """`creations_min`: pods created after a predecessor that had to be available first."""

    namespace: str
    statefulset: str
    creations_min: int = 1

    rule: ClassVar[str] = "min-ready-seconds"
    claim: ClassVar[str] = "a successor is created only when its predecessors have been Ready for minReadySeconds"

    def check(self, trace: Trace) -> Judgement:
        """Judge every creation by how long each predecessor had then been Ready without a break."""
        found = Findings(self, trace)
        found.needs("Pod", "StatefulSet")
        for gap in trace.gaps("Pod", lossless=True):
            found.hidden(gap, "for how long a predecessor was Ready")
        found.open_gaps("StatefulSet")
        found.count("creations", 0)
        walk = SetWalk(trace, self.namespace, self.statefulset)
        for step in walk:
            current = walk.statefulset_at(step.record)
            needed_s = min_ready_s(current)
            if step.what != CREATED or not needed_s or policy(current) == PARALLEL:
                continue
            known = [m for n, m in step.members.items() if n < step.member.ordinal and not m.initially_ready]
            found.count("creations", bool(known))
            for other in known:
                ready_s = other.ready_s(step.t, created_at(step.record.obj)) if other.is_ready() else 0.0
                if ready_s < needed_s - RESOLUTION_S:
                    found.violated(
                        step.t,
                        f"pod {step.member.name} ({short(step.record.uid)}) was created when {other.name} had been "
                        f"Ready for {ready_s:.3f} s of {needed_s} s",
                    )
        if not any(min_ready_s(r.obj) for r in walk.sets):
            found.undecided(f"StatefulSet {self.statefulset} sets no minReadySeconds")
        if not found.violations:
            found.at_least("creations", self.creations_min)
        return found.judgement(f"{plural(found.observed['creations'], 'creation')} waited for minReadySeconds")


@dataclass(frozen=True)
class RetentionPolicy:
    """`scaled_min`: claims of pods that were scaled away. `within_ms`: a claim to be deleted is, this soon after."""

    namespace: str
    statefulset: str
    scaled_min: int = 1
    within_ms: int = 30_000

    rule: ClassVar[str] = "retention-policy"
    claim: ClassVar[str] = (
        "persistentVolumeClaimRetentionPolicy.whenScaled is obeyed: Retain keeps the claim of a pod scaled away, "
        "Delete deletes it once the pod is gone, and never before"
    )

    def check(self, trace: Trace) -> Judgement:
        """Judge the claims of every pod that went because of a scale-down."""
        found = Findings(self, trace)
        found.needs("Pod", "StatefulSet", "PersistentVolumeClaim")
        found.open_gaps("Pod", "StatefulSet", "PersistentVolumeClaim")
        found.count("scaled", 0)
        walk = SetWalk(trace, self.namespace, self.statefulset)
        for step in walk:
            current = walk.statefulset_at(step.record)
            end = start_ordinal(current) + replicas(current)
            if step.what != GONE or step.member.ordinal < end or not current or terminating(current):
                continue
            when = (spec(current).get("persistentVolumeClaimRetentionPolicy") or {}).get("whenScaled", "Retain")
            for template in templates(current):
                self._claim(found, f"{template}-{step.member.name}", when, step.t)
        if not found.violations:
            found.at_least("scaled", self.scaled_min)
        return found.judgement(f"{plural(found.observed['scaled'], 'claim')} of pods scaled away treated as promised")

    def _claim(self, found: Findings, name: str, when: str, gone: int) -> None:
        lives = [
            life
            for life in found.trace.lifetimes("PersistentVolumeClaim", self.namespace, name)
            if life.start_ns <= gone
        ]
        if not lives:
            found.undecided(f"claim {name} was never seen")
            return
        claim = lives[-1]
        found.count("scaled")
        begun = next((t for t, state in claim.states() if terminating(state)), claim.end_ns)
        if when == "Retain" and begun is not None:
            found.violated(begun, f"claim {name} ({short(claim.uid)}) was deleted, although whenScaled is Retain")
        elif when == "Delete" and claim.end_ns is not None and claim.end_ns < gone:
            found.violated(claim.end_ns, f"claim {name} ({short(claim.uid)}) was deleted before its pod was gone")
        elif when == "Delete" and begun is None:
            waited = found.trace.end_ns - gone
            if waited > self.within_ms * 1_000_000:
                found.violated(
                    gone, f"claim {name} ({short(claim.uid)}) is still there {waited / 1e9:.3f} s after its pod"
                )
            else:
                found.undecided(f"the trace ends {waited / 1e9:.3f} s after the pod of claim {name} was gone")
