"""A FIFO queue is linearizable, O(n log n): nothing overtakes, nothing is delivered twice, empty means empty.

With unique values: dequeues deliver what was enqueued, once and not before; x may not be overtaken, that is enqueued
before y began to be and dequeued (or never) after y was; and an empty answer needs an instant at which no value was
surely inside (Bouajjani, Emmi, Enea, Hamza 2015). A dequeue of unknown outcome may have consumed one undelivered value.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np

from steadyset.checkers.base import Violation, among, conclude, keys, seconds, shown, unique_ops
from steadyset.checkers.bounded import SEARCH_BUDGET_S, Item, State, search_ops
from steadyset.checkers.deliveries import Deliveries
from steadyset.checkers.places import Places, in_time, passes, row_type, rows_of, take, where
from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, PAST, History
from steadyset.history.columns import Ints, Mask, Rows
from steadyset.verdict import Judgement

KINDS: Final = ("enqueue", "dequeue", "drain")


@dataclass
class _Queue:
    """One key's values in the order of sending: who enqueued each, and who dequeued it (-1: nobody known)."""

    enq: Rows
    deq: Rows
    enq_start: Ints
    enq_end: Ints  # or the end of its delivery, if that is earlier
    deq_start: Ints  # FOREVER when never dequeued
    deq_end: Ints
    unknown_dequeues: Ints  # their starts, sorted
    empties: Rows


@dataclass(frozen=True)
class FifoQueue:
    """`enqueue` and `dequeue` (nil: empty) behave as on one first-in-first-out queue; `drain` is several dequeues.

    `dequeues_min`: fewer delivered values prove nothing (INVALID). `search_budget_s` bounds the search for values
    that are not unique, and for empty answers beside dequeues of unknown outcome.
    """

    dequeues_min: int = 1
    search_budget_s: float = SEARCH_BUDGET_S
    rule: ClassVar[str] = "fifo-queue"
    claim: ClassVar[str] = "Every message is delivered once, in the order in which messages were sent."

    def check(self, history: History) -> Judgement:
        """Judge the enqueues and dequeues of every key."""
        counts = {"enqueues": 0, "dequeues": 0, "unknown": 0, "unknown_observed": 0}
        violations = []
        undecided = ""
        for ops in keys(history, *KINDS):
            violation, reason = self._check_key(history, ops, counts)
            violations.append(violation)
            undecided = undecided or reason
        wanted = {"dequeues": self.dequeues_min}
        resolved = {"deliveries": counts["unknown_observed"]}
        return conclude(self, history, violations, counts, wanted, resolved, undecided=undecided)

    def _check_key(self, history: History, ops: Ints | None, counts: dict[str, int]) -> tuple[Violation | None, str]:
        enqueues = among(history.is_f("enqueue"), ops)
        enq = in_time(history.start, where(enqueues, lambda some: history.outcome[some] != FAIL))
        dequeuing = history.is_f("dequeue", "drain")
        answered = among(dequeuing & (history.outcome == OK), ops)
        lost = among(dequeuing & (history.outcome == INFO), ops)
        got = Deliveries.build(history, answered)
        counts["enqueues"] += len(enq)
        counts["dequeues"] += len(got.op)
        places = Places.build(history.value, enq)
        if places.count < len(enq):
            return self._search(history, among(history.is_f(*KINDS), ops))
        at = _positions(places, got)
        fallback = None
        if len(at) and at.min() < 0:
            known = at >= 0
            strange = rows_of(~known)
            fallback = _phantom(history, enqueues, got.op[strange], got.value(strange))
            if not fallback.needs_all:
                return fallback, ""
            at, got = at[known], got.pick(known)
        deq = np.full(len(enq), -1, dtype=row_type(len(history)))
        for some in passes(len(at)):
            deq[at[some]] = got.op[some]
        taken = deq >= 0
        if np.count_nonzero(taken) < len(at):
            return _twice(history, enq, got, at), ""
        unknown = take(history.outcome, enq) == INFO
        counts["unknown"] += int(unknown.sum()) + len(lost)
        counts["unknown_observed"] += int((unknown & taken).sum())
        dequeue = history.code("f", "dequeue")
        empties = where(answered, lambda some: (history.f[some] == dequeue) & (history.value[some] == NIL))
        if len(lost) and (len(empties) or history.is_f("drain")[lost].any()):
            return self._search(history, among(history.is_f(*KINDS), ops))
        queue = _Queue(
            enq,
            deq,
            take(history.start, enq),
            take(history.end, enq),
            _or_never(take(history.start, deq), taken),
            _or_never(take(history.end, deq), taken),
            np.sort(history.start[lost]),
            empties,
        )
        np.minimum(queue.enq_end, queue.deq_end, out=queue.enq_end)
        violation = _order(history, queue) or _drained(history, queue, got, at) or _empty(history, queue)
        return violation or fallback, ""

    def _search(self, history: History, ops: Rows) -> tuple[Violation | None, str]:
        """Drains, which are several dequeues each, are searched as dequeues that may interleave with others."""
        items = []
        for i in ops.tolist():
            f, outcome, value = history.name("f", i), int(history.outcome[i]), int(history.value[i])
            start, end = int(history.start[i]), int(history.end[i])
            if f == "enqueue" and outcome != FAIL:
                items.append(Item(i, start, end, "enqueue", value))
            elif f == "dequeue" and outcome != FAIL:
                items.append(Item(i, start, end, "dequeue" if outcome == OK else "take", value))
            elif f == "drain" and outcome == OK:
                items += [Item(i, start, end, "dequeue", v) for v in history.values(i).tolist()]
            elif f == "drain" and outcome == INFO:
                return None, "undecided: a drain of unknown outcome may have consumed any number of values"
        return search_ops(history, items, queue_step, (), self.search_budget_s)


def queue_step(state: State, item: Item) -> State | None:
    """A queue as a tuple: enqueue(a), dequeue(a or NIL for empty), take (of unknown outcome: whatever is first)."""
    assert isinstance(state, tuple)
    if item.kind == "enqueue":
        return (*state, item.a)
    if item.kind == "take":
        return state[1:]
    if item.a == NIL:
        return state if not state else None
    return state[1:] if state and state[0] == item.a else None


def _positions(places: Places, got: Deliveries) -> Rows:
    """Each delivered value's position in the order of sending, -1 if nobody sent it."""
    at = got.places(places)
    if places.of is None:
        return at
    position = np.full(places.count + 1, -1, dtype=at.dtype)  # of each place; the last one is that of -1
    for some in passes(places.count):
        position[places.of[some]] = np.arange(some.start, some.stop)
    for some in passes(len(at)):
        at[some] = position[at[some]]
    return at


def _or_never(times: Ints, taken: Mask) -> Ints:
    times[~taken] = FOREVER
    return times


def _twice(history: History, enq: Rows, got: Deliveries, at: Rows) -> Violation:
    x = int(np.flatnonzero(np.bincount(at) > 1)[0])
    takers = got.op[at == x]
    summary = f"{shown(int(history.value[enq[x]]))} was delivered {len(takers)} times"
    line = "a message that was sent once can be delivered once"
    return Violation("duplicate", summary, unique_ops(int(enq[x]), *takers[:3].tolist()), [line])


def _phantom(history: History, enqueues: Rows, takers: Rows, values: Ints) -> Violation:
    refused = enqueues[history.outcome[enqueues] == FAIL]
    hit = np.flatnonzero(np.isin(values, history.value[refused]))
    if len(hit):
        value = int(values[hit[0]])
        op = int(refused[history.value[refused] == value][0])
        summary = f"{shown(value)} was delivered although its enqueue was refused"
        return Violation(
            "aborted read", summary, unique_ops(op, int(takers[hit[0]])), ["a refused message is not in the queue"]
        )
    value = int(values[0])
    line = f"no op of the history enqueues {shown(value)}"
    summary = f"{shown(value)} was delivered although nobody sent it"
    return Violation("phantom", summary, [int(takers[0])], [line], needs_all=True)


def _order(history: History, queue: _Queue) -> Violation | None:
    """Values delivered before they were sent, and values overtaken by later ones."""
    early = np.flatnonzero(queue.deq_end < queue.enq_start)
    if len(early):
        x = int(early[0])
        summary = f"{shown(int(history.value[queue.enq[x]]))} was delivered before it was sent"
        return Violation(
            "read from the future", summary, [int(queue.deq[x]), int(queue.enq[x])], ["the delivery came first"]
        )
    soonest = np.full(len(queue.enq) + 1, FOREVER)  # the first delivery of this value or of any sent after it
    np.minimum.accumulate(queue.deq_end[::-1], out=soonest[-2::-1])

    def after(some: Rows | slice) -> Ints:
        """The first value that was sent after each of these was in."""
        return np.searchsorted(queue.enq_start, queue.enq_end[some], side="right")

    bad = np.zeros(len(queue.enq), dtype=np.bool_)
    for some in passes(len(bad)):  # `soonest` never falls: who comes before the next one's need not be looked up
        late = np.flatnonzero(queue.deq_start[some] > soonest[some.start + 1 : some.stop + 1]) + some.start
        bad[late] = queue.deq_start[late] > soonest[after(late)]
    never = np.flatnonzero(bad & (queue.deq < 0))
    if len(never):  # unknown dequeues may have taken them, each one of them, in time
        never = never[np.argsort(soonest[after(never)], kind="stable")]
        need = soonest[after(never)]
        have = queue.unknown_dequeues[: len(need)]
        bad[never] = False
        if len(have) < len(need) or (have > need).any():
            short = np.flatnonzero(have > need[: len(have)])
            bad[never[short[0] if len(short) else len(have)]] = True
    if not bad.any():
        return None
    x = int(np.flatnonzero(bad)[0])
    behind = int(after(slice(x, x + 1))[0])
    y = behind + int(np.argmin(queue.deq_end[behind:]))
    vx, vy = shown(int(history.value[queue.enq[x]])), shown(int(history.value[queue.enq[y]]))
    ops = unique_ops(int(queue.enq[x]), int(queue.enq[y]), int(queue.deq[y]), int(queue.deq[x]))
    line = (
        f"{vx} was in the queue at {seconds(history, int(queue.enq_end[x]))}, before {vy} was sent, "
        f"yet {vy} had been delivered by {seconds(history, int(queue.deq_end[y]))}"
    )
    if queue.deq[x] < 0:
        return Violation("lost", f"{vx} was never delivered, although {vy}, sent after it, was", ops, [line])
    return Violation("reordered", f"{vy} overtook {vx}, which was sent before it", ops, [line])


def _drained(history: History, queue: _Queue, got: Deliveries, at: Rows) -> Violation | None:
    """Values in the wrong order within one drain: each must not have been sent before all earlier ones began."""
    if got.listed is None:
        return None
    bounds = [0, *(np.flatnonzero(got.op[1:] != got.op[:-1]) + 1).tolist(), len(at)]
    for begin, end in pairwise(bounds):
        if end - begin < 2:
            continue
        values = at[begin:end]
        latest = np.maximum.accumulate(queue.enq_start[values])
        bad = np.flatnonzero(history.end[queue.enq[values[1:]]] < latest[:-1])
        if len(bad):
            x = values[bad[0] + 1]
            y = values[np.argmax(queue.enq_start[values[: bad[0] + 1]])]
            names = [shown(int(history.value[queue.enq[v]])) for v in (y, x)]
            ops = unique_ops(int(queue.enq[x]), int(queue.enq[y]), int(got.op[begin]))
            summary = f"{names[0]} overtook {names[1]} within one drain"
            return Violation("reordered", summary, ops, ["the other was sent first"])
    return None


def _empty(history: History, queue: _Queue) -> Violation | None:
    """An empty answer during which, at every instant, some value was surely in the queue."""
    if not len(queue.empties):
        return None
    inside = queue.enq_end < queue.deq_start
    order = np.argsort(queue.enq_end[inside], kind="stable")
    owner = rows_of(inside)[order]
    begin, until = take(queue.enq_end, owner), take(queue.deq_start, owner)
    del order
    reach = np.maximum.accumulate(until) if len(until) else until
    fresh = np.append(True, begin[1:] >= reach[:-1]) if len(begin) else np.zeros(0, dtype=np.bool_)
    first = np.flatnonzero(fresh)  # runs of overlapping open intervals
    run_begin = begin[first]
    run_end = reach[np.append(first[1:], len(begin)) - 1] if len(first) else first
    start, end = history.start[queue.empties], history.end[queue.empties]
    at = np.searchsorted(run_begin, start) - 1
    bad = np.flatnonzero(
        (at >= 0) & (end < np.where(at >= 0, run_end[np.maximum(at, 0)] if len(run_end) else PAST, PAST))
    )
    if not len(bad):
        return None
    op = int(queue.empties[bad[0]])
    held = np.flatnonzero((begin < history.start[op]) & (until > history.start[op]))
    x = int(owner[held[np.argmax(until[held])]]) if len(held) else int(owner[0])
    value = shown(int(history.value[queue.enq[x]]))
    line = f"from {seconds(history, int(queue.enq_end[x]))} on {value} was in the queue, then others, without a break"
    if queue.deq[x] < 0:
        line = f"from {seconds(history, int(queue.enq_end[x]))} on {value} was in the queue, and nobody took it"
    summary = f"the queue said it was empty while {value} was in it"
    return Violation("not empty", summary, unique_ops(int(queue.enq[x]), op, int(queue.deq[x])), [line])
