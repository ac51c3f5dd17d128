"""Append-only lists with whole reads: linearizable iff reads are prefixes of the longest, in agreement with time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from steadyset.checkers.adds import Adds
from steadyset.checkers.base import Violation, by_key, conclude, listed, seconds, shown, unique_ops
from steadyset.history import FOREVER, OK, PAST, History
from steadyset.history.columns import Ints
from steadyset.verdict import Judgement


@dataclass(frozen=True)
class LinearizableList:
    """Every whole read of an append-only list holds exactly the values appended before it, in their order.

    Ops are `add` (append) and `read-all`. `reads_min`, `acknowledged_min`: fewer prove nothing (INVALID).
    """

    reads_min: int = 1
    acknowledged_min: int = 1
    rule: ClassVar[str] = "linearizable-list"
    claim: ClassVar[str] = "A read returns all appends acknowledged before it, in one order that everybody agrees on."

    def check(self, history: History) -> Judgement:
        """Judge the appends and whole reads of every key."""
        is_add = history.is_f("add")
        ops = np.flatnonzero(is_add | (history.is_f("read-all") & (history.outcome == OK)))
        counts = {"reads": 0, "values_read": 0, "acknowledged": 0, "unknown": 0, "unknown_observed": 0}
        violations = [
            self._check_key(history, of_key[is_add[of_key]], of_key[~is_add[of_key]], counts)
            for _, of_key in by_key(history, ops)
        ]
        wanted = {"reads": self.reads_min, "acknowledged": self.acknowledged_min}
        return conclude(self, history, violations, counts, wanted, {"whole reads": counts["unknown_observed"]})

    def _check_key(self, history: History, add_ops: Ints, reads: Ints, counts: dict[str, Any]) -> Violation | None:
        adds = Adds.build(history, add_ops)
        counts["reads"] += len(reads)
        counts["acknowledged"] += int(adds.acked.sum())
        sizes = history.list_end[reads] - history.list_start[reads]
        counts["values_read"] += int(sizes.sum())
        longest_read = int(reads[np.argmax(sizes)]) if len(reads) else -1
        longest = history.values(longest_read) if len(reads) else np.zeros(0, dtype=np.int64)
        at = adds.find(longest)
        intruder = adds.intruder(longest_read, longest, at)
        if intruder is not None and not intruder.needs_all:
            return intruder
        for read in reads.tolist():
            values = history.values(read)
            if not np.array_equal(values, longest[: len(values)]):
                return self._not_a_prefix(history, adds, longest_read, read)
        known = at >= 0
        if len(np.unique(longest)) < len(longest):
            values, times = np.unique(longest, return_counts=True)
            many = adds.attempts[np.maximum(adds.find(values), 0)] if len(adds) else np.zeros(len(values))
            doubled = values[times > np.maximum(1, many)]
            twice = values[times > 1]
            if len(doubled):
                summary = f"{listed(doubled)} occurs more often than it was appended"
                return Violation("duplicate", summary, [longest_read], ["an append takes effect once"])
            summary = f"{listed(twice)} was appended several times: values must be unique"
            return Violation("not unique", summary, [longest_read], [], needs_all=True)
        seen = np.zeros(len(adds), dtype=np.bool_)
        seen[at[known]] = True
        counts["unknown"] += int((adds.maybe & ~adds.acked).sum())
        counts["unknown_observed"] += int((adds.maybe & ~adds.acked & seen).sum())
        absent = np.flatnonzero(adds.acked & ~seen)
        # groups in their order: reads of length 0, append 1, reads of length 1, append 2, …, appends nobody read
        group = np.concatenate([2 * sizes, 2 * np.arange(len(longest)) + 1, np.full(len(absent), 2 * len(longest) + 1)])
        pad = np.maximum(at, 0)
        start_of = np.where(known, adds.start(pad), PAST) if len(adds) else np.full(len(at), PAST)
        end_of = np.where(known, adds.end(pad), FOREVER) if len(adds) else np.full(len(at), FOREVER)
        op_of = np.where(known, adds.op[pad], -1) if len(adds) else np.full(len(at), -1)
        start = np.concatenate([history.start[reads], start_of, adds.start(absent)])
        end = np.concatenate([history.end[reads], end_of, adds.end(absent)])
        op = np.concatenate([reads, op_of, adds.op[absent]])
        sections = len(reads), len(reads) + len(longest)
        return _late(history, group, start, end, op, sections, longest_read) or intruder

    @staticmethod
    def _not_a_prefix(history: History, adds: Adds, longest: int, read: int) -> Violation:
        one, other = history.values(longest), history.values(read)
        same = int(np.argmax(one[: len(other)] != other))
        ops = [int(adds.op[i]) for i in adds.find(np.array([one[same], other[same]])).tolist() if i >= 0]
        summary = f"two reads disagree at position {same}: {shown(int(one[same]))} and {shown(int(other[same]))}"
        return Violation(
            "fork", summary, unique_ops(*ops, longest, read), ["no single order of appends explains both reads"]
        )


def _late(
    history: History, group: Ints, start: Ints, end: Ints, op: Ints, sections: tuple[int, int], longest_read: int
) -> Violation | None:
    """An op that ended before an op of an earlier group started. `sections`: where the appends that were read
    begin, and where those nobody read. The longest read shows the order of appends."""
    reads, unread = sections
    order = np.argsort(group, kind="stable")
    latest = np.maximum.accumulate(start[order])
    begin = np.searchsorted(group[order], group[order])  # where each one's group begins
    before = np.where(begin > 0, latest[np.maximum(begin - 1, 0)], PAST)
    bad = np.flatnonzero(end[order] < before)
    if not len(bad):
        return None
    late = int(order[bad[0]])
    earlier = order[: begin[bad[0]]]
    cause = int(earlier[np.argmax(start[earlier])])
    if late < reads and cause >= reads:
        kind, summary = "read from the future", "a value was read before it was appended"
    elif cause < reads and late < unread:
        kind, summary = "stale read", "a read lacks what was acknowledged, or read, before it began"
    elif late < unread:
        kind, summary = "misordered", "an append was over before one began that precedes it in the list"
    else:
        kind, summary = "lost", "an acknowledged append is missing from every later read"
    line = (
        f"in the order that reads show, the op sent at {seconds(history, int(start[cause]))} comes first, "
        f"yet the other had ended at {seconds(history, int(end[late]))}"
    )
    shows = longest_read if late >= reads and cause >= reads else None
    return Violation(kind, summary, unique_ops(int(op[late]), int(op[cause]), shows), [line])
