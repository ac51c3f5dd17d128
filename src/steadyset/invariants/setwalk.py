"""A StatefulSet's life as steps: which pod was created, began to be deleted or went, and how its siblings were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from steadyset.invariants.objects import (
    Obj,
    condition,
    controller,
    labels,
    meta,
    newer,
    ordinal,
    ready,
    spec,
    terminating,
)
from steadyset.trace import Record, Trace

REVISION_LABEL = "controller-revision-hash"
RESOLUTION_S = 1.0  # of a condition's times
CREATED, DELETING, GONE, CHANGED = "created", "deleting", "gone", "changed"


@dataclass
class Member:
    """One pod of the set at the moment of the walk. Times are ns; -1 means never."""

    ordinal: int
    record: Record  # the latest with content
    since: int
    ready_since: int = -1
    ready_until: int = -1
    initially_ready: bool = False  # since when is unknown
    deleting: bool = False

    @property
    def name(self) -> str:
        """The pod's name."""
        return self.record.name

    @property
    def pod(self) -> Obj:
        """The latest state."""
        return self.record.obj

    @property
    def revision(self) -> str:
        """The ControllerRevision it was made from."""
        return labels(self.pod).get(REVISION_LABEL, "")

    def is_ready(self) -> bool:
        """Ready and not being deleted."""
        return ready(self.pod) and not terminating(self.pod)

    def ready_s(self, t: int, stamp: datetime | None = None) -> float:
        """For how many seconds it has been Ready at `t`: as seen or, if the API server stamped `t`, as stamped.

        A kubelet tells of a pod some time after it has become Ready; the controller goes by the time it stamps.
        """
        seen = (t - self.ready_since) / 1e9
        said = condition(self.pod, "Ready").get("lastTransitionTime")
        if not said or not stamp:
            return seen
        return max(seen, (stamp - datetime.fromisoformat(said)).total_seconds())

    def ready_within(self, t: int, window_ns: int) -> bool:
        """Whether it was Ready at some moment from `t - window_ns` to `t`."""
        return self.is_ready() or (self.ready_until >= 0 and self.ready_until >= t - window_ns)

    def _see(self, record: Record, *, initial: bool) -> None:
        was = self.is_ready() and self.ready_since >= 0
        self.record = record
        if self.is_ready():
            if not was:
                self.ready_since, self.initially_ready = record.t, initial or record.inferred
            self.ready_until = record.t
        elif was:
            self.ready_until = record.t


@dataclass
class Step:
    """What happened to `member` at `record`; `members` are all pods of the set right then (without one that went)."""

    what: str
    t: int
    record: Record
    member: Member
    members: dict[int, Member]
    recent: dict[int, Member] = field(default_factory=dict)  # the last pod that went, by ordinal


class SetWalk:
    """Iterates over the steps; `statefulset_at(record)` is the spec in force at a pod record's resourceVersion."""

    def __init__(self, trace: Trace, namespace: str, statefulset: str) -> None:
        self.trace, self.namespace, self.statefulset = trace, namespace, statefulset
        self.sets = [r for r in trace.of("StatefulSet", namespace, statefulset) if r.e != "DELETED"]

    def statefulset_at(self, record: Record) -> Obj:
        """By versions, not by times: two watches may deliver in another order. Empty before its creation."""
        found: Obj = {}
        for other in self.sets:
            if not newer(other.rv, record.rv):
                found = other.obj
        return found

    def __iter__(self) -> Iterator[Step]:
        members: dict[int, Member] = {}
        recent: dict[int, Member] = {}
        for record in self.trace.of("Pod", self.namespace):
            number = ordinal(record.name, self.statefulset)
            member = members.get(number)
            mine = member is not None and member.record.uid == record.uid
            if number < 0 or not (mine or controller(record.obj) == ("StatefulSet", self.statefulset)):
                continue
            if record.e == "DELETED":
                if member is None or not mine:
                    continue
                if record.obj:
                    member._see(record, initial=False)
                elif member.is_ready():
                    member.ready_until = record.t
                if not member.deleting:
                    member.deleting = True
                    yield Step(DELETING, record.t, record, member, dict(members), recent)
                del members[number]
                recent[number] = member
                yield Step(GONE, record.t, record, member, dict(members), recent)
                continue
            created = not mine
            if member is None or created:
                member = members[number] = Member(number, record, record.t)
                member.ready_since = -1
            member._see(record, initial=record.e == "SYNC")
            if created and record.e == "ADDED":
                yield Step(CREATED, record.t, record, member, dict(members), recent)
            if terminating(record.obj) and not member.deleting:
                member.deleting = True
                yield Step(DELETING, record.t, record, member, dict(members), recent)
            yield Step(CHANGED, record.t, record, member, dict(members), recent)


def min_ready_s(statefulset: Obj) -> int:
    """spec.minReadySeconds, 0 when unset."""
    return int(spec(statefulset).get("minReadySeconds") or 0)


def created_at(obj: Obj) -> datetime | None:
    """When the API server made it, by its own clock; None without the stamp."""
    stamp = meta(obj).get("creationTimestamp")
    return datetime.fromisoformat(stamp) if stamp else None


def deleted_at(obj: Obj) -> datetime | None:
    """When the API server was asked to delete it; None unless it was. (Its deletionTimestamp is when grace ends.)"""
    stamp = meta(obj).get("deletionTimestamp")
    grace = timedelta(seconds=float(meta(obj).get("deletionGracePeriodSeconds") or 0))
    return datetime.fromisoformat(stamp) - grace if stamp else None
