"""A counter is linearizable: increments and reads agree with one order of unit steps.

Increments that return their value are put in the order of what they returned; gaps are filled with increments of
unknown outcome, earliest first, and the order is walked in time as for a list. Increments that return nothing
are interchangeable: they are taken as late as possible, those that end soonest first, which keeps the counter as low as
it can be at every moment; it is wrong exactly when a read sees less than that, or more than was ever begun.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from steadyset.checkers.base import Violation, by_key, conclude, seconds, unique_ops
from steadyset.checkers.bounded import SEARCH_BUDGET_S, Item, State, search_ops
from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, PAST, History
from steadyset.history.columns import Ints
from steadyset.verdict import Judgement

_SHOWN: Final = 8  # increments that a witness names


@dataclass(frozen=True)
class Counter:
    """`inc` (by `value`, returning the new value where it is known) and `read` behave as on one counter.

    `initial`: the value before the first op. `ops_min`: fewer definite ops prove nothing. `reads_min`: fewer
    reads or returned values prove nothing. Steps that are not all alike go to a search bounded by `search_budget_s`.
    """

    ops_min: int = 1
    reads_min: int = 1
    initial: int = 0
    search_budget_s: float = SEARCH_BUDGET_S
    rule: ClassVar[str] = "counter"
    claim: ClassVar[str] = "The counter shows every acknowledged increment once, and no other."

    def check(self, history: History) -> Judgement:
        """Judge every key's increments and reads."""
        counts = {"definite": 0, "increments": 0, "reads": 0, "unknown": 0, "unknown_observed": 0}
        violations, undecided = [], ""
        for _, ops in by_key(history, np.flatnonzero(history.is_f("inc", "read"))):
            violation, reason = self._check_key(history, ops, counts)
            violations.append(violation)
            undecided = undecided or reason
        wanted = {"definite": self.ops_min, "reads": self.reads_min}
        resolved = {"values that need them": counts["unknown_observed"]}
        return conclude(self, history, violations, counts, wanted, resolved, undecided=undecided)

    def _check_key(self, history: History, ops: Ints, counts: dict[str, int]) -> tuple[Violation | None, str]:
        is_inc = history.is_f("inc")
        incs = ops[is_inc[ops] & (history.outcome[ops] != FAIL)]
        reads = ops[~is_inc[ops] & (history.outcome[ops] == OK)]
        unknown = history.outcome[incs] == INFO
        returned = ~unknown & (history.result[incs] != NIL)
        counts["definite"] += len(reads) + int((~unknown).sum())
        counts["increments"] += len(incs)
        counts["reads"] += len(reads) + int(returned.sum())
        counts["unknown"] += int(unknown.sum())
        steps = np.unique(history.value[incs])
        step = int(steps[0]) if len(steps) else 1
        if len(steps) > 1 or step == 0 or (returned.any() and not returned[~unknown].all()):
            return self._search(history, incs, reads)
        seen = np.concatenate([history.value[reads], history.result[incs[returned]]]) - self.initial
        seers = np.concatenate([reads, incs[returned]])
        odd = np.flatnonzero((seen % step != 0) | (seen // step < 0))
        if len(odd):
            value = int(seen[odd[0]]) + self.initial
            summary = f"the counter was {value}, which no number of steps of {step} from {self.initial} gives"
            return Violation("phantom", summary, [int(seers[odd[0]])], []), ""
        rank = seen // step
        needed = int(rank.max(initial=0)) - int((~unknown).sum())  # so many more than were acknowledged took effect
        counts["unknown_observed"] += min(max(0, needed), int(unknown.sum()))
        if returned.any():
            return _by_result(history, incs, unknown, reads, rank), ""
        return _lazily(history, incs, reads, rank), ""

    def _search(self, history: History, incs: Ints, reads: Ints) -> tuple[Violation | None, str]:
        items = [
            Item(i, int(history.start[i]), int(history.end[i]), "inc", int(history.value[i]), int(history.result[i]))
            for i in incs.tolist()
        ]
        items += [
            Item(i, int(history.start[i]), int(history.end[i]), "read", int(history.value[i])) for i in reads.tolist()
        ]
        return search_ops(history, items, counter_step, self.initial, self.search_budget_s)


def counter_step(state: State, item: Item) -> State | None:
    """inc(a), returning b unless that is NIL; read(a)."""
    assert isinstance(state, int) and isinstance(item.a, int)
    if item.kind == "read":
        return state if state == item.a else None
    after = state + item.a
    return after if item.b in (NIL, after) else None


def _by_result(history: History, incs: Ints, unknown: Ints, reads: Ints, rank: Ints) -> Violation | None:
    """Increments in the order of what they returned."""
    definite = incs[~unknown]
    result = rank[len(reads) :]
    zero = np.flatnonzero(result == 0)
    if len(zero):
        return Violation("lost update", "an increment returned the initial value", [int(definite[zero[0]])], [])
    top = int(rank.max())
    holder = np.full(top + 1, -1, dtype=np.int64)
    holder[result] = definite
    twice = np.flatnonzero(holder[result] != definite)
    if len(twice):
        one, other = int(definite[twice[0]]), int(holder[result[twice[0]]])
        summary = f"two increments both returned {int(history.result[one])}: one update was lost"
        return Violation("lost update", summary, [one, other], ["each increment makes a value of its own"])
    gaps = np.flatnonzero(holder[1:] < 0) + 1
    maybe = incs[unknown]
    fillers = maybe[np.argsort(history.start[maybe], kind="stable")][: len(gaps)]
    if len(fillers) < len(gaps):
        seers = np.concatenate([reads, definite])
        witness = int(seers[np.argmax(rank)])
        summary = (
            f"{len(gaps)} values up to {top} were made by nobody: only {len(maybe)} increments are of unknown outcome"
        )
        return Violation(
            "phantom", summary, [witness], ["a value was reached without an increment for each step"], True
        )
    holder[gaps] = fillers
    placed = holder[1:]
    group = np.concatenate([2 * rank[: len(reads)], 2 * np.arange(1, top + 1) - 1])
    op = np.concatenate([reads, placed])
    start, end = history.start[op], history.end[op]
    order = np.argsort(group, kind="stable")
    latest = np.maximum.accumulate(start[order])
    begin = np.searchsorted(group[order], group[order])
    before = np.where(begin > 0, latest[np.maximum(begin - 1, 0)], PAST)
    bad = np.flatnonzero(end[order] < before)
    if not len(bad):
        return None
    late, earlier = int(order[bad[0]]), order[: begin[bad[0]]]
    cause = int(earlier[np.argmax(start[earlier])])
    line = f"the larger value was there by {seconds(history, int(end[late]))}, before the smaller one's op was sent"
    summary = "the counter went backwards: a larger value was seen before a smaller one"
    return Violation("stale read", summary, unique_ops(int(op[late]), int(op[cause])), [line])


def _lazily(history: History, incs: Ints, reads: Ints, rank: Ints) -> Violation | None:
    """Interchangeable increments, each taken as late as possible, those that end soonest first."""
    start, end = history.start, history.end
    ok = incs[end[incs] < FOREVER]
    times = np.concatenate([start[incs], start[reads], end[ok], end[reads]])
    phase = np.repeat([0, 0, 1, 1], [len(incs), len(reads), len(ok), len(reads)])
    kind = np.repeat([0, 1, 2, 3], [len(incs), len(reads), len(ok), len(reads)])
    subject = np.concatenate([incs, np.arange(len(reads)), ok, np.arange(len(reads))])
    order = np.lexsort((phase, times))
    released: list[tuple[int, int]] = []
    taken: set[int] = set()
    waiting: dict[int, list[int]] = {}
    satisfied = np.zeros(len(reads), dtype=np.bool_)
    count, last = 0, -1  # increments, and the last of them
    forced = -1  # the last read that can only be right if one took effect

    def take(op: int) -> None:
        nonlocal count, last
        count, last = count + 1, op
        taken.add(op)
        for read in waiting.pop(count, ()):
            satisfied[read] = True

    for what, who in zip(kind[order].tolist(), subject[order].tolist(), strict=True):
        if what == 0:
            heapq.heappush(released, (int(end[who]), who))
        elif what == 2:
            if who not in taken:
                take(who)
        elif what == 1:
            if rank[who] < count:
                op = int(reads[who])
                line = f"by {seconds(history, int(start[op]))} at least {count} increments had taken effect"
                summary = f"a read saw {int(rank[who])} increments, although {count} had taken effect before it"
                some = sorted(taken) if count <= _SHOWN else [last]
                return Violation("stale read", summary, unique_ops(*some, forced, op), [line])
            if rank[who] == count:
                satisfied[who] = True
            else:
                waiting.setdefault(int(rank[who]), []).append(who)
        elif not satisfied[who]:
            while count < rank[who] and released:
                _, op = heapq.heappop(released)
                if op not in taken:
                    take(op)
                    forced = int(reads[who])
            if count < rank[who]:
                op = int(reads[who])
                line = f"only {count} increments had begun by {seconds(history, int(end[op]))}"
                summary = f"a read saw {int(rank[who])} increments, more than had begun"
                return Violation("phantom", summary, [op], [line], needs_all=True)
    return None
