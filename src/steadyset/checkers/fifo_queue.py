"""A FIFO queue is linearizable, O(n log n): nothing overtakes, nothing is delivered twice, empty means empty.

With unique values: dequeues deliver what was enqueued, once and not before; x may not be overtaken, that is enqueued
before y began to be and dequeued (or never) after y was; and an empty answer needs an instant at which no value was
surely inside (Bouajjani, Emmi, Enea, Hamza 2015). A dequeue of unknown outcome may have consumed one undelivered value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steadyset.checkers.base import Violation, by_key, conclude, seconds, shown, unique_ops
from steadyset.checkers.bounded import SEARCH_BUDGET_S, Item, State, search_ops
from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, PAST, History
from steadyset.history.columns import Ints
from steadyset.verdict import Judgement


@dataclass
class _Queue:
    """One key's values: who enqueued each, and who dequeued it (-1: nobody known)."""

    values: Ints
    enq: Ints
    deq: Ints
    enq_start: Ints
    enq_end: Ints
    deq_start: Ints  # FOREVER when never dequeued
    deq_end: Ints
    unknown_dequeues: Ints  # their starts, sorted
    empties: Ints


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
        for _, ops in by_key(history, np.flatnonzero(history.is_f("enqueue", "dequeue", "drain"))):
            violation, reason = self._check_key(history, ops, counts)
            violations.append(violation)
            undecided = undecided or reason
        wanted = {"dequeues": self.dequeues_min}
        resolved = {"deliveries": counts["unknown_observed"]}
        return conclude(self, history, violations, counts, wanted, resolved, undecided=undecided)

    def _check_key(self, history: History, ops: Ints, counts: dict[str, int]) -> tuple[Violation | None, str]:
        enqueues = ops[history.is_f("enqueue")[ops]]
        sent = enqueues[history.outcome[enqueues] != FAIL]
        took, value, position = _deliveries(history, ops)
        counts["enqueues"] += len(sent)
        counts["dequeues"] += len(took)
        order = np.argsort(history.value[sent], kind="stable")
        enq, values = sent[order], history.value[sent][order]
        if (values[1:] == values[:-1]).any():
            return self._search(history, ops)
        at = np.searchsorted(values, value)
        known = np.zeros(len(value), dtype=np.bool_)
        if len(values):
            known = values[np.minimum(at, len(values) - 1)] == value
        fallback = None
        if not known.all():
            fallback = _phantom(history, enqueues, took[~known], value[~known])
            if not fallback.needs_all:
                return fallback, ""
            at, took, position = at[known], took[known], position[known]
        deq = np.full(len(values), -1, dtype=np.int64)
        deq[at] = took
        twice = np.flatnonzero(np.bincount(at, minlength=len(values)) > 1)
        if len(twice):
            x = int(twice[0])
            takers = took[at == x]
            summary = f"{shown(int(values[x]))} was delivered {len(takers)} times"
            line = "a message that was sent once can be delivered once"
            return Violation("duplicate", summary, unique_ops(int(enq[x]), *takers[:3].tolist()), [line]), ""
        taken = deq >= 0
        unknown = history.outcome[enq] == INFO
        counts["unknown"] += int(unknown.sum()) + int(
            (history.outcome[ops[~history.is_f("enqueue")[ops]]] == INFO).sum()
        )
        counts["unknown_observed"] += int((unknown & taken).sum())
        kept = taken | ~unknown
        deq_end = np.where(taken, history.end[deq], FOREVER)
        lost_dequeues = ops[history.is_f("dequeue", "drain")[ops] & (history.outcome[ops] == INFO)]
        answers = ops[history.is_f("dequeue")[ops] & (history.outcome[ops] == OK)]
        queue = _Queue(
            values[kept],
            enq[kept],
            deq[kept],
            history.start[enq][kept],
            np.minimum(history.end[enq], deq_end)[kept],
            np.where(taken, history.start[deq], FOREVER)[kept],
            deq_end[kept],
            np.sort(history.start[lost_dequeues]),
            answers[history.value[answers] == NIL],
        )
        drains = lost_dequeues[history.is_f("drain")[lost_dequeues]]
        if len(drains) or (len(queue.empties) and len(lost_dequeues)):
            return self._search(history, ops)
        violation = (
            _order(history, queue) or _drained(history, queue, at, took, position, enq) or _empty(history, queue)
        )
        return violation or fallback, ""

    def _search(self, history: History, ops: Ints) -> tuple[Violation | None, str]:
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


def _deliveries(history: History, ops: Ints) -> tuple[Ints, Ints, Ints]:
    """Every delivered value: its op, the value, its position within a drain (0 for a dequeue)."""
    ok = ops[history.outcome[ops] == OK]
    single = ok[history.is_f("dequeue")[ok] & (history.value[ok] != NIL)]
    drains = ok[history.is_f("drain")[ok]]
    took, value = [single], [history.value[single]]
    position = [np.zeros(len(single), dtype=np.int64)]
    for drain in drains.tolist():
        values = history.values(drain)
        took.append(np.full(len(values), drain))
        value.append(values)
        position.append(np.arange(len(values)))
    return np.concatenate(took), np.concatenate(value), np.concatenate(position)


def _phantom(history: History, enqueues: Ints, takers: Ints, values: Ints) -> Violation:
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
        summary = f"{shown(int(queue.values[x]))} was delivered before it was sent"
        return Violation(
            "read from the future", summary, [int(queue.deq[x]), int(queue.enq[x])], ["the delivery came first"]
        )
    order = np.argsort(queue.enq_start, kind="stable")
    starts = queue.enq_start[order]
    soonest = np.append(np.minimum.accumulate(queue.deq_end[order][::-1])[::-1], FOREVER)
    after = np.searchsorted(starts, queue.enq_end, side="right")
    deadline = soonest[after]  # the first delivery of a value that was sent after x was in
    bad = queue.deq_start > deadline
    never = np.flatnonzero(bad & (queue.deq < 0))
    if len(never):  # unknown dequeues may have taken them, each one of them, in time
        need = np.sort(deadline[never])
        have = queue.unknown_dequeues[: len(need)]
        if len(have) == len(need) and (have <= need).all():
            bad[never] = False
        else:
            short = np.flatnonzero(have > need[: len(have)])
            x = never[np.argsort(deadline[never], kind="stable")[short[0] if len(short) else len(have)]]
            bad[never] = False
            bad[x] = True
    if not bad.any():
        return None
    x = int(np.flatnonzero(bad)[0])
    behind = order[after[x] :]
    y = int(behind[np.argmin(queue.deq_end[behind])])
    vx, vy = shown(int(queue.values[x])), shown(int(queue.values[y]))
    ops = unique_ops(int(queue.enq[x]), int(queue.enq[y]), int(queue.deq[y]), int(queue.deq[x]))
    line = (
        f"{vx} was in the queue at {seconds(history, int(queue.enq_end[x]))}, before {vy} was sent, "
        f"yet {vy} had been delivered by {seconds(history, int(queue.deq_end[y]))}"
    )
    if queue.deq[x] < 0:
        return Violation("lost", f"{vx} was never delivered, although {vy}, sent after it, was", ops, [line])
    return Violation("reordered", f"{vy} overtook {vx}, which was sent before it", ops, [line])


def _drained(history: History, queue: _Queue, at: Ints, took: Ints, position: Ints, enq: Ints) -> Violation | None:
    """Values in the wrong order within one drain: each must not have been sent before all earlier ones began."""
    for drain in np.unique(took[position > 0]).tolist():
        mine = np.flatnonzero(took == drain)
        values = at[mine[np.argsort(position[mine])]]
        latest = np.maximum.accumulate(history.start[enq[values]])
        bad = np.flatnonzero(history.end[enq[values[1:]]] < latest[:-1])
        if len(bad):
            x = int(enq[values[bad[0] + 1]])
            y = int(enq[values[: bad[0] + 1]][np.argmax(history.start[enq[values[: bad[0] + 1]]])])
            summary = f"{shown(int(history.value[y]))} overtook {shown(int(history.value[x]))} within one drain"
            return Violation("reordered", summary, unique_ops(x, y, drain), ["the other was sent first"])
    return None


def _empty(history: History, queue: _Queue) -> Violation | None:
    """An empty answer during which, at every instant, some value was surely in the queue."""
    if not len(queue.empties):
        return None
    inside = queue.enq_end < queue.deq_start
    begin, until, owner = queue.enq_end[inside], queue.deq_start[inside], np.flatnonzero(inside)
    order = np.argsort(begin, kind="stable")
    begin, until, owner = begin[order], until[order], owner[order]
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
    value = shown(int(queue.values[x]))
    line = f"from {seconds(history, int(queue.enq_end[x]))} on {value} was in the queue, then others, without a break"
    if queue.deq[x] < 0:
        line = f"from {seconds(history, int(queue.enq_end[x]))} on {value} was in the queue, and nobody took it"
    summary = f"the queue said it was empty while {value} was in it"
    return Violation("not empty", summary, unique_ops(int(queue.enq[x]), op, int(queue.deq[x])), [line])
