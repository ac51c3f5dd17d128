"""What grow-only sets and lists share: an interval per added value, intruders among what was read, a walk in time.

Walk: everything that must come in a known order of groups is placed as early as it can be, each op at the later of its
own start and the group's beginning. An op that ended before its group can begin is the violation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from steadyset.checkers.base import Violation, seconds, shown, unique_ops
from steadyset.history import FAIL, FOREVER, OK, PAST, History
from steadyset.history.columns import Codes, Ints, Mask

_DENSE: Final = 4
_PASS: Final = 1 << 18


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
    attempts: NDArray[np.integer[Any]]
    sent: Ints  # positions in the order of sending
    table: Codes | None = None  # value - low -> position, when values are dense
    low: int = 0
    gapless: bool = False  # value - low is the position

    @classmethod
    def build(cls, history: History, ops: Ints) -> Adds:
        """From the add ops of one key."""
        value = history.value[ops]
        if _rises(value):  # each value once, in the order of sending
            values, of = value, np.arange(len(ops))
            table = None if not len(ops) or int(value[-1]) - int(value[0]) < len(ops) else _ranks(value)
        else:
            values, of, table = _ranked(value)
        count = len(values)
        if count == len(ops):  # one attempt at each value
            op = ops
            if values is not value:
                op = np.empty(count, dtype=np.int64)
                op[of] = ops
            start, end, outcome = history.start[op], history.end[op], history.outcome[op]
            start[outcome == FAIL] = FOREVER
            end[outcome != OK] = FOREVER
            attempts: NDArray[np.integer[Any]] = (outcome != FAIL).view(np.int8)
        else:
            outcome = history.outcome[ops]
            maybe_op, ok_op = outcome != FAIL, outcome == OK
            start, end = np.full(count, FOREVER), np.full(count, FOREVER)
            op = np.zeros(count, dtype=np.int64)
            np.minimum.at(start, of[maybe_op], history.start[ops[maybe_op]])
            np.minimum.at(end, of[ok_op], history.end[ops[ok_op]])
            for mask in (~maybe_op, maybe_op, ok_op):
                op[of[mask]] = ops[mask]
            attempts = np.bincount(of[maybe_op], minlength=count)
        sent = of if count == len(ops) and in_order(history.start, ops) else np.argsort(start, kind="stable")
        found = cls(values, start, end, op, attempts > 0, end < FOREVER, attempts, sent, table)
        if count:
            found.low = int(values[0])
            found.gapless = int(values[-1]) - found.low + 1 == count
        return found

    def find(self, values: Ints) -> Ints:
        """Position of each value, -1 for one that nobody tried to add."""
        if not len(self.values):
            return np.full(len(values), -1, dtype=np.int64)
        if self.gapless or self.table is not None:
            found = np.empty(len(values), dtype=np.int64)
            for some in passes(len(values)):
                found[some] = self._find_dense(values[some])
            return found
        at = np.minimum(np.searchsorted(self.values, values), len(self.values) - 1)
        return np.where(self.values[at] == values, at, -1)

    def _find_dense(self, values: Ints) -> Ints | Codes:
        count = len(self.values) if self.table is None else len(self.table)
        cell = values - self.low
        outside = (values < self.low) | (cell >= count) | (cell < 0)
        if not outside.any():
            return cell if self.table is None else self.table[cell]
        cell[outside] = 0
        if self.table is not None:
            cell = self.table[cell].astype(np.int64)
        cell[outside] = -1
        return cell

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


def _rises(value: Ints) -> bool:
    """`in_order` without equals, of all rows: no row numbers are needed."""
    return all(
        bool((some[1:] > some[:-1]).all())
        for some in (value[rows.start : rows.stop + 1] for rows in passes(len(value)))
    )


def _ranks(value: Ints) -> Codes | None:
    """For each number from the lowest value to the highest its place among the values, if they are dense: O(n)."""
    low, high = int(value.min()), int(value.max())
    if high - low >= min(_DENSE * len(value) + 1024, 2**31):
        return None
    there = np.zeros(high - low + 1, dtype=np.bool_)
    for some in passes(len(value)):
        there[value[some] - low] = True
    table = np.cumsum(there, dtype=np.int32)
    table -= np.int32(1)
    table[~there] = -1
    return table


def _ranked(value: Ints) -> tuple[Ints, Ints, Codes | None]:
    """The values that occur, sorted, each one's place among them, and a table of places when they are dense."""
    table = _ranks(value)
    if table is None:
        values, of = np.unique(value, return_inverse=True)
        return values, of, None
    low = int(value.min())
    values = np.flatnonzero(table >= 0)
    values += low
    of = np.empty(len(value), dtype=np.int64)
    for some in passes(len(value)):
        of[some] = table[value[some] - low]
    return values, of, None if len(values) == len(table) else table


def passes(count: int) -> Iterator[slice]:
    """`count` rows in passes: what one of them needs fits into the cache."""
    return (slice(begin, min(begin + _PASS, count)) for begin in range(0, count, _PASS))


def in_order(column: Ints, index: Ints) -> bool:
    """Whether the column does not fall along these rows."""
    return all(
        bool((some[1:] >= some[:-1]).all())
        for some in (column[index[rows.start : rows.stop + 1]] for rows in passes(len(index)))
    )


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

    def violation(self, kind: str, why: str, read: int) -> Violation:
        """The violation found by `place`, in the order that `read` shows."""
        assert self.late is not None
        op, before = self.late
        history = self.history
        line = (
            f"what was read puts the op sent at {seconds(history, int(history.start[before]))} first, "
            f"yet the other had ended at {seconds(history, int(history.end[op]))}"
        )
        return Violation(kind, why, unique_ops(op, before, read), [line])
