"""What grow-only sets and lists share: an interval per added value, intruders among what was read, a walk in time.

Walk: everything that must come in a known order of groups is placed as early as it can be, each op at the later of its
own start and the group's beginning. An op that ended before its group can begin is the violation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from steadyset.checkers.base import Violation, seconds, shown, unique_ops
from steadyset.history import FAIL, FOREVER, OK, PAST, History
from steadyset.history.columns import Ints, Mask

_DENSE: Final = 4


@dataclass
class Adds:
    """The values added to one key: sorted `values`, and for each the interval in which it may have been added.

    Several attempts at one value count as one from the first sent to the first acknowledged.
    """

    values: Ints
    start: Ints
    end: Ints  # FOREVER when never acknowledged
    op: Ints  # an attempt that may have taken effect, else any
    maybe: Mask  # some attempt was not refused
    acked: Mask
    attempts: Ints
    table: Ints | None = None  # value - low -> position, when values are dense
    low: int = 0
    gapless: bool = False  # value - low is the position

    @classmethod
    def build(cls, history: History, ops: Ints) -> Adds:
        """From the add ops of one key."""
        value, outcome = history.value[ops], history.outcome[ops]
        rising = len(ops) == 0 or bool((value[1:] > value[:-1]).all())
        values, of = (value, np.arange(len(ops))) if rising else _ranked(value)
        count = len(values)
        maybe_op, ok_op = outcome != FAIL, outcome == OK
        start, end = np.full(count, FOREVER), np.full(count, FOREVER)
        op = np.zeros(count, dtype=np.int64)
        if count == len(ops):  # one attempt at each value
            start[of], end[of], op[of] = history.start[ops], history.end[ops], ops
            if not ok_op.all():
                start[of[~maybe_op]] = FOREVER
                end[of[~ok_op]] = FOREVER
        else:
            np.minimum.at(start, of[maybe_op], history.start[ops[maybe_op]])
            np.minimum.at(end, of[ok_op], history.end[ops[ok_op]])
            for mask in (~maybe_op, maybe_op, ok_op):
                op[of[mask]] = ops[mask]
        attempts = np.bincount(of if maybe_op.all() else of[maybe_op], minlength=count)
        found = cls(values, start, end, op, attempts > 0, end < FOREVER, attempts)
        if count:
            found.low, span = int(values[0]), int(values[-1]) - int(values[0]) + 1
            found.gapless = span == count
            if count < span < _DENSE * count + 1024:
                found.table = np.full(span, -1, dtype=np.int64)
                found.table[values - found.low] = np.arange(count)
        return found

    def find(self, values: Ints) -> Ints:
        """Position of each value, -1 for one that nobody tried to add."""
        if not len(self.values):
            return np.full(len(values), -1, dtype=np.int64)
        if self.gapless:
            cell = values - self.low
            cell[(values < self.low) | (cell >= len(self.values)) | (cell < 0)] = -1
            return cell
        if self.table is not None:
            cell = values - self.low
            inside = (cell >= 0) & (cell < len(self.table)) & (values >= self.low)
            if inside.all():
                return self.table[cell]
            return np.where(inside, self.table[np.where(inside, cell, 0)], -1)
        at = np.minimum(np.searchsorted(self.values, values), len(self.values) - 1)
        return np.where(self.values[at] == values, at, -1)

    def intruder(self, history: History, read: int, values: Ints, at: Ints) -> Violation | None:
        """A value of a read that nobody tried to add, or whose every add was refused."""
        strange = np.flatnonzero(at < 0)
        refused = np.flatnonzero((at >= 0) & ~self.maybe[at]) if len(self.values) else strange[:0]
        if len(refused):
            i = int(refused[0])
            value = shown(int(values[i]))
            return Violation(
                "aborted read",
                f"{value} was read although its add was refused",
                unique_ops(int(self.op[at[i]]), read),
                [f"a refused add never takes effect, yet {value} was there"],
            )
        if len(strange):
            value = shown(int(values[strange[0]]))
            line = f"no op of the history adds {value}"
            return Violation("phantom", f"{value} was read although nobody added it", [read], [line], needs_all=True)
        return None


def _ranked(value: Ints) -> tuple[Ints, Ints]:
    """The values that occur, sorted, and each one's place among them; O(n) when they are dense."""
    low, high = int(value.min()), int(value.max())
    if high - low >= _DENSE * len(value) + 1024:
        values, of = np.unique(value, return_inverse=True)
        return values, of
    cell = value - low
    there = np.zeros(high - low + 1, dtype=np.bool_)
    there[cell] = True
    if there.all():
        return np.arange(low, high + 1), cell
    return np.flatnonzero(there) + low, (np.cumsum(there) - 1)[cell]


@dataclass
class Walk:
    """The walk in time: `now` is the earliest moment at which everything placed so far can have happened."""

    history: History
    now: int = PAST
    last_op: int = -1  # the op whose start made it `now`
    late: tuple[int, int] | None = field(default=None)  # the op that ended too early, and the one that came before it

    def place(self, ops: Ints, start: Ints, end: Ints) -> bool:
        """Place a group whose order is free; False when one of them ended before it could begin."""
        if not len(ops):
            return True
        early = np.flatnonzero(end < self.now)
        if len(early):
            self.late = int(ops[early[0]]), self.last_op
            return False
        latest = int(np.argmax(start))
        if start[latest] > self.now:
            self.now, self.last_op = int(start[latest]), int(ops[latest])
        return True

    def violation(self, kind: str, why: str) -> Violation:
        """The violation found by `place`."""
        assert self.late is not None
        op, before = self.late
        history = self.history
        line = (
            f"what was read puts the op sent at {seconds(history, int(history.start[before]))} first, "
            f"yet the other had ended at {seconds(history, int(history.end[op]))}"
        )
        return Violation(kind, why, unique_ops(op, before), [line])
