"""Rule `ordered-recovery`: OrderedReady, over the whole trace and not only its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from steadyset.invariants.base import Findings, plural
from steadyset.invariants.objects import (
    PARALLEL,
    Obj,
    controller,
    newer,
    ordinal,
    policy,
    ready,
    replicas,
    short,
    start_ordinal,
    terminating,
)
from steadyset.trace import Record, Trace
from steadyset.verdict import Judgement


@dataclass
class _Slot:
    """The pod that holds an ordinal at the moment of the walk."""

    name: str
    uid: str
    pod: Obj
    since: int
    ready_until: int = -1  # last moment at which it was seen Ready and not terminating; -1 never
    deleting_since: int = 0

    def is_ready(self) -> bool:
        return ready(self.pod) and not terminating(self.pod)


@dataclass
class _Walk:
    """State while walking the records of pods and StatefulSet in order of time."""

    slots: dict[int, _Slot] = field(default_factory=dict)
    ended: dict[int, tuple[int, _Slot]] = field(default_factory=dict)  # ordinal -> when its last pod went, and that pod
    statefulset: Obj = field(default_factory=dict)


@dataclass(frozen=True)
class OrderedRecovery:
    """`creations_min`: pods seen created. `lag_ms`: the controller reads a cache, so a predecessor must have been Ready
    within this window before the create, not necessarily at it.
    """

    namespace: str
    statefulset: str
    creations_min: int = 1
    lag_ms: int = 2000

    rule: ClassVar[str] = "ordered-recovery"
    claim: ClassVar[str] = (
        "a pod is created only while all its predecessors are Ready, and scaled down only once its successors are gone"
    )

    def check(self, trace: Trace) -> Judgement:
        """Walk pods and StatefulSet in order of time."""
        found = Findings(self, trace)
        found.needs("Pod", "StatefulSet")
        found.open_gaps("Pod", "StatefulSet")
        found.count("creations", 0)
        found.count("scale_down_deletions", 0)
        walk = _Walk()
        records = trace.of("StatefulSet", self.namespace, self.statefulset) + trace.of("Pod", self.namespace)
        records.sort(key=lambda r: r.t)
        if not any(r.k == "StatefulSet" for r in records):
            found.undecided(f"StatefulSet {self.namespace}/{self.statefulset} was never seen")
        for record in records:
            if record.k == "StatefulSet":
                self._statefulset(found, walk, record)
            else:
                self._pod(found, walk, record)
        if not found.violations:
            found.at_least("creations", self.creations_min)
        return found.judgement(
            f"{plural(found.observed['creations'], 'creation')} and "
            f"{plural(found.observed['scale_down_deletions'], 'scale-down deletion')} in order"
        )

    def _statefulset(self, found: Findings, walk: _Walk, record: Record) -> None:
        if record.obj:
            if policy(record.obj) == PARALLEL and policy(walk.statefulset) != PARALLEL:
                text = f"StatefulSet {self.statefulset} says podManagementPolicy: Parallel, which promises no order"
                found.violated(record.t, text)
            walk.statefulset = record.obj

    def _pod(self, found: Findings, walk: _Walk, record: Record) -> None:
        number = ordinal(record.name, self.statefulset)
        slot = walk.slots.get(number)
        mine = slot is not None and slot.uid == record.uid
        if number < 0 or not (mine or controller(record.obj) == ("StatefulSet", self.statefulset)):
            return
        if record.e == "DELETED":
            if mine and slot is not None:
                if slot.is_ready():
                    slot.ready_until = record.t
                if record.obj:
                    self._deletion_begins(found, walk, number, slot, record)
                walk.ended[number] = record.t, slot
                del walk.slots[number]
            return
        if not mine:
            slot = walk.slots[number] = _Slot(record.name, record.uid, record.obj, record.t)
            if record.e == "ADDED":
                self._created(found, walk, number, record)
        assert slot is not None
        was_ready = slot.is_ready()
        slot.pod = record.obj
        if was_ready or slot.is_ready():
            slot.ready_until = record.t
        self._deletion_begins(found, walk, number, slot, record)

    def _created(self, found: Findings, walk: _Walk, number: int, record: Record) -> None:
        found.count("creations")
        who = f"pod {record.name} ({short(record.uid)})"
        if record.inferred:
            gaps = [g for g in found.trace.gaps("Pod") if g.until_ns <= record.t]
            if gaps:
                found.hidden(gaps[-1], f"in which order {who} was created")
            return
        earliest = record.t - self.lag_ms * 1_000_000
        late = [g for g in found.trace.gaps("Pod", lossless=True) if g.overlaps(earliest, record.t)]
        for before in range(start_ordinal(walk.statefulset), number):
            slot = walk.slots.get(before)
            if slot is not None and slot.is_ready():
                continue
            ended = walk.ended.get(before)
            last = slot.ready_until if slot is not None else -1
            if last < earliest and ended is not None:
                last = ended[1].ready_until
            name = f"{self.statefulset}-{before}"
            if late:
                found.hidden(late[-1], f"whether {name} was Ready when {who} was created")
            elif last < earliest:
                found.violated(record.t, f"{who} was created while {name} {self._why(found, slot, last)}")

    def _why(self, found: Findings, slot: _Slot | None, last: int) -> str:
        ago = f", last Ready at {found.trace.seconds(last):.3f} s" if last >= 0 else ""
        if slot is None:
            return f"did not exist{ago}"
        born = f"created at {found.trace.seconds(slot.since):.3f} s"
        state = "was terminating" if terminating(slot.pod) else "was not Ready"
        return f"({short(slot.uid)}, {born}) {state}{ago or ' and had never been'}"

    def _deletion_begins(self, found: Findings, walk: _Walk, number: int, slot: _Slot, record: Record) -> None:
        if slot.deleting_since or not (terminating(record.obj) or record.e == "DELETED"):
            return
        slot.deleting_since = record.t
        statefulset = self._statefulset_at(found.trace, record)
        if not statefulset or terminating(statefulset):
            return  # deleting the StatefulSet itself promises no order
        end = start_ordinal(statefulset) + replicas(statefulset)
        if number < end:
            return  # a replacement, not a scale-down
        found.count("scale_down_deletions")
        who = f"pod {slot.name} ({short(slot.uid)})"
        if record.inferred:
            gaps = [g for g in found.trace.gaps("Pod") if g.until_ns <= record.t]
            if gaps:
                found.hidden(gaps[-1], f"in which order {who} was deleted")
            return
        for after in sorted(walk.slots):
            if after > number:
                other = walk.slots[after]
                found.violated(
                    record.t,
                    f"{who} was deleted by the scale-down to {replicas(statefulset)} while its successor "
                    f"{other.name} ({short(other.uid)}) still existed",
                )

    def _statefulset_at(self, trace: Trace, record: Record) -> Obj:
        """The StatefulSet that was in force at `record`'s resourceVersion: two watches may deliver in another order."""
        found: Obj = {}
        for other in trace.of("StatefulSet", self.namespace, self.statefulset):
            if other.e != "DELETED" and not newer(other.rv, record.rv):
                found = other.obj
        return found
