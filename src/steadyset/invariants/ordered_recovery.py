"""Rule `ordered-recovery`: OrderedReady, over the whole trace and not only its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from steadyset.invariants.base import Findings, plural
from steadyset.invariants.objects import PARALLEL, Obj, policy, replicas, short, start_ordinal, terminating
from steadyset.invariants.setwalk import CREATED, DELETING, Member, SetWalk, Step
from steadyset.trace import Trace
from steadyset.verdict import Judgement


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
        """Judge every creation by the predecessors, and every deletion beyond spec.replicas by the successors."""
        found = Findings(self, trace)
        found.needs("Pod", "StatefulSet")
        found.open_gaps("Pod", "StatefulSet")
        found.count("creations", 0)
        found.count("scale_down_deletions", 0)
        walk = SetWalk(trace, self.namespace, self.statefulset)
        if not walk.sets:
            found.undecided(f"StatefulSet {self.namespace}/{self.statefulset} was never seen")
        parallel = next((record for record in walk.sets if policy(record.obj) == PARALLEL), None)
        if parallel is not None:
            text = f"StatefulSet {self.statefulset} says podManagementPolicy: Parallel, which promises no order"
            found.violated(parallel.t, text)
        for step in walk:
            statefulset = walk.statefulset_at(step.record)
            if step.what == CREATED:
                self._created(found, statefulset, step)
            elif step.what == DELETING:
                self._deleting(found, statefulset, step)
        if not found.violations:
            found.at_least("creations", self.creations_min)
        return found.judgement(
            f"{plural(found.observed['creations'], 'creation')} and "
            f"{plural(found.observed['scale_down_deletions'], 'scale-down deletion')} in order"
        )

    def _created(self, found: Findings, statefulset: Obj, step: Step) -> None:
        found.count("creations")
        who = f"pod {step.member.name} ({short(step.record.uid)})"
        if self._hidden(found, step, f"in which order {who} was created"):
            return
        window = self.lag_ms * 1_000_000
        late = [g for g in found.trace.gaps("Pod", lossless=True) if g.overlaps(step.t - window, step.t)]
        for number in range(start_ordinal(statefulset), step.member.ordinal):
            name = f"{self.statefulset}-{number}"
            here, gone = step.members.get(number), step.recent.get(number)
            if here is not None and here.is_ready():
                continue
            if late:
                found.hidden(late[-1], f"whether {name} was Ready when {who} was created")
            elif not any(member.ready_within(step.t, window) for member in (here, gone) if member is not None):
                found.violated(step.t, f"{who} was created while {name} {self._why(found, here, gone)}")

    def _why(self, found: Findings, here: Member | None, gone: Member | None) -> str:
        last = max(member.ready_until if member is not None else -1 for member in (here, gone))
        ago = f", last Ready at {found.trace.seconds(last):.3f} s" if last >= 0 else " and had never been"
        if here is None:
            return "did not exist" + (ago if last >= 0 else "")
        born = f"created at {found.trace.seconds(here.since):.3f} s"
        state = "was terminating" if terminating(here.pod) else "was not Ready"
        return f"({short(here.record.uid)}, {born}) {state}{ago}"

    def _deleting(self, found: Findings, statefulset: Obj, step: Step) -> None:
        if not statefulset or terminating(statefulset):
            return  # deleting the StatefulSet itself promises no order
        if step.member.ordinal < start_ordinal(statefulset) + replicas(statefulset):
            return  # a replacement, not a scale-down
        found.count("scale_down_deletions")
        who = f"pod {step.member.name} ({short(step.record.uid)})"
        if self._hidden(found, step, f"in which order {who} was deleted"):
            return
        for number, other in sorted(step.members.items()):
            if number > step.member.ordinal:
                found.violated(
                    step.t,
                    f"{who} was deleted by the scale-down to {replicas(statefulset)} while its successor "
                    f"{other.name} ({short(other.record.uid)}) still existed",
                )

    def _hidden(self, found: Findings, step: Step, what: str) -> bool:
        """Whether the step was only inferred after a gap, so that its moment is unknown."""
        if not step.record.inferred:
            return False
        gaps = [gap for gap in found.trace.gaps("Pod") if gap.until_ns <= step.t]
        if gaps:
            found.hidden(gaps[-1], what)
        else:
            found.undecided(f"{what} was not seen, only inferred")
        return True
