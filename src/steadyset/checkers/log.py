"""An at-least-once queue or log keeps what it acknowledged: nothing lost, phantom, diverged, reordered or repeated.

Ops: `enqueue` v (a log's answer carries the offset as `result`), `dequeue` -> v (nil: empty), `drain` -> values, `poll`
-> offset, value, offset, value, … A key is a queue or a partition, a process is a producer or a consumer; a consumer's
new session begins where it likes. A delivery whose session ends in "redelivered" is flagged as one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np

from steadyset.checkers.adds import Adds
from steadyset.checkers.base import DATA_MAX, Violation, among, conclude, keys, listed, shown, unique_ops
from steadyset.checkers.deliveries import Deliveries
from steadyset.checkers.log_order import first_of, inversion, offset_violation, redelivered
from steadyset.checkers.places import passes, rows_of, where
from steadyset.errors import UsageError
from steadyset.history import INFO, NIL, OK, History
from steadyset.history.columns import Ints, Mask, Rows
from steadyset.verdict import Judgement

DUPLICATES: Final = ("never", "flagged", "allowed")
DELIVERING: Final = ("dequeue", "drain", "poll")


@dataclass
class _Report:
    counts: dict[str, float] = field(
        default_factory=lambda: {
            "acknowledged": 0,
            "delivered": 0,
            "unknown": 0,
            "unknown_observed": 0,
            "duplicates": 0,
        }
    )
    lost: list[int] = field(default_factory=list)
    undelivered: int = 0
    excused: int = 0
    undecided: str = ""


@dataclass(frozen=True)
class DurableLog:
    """No acknowledged message is lost, none delivered that was not sent, each producer's order is kept.

    `duplicates`: "never"; "flagged" (a second delivery must be flagged as one, or a consumer's loss lie between);
    "allowed". `ordered`: first deliveries keep each producer's order. `delivered_min`, `acknowledged_min`: fewer
    prove nothing. A message counts as lost once the queue was proven empty after its acknowledgement, or, in a log,
    once a later offset was delivered.
    """

    acknowledged_min: int = 1
    delivered_min: int = 1
    duplicates: str = "flagged"
    ordered: bool = True
    rule: ClassVar[str] = "durable-log"
    claim: ClassVar[str] = "An acknowledged message is delivered, in its producer's order, and nothing else is."

    def check(self, history: History) -> Judgement:
        """Judge the messages of every key."""
        if self.duplicates not in DUPLICATES:
            raise UsageError(f"durable-log: no such mode {self.duplicates!r}", expected=f"one of {DUPLICATES}")
        report = _Report()
        violations: list[Violation | None] = []
        for ops in keys(history, "enqueue", *DELIVERING):
            violations += self._check_key(history, ops, report)
        data = {
            "lost": report.lost[:DATA_MAX],
            "lost_count": len(report.lost),
            "undelivered": report.undelivered,
            "excused_by_unknown_dequeues": report.excused,
            "recovered": report.counts["unknown_observed"],
        }
        wanted = {"acknowledged": self.acknowledged_min, "delivered": self.delivered_min}
        resolved = {"deliveries": report.counts["unknown_observed"]}
        return conclude(self, history, violations, report.counts, wanted, resolved, data, undecided=report.undecided)

    def _check_key(self, history: History, ops: Ints | None, report: _Report) -> list[Violation | None]:
        delivering = history.is_f(*DELIVERING)
        adds = Adds.build(history, among(history.is_f("enqueue"), ops))
        answered = among(delivering & (history.outcome == OK), ops)
        vanished = among(delivering & (history.outcome == INFO), ops)
        got = Deliveries.build(history, answered)
        at = got.places(adds.places)
        found: list[Violation | None] = []
        unsent = _strange(adds, at)
        strange = rows_of(unsent)
        if len(strange):
            at_first = strange[:1] if (at[strange] < 0).all() else strange[at[strange] >= 0][:1]
            found.append(adds.intruder(int(got.op[at_first[0]]), got.value(at_first), at[at_first]))
            got, at = got.pick(~unsent), at[~unsent]
        first = first_of(at, len(adds))
        taken = first >= 0
        delivered = int(np.count_nonzero(taken))
        counts = report.counts
        unknown = adds.maybe & ~adds.acked
        counts["acknowledged"] += int(adds.acked.sum())
        counts["delivered"] += delivered
        counts["unknown"] += int(unknown.sum())
        counts["unknown_observed"] += int((unknown & taken).sum())
        found.append(_early(history, adds, got, at))
        found.append(offset_violation(history, adds, got, at))
        found.append(self._lost(history, adds, got, taken, answered, vanished, report))
        found.append(self._duplicate(history, adds, got, at, vanished, report) if len(at) > delivered else None)
        if self.ordered:
            found.append(inversion(history, adds, got, at, first))
        return found

    def _lost(
        self,
        history: History,
        adds: Adds,
        got: Deliveries,
        taken: Mask,
        answered: Rows,
        vanished: Rows,
        report: _Report,
    ) -> Violation | None:
        missing = np.flatnonzero(adds.acked & ~taken)
        if not len(missing):
            return None
        # a log: a later offset was delivered
        offset = history.result[adds.op[missing]]
        highest = int(got.offset.max()) if len(got.offset) else NIL
        passed = missing[(offset != NIL) & (offset <= highest)]
        # a queue: empty, said an answer that was asked for after the acknowledgement
        proofs = _empty(history, answered)
        proof = int(proofs[np.argmax(history.start[proofs])]) if len(proofs) else -1
        overdue = missing[adds.end(missing) < history.start[proof]] if proof >= 0 else missing[:0]
        took_some = vanished[~history.is_f("poll")[vanished]]
        owed = overdue[~np.isin(overdue, passed)]
        excuses = len(owed) if history.is_f("drain")[took_some].any() else min(len(owed), len(took_some))
        report.excused += excuses
        lost = np.concatenate([passed, owed[excuses:]])
        report.undelivered += len(missing) - len(lost)
        if not len(lost):
            open_ = len(missing) - len(passed) - len(overdue)  # nothing that was asked for afterwards tells
            if open_ and not report.undecided:
                missed = f"{open_} acknowledged messages were not delivered"
                report.undecided = f"{missed}, and no later answer shows that the queue was empty"
            return None
        report.lost += adds.value(lost).tolist()
        op = int(adds.op[lost[0]])
        lines = [f"lost: {listed(adds.value(lost))}"]
        if len(passed):
            later = int(got.op[np.argmax(got.offset)])
            ops = [op, later]
            lines.append(
                f"its offset was {int(offset[np.isin(missing, passed)][0])}, yet {highest} was delivered without it"
            )
        else:
            ops = [op, proof]
            lines.append("the queue was empty after that, and nobody had got it")
        if excuses:
            lines.append(f"{excuses} more are missing, which dequeues of unknown outcome may have taken")
        return Violation("lost", f"{len(lost)} acknowledged messages are lost", unique_ops(*ops), lines)

    def _duplicate(
        self, history: History, adds: Adds, got: Deliveries, at: Rows, vanished: Rows, report: _Report
    ) -> Violation | None:
        queue = got.offset == NIL  # reading a log again is no duplicate; two offsets of one value are
        delivered = np.bincount(at[queue], minlength=len(adds))
        more = np.flatnonzero(queue & (delivered > 1)[at])
        order = more[np.lexsort((history.start[got.op[more]], at[more]))]
        again = np.flatnonzero(at[order][1:] == at[order][:-1]) + 1
        report.counts["duplicates"] += len(again)
        if self.duplicates == "allowed" or not len(again):
            return None
        flagged = redelivered(history, got.op)
        losses = np.sort(history.start[vanished])
        for n in again.tolist():
            one, other = int(got.op[order[n - 1]]), int(got.op[order[n]])
            attempts = int(adds.attempts[at[order[n]]])
            lost_between = np.searchsorted(losses, history.end[other]) > np.searchsorted(losses, history.start[one])
            excused = bool(flagged[order[n]]) or bool(lost_between) or attempts > 1
            if self.duplicates == "never" or not excused:
                value = shown(int(adds.value(at[order[n : n + 1]])[0]))
                line = "the second delivery is not flagged as one, and no consumer was lost between them"
                if self.duplicates == "never":
                    line = "a message was to be delivered exactly once"
                ops = unique_ops(int(adds.op[at[order[n]]]), one, other)
                return Violation("duplicate", f"{value} was delivered twice", ops, [line])
        return None


def _empty(history: History, answered: Rows) -> Rows:
    """Those of the answers that say the queue is empty: a dequeue of nothing, a drain, a last poll of nothing."""
    dequeue, drain, poll = (history.code("f", name) for name in ("dequeue", "drain", "poll"))
    final = history.code("session", "final")

    def holds(some: Rows) -> Mask:
        f = history.f[some]
        empty: Mask = (f == drain) | ((f == dequeue) & (history.value[some] == NIL))
        polls = f == poll
        if final >= 0 and polls.any():
            empty |= polls & (history.session[some] == final) & (history.list_end[some] <= history.list_start[some])
        return empty

    return where(answered, holds)


def _strange(adds: Adds, at: Rows) -> Mask:
    """Which deliveries are of nothing that anybody tried to add, or of what was refused."""
    found = np.ones(len(at), dtype=np.bool_)
    for some in passes(len(at) if len(adds) else 0):
        found[some] = (at[some] < 0) | ~adds.maybe[at[some]]
    return found


def _early(history: History, adds: Adds, got: Deliveries, at: Rows) -> Violation | None:
    for some in passes(len(at)):
        early = np.flatnonzero(history.end[got.op[some]] < adds.start(at[some]))
        if len(early):
            i = some.start + int(early[0])
            break
    else:
        return None
    summary = f"{shown(int(got.value(slice(i, i + 1))[0]))} was delivered before it was sent"
    return Violation(
        "read from the future", summary, [int(got.op[i]), int(adds.op[at[i]])], ["the delivery came first"]
    )
