"""What grow-only sets and lists share: an interval per added value, intruders among what was read, a walk in time.

Walk: everything that must come in a known order of groups is placed as early as it can be, each op at the later of its
own start and the group's beginning. An op that ended before its group can begin is the violation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadyset.checkers.base import Violation, seconds, shown, unique_ops
from steadyset.checkers.places import Places, in_order, passes
from steadyset.history import FAIL, FOREVER, OK, PAST, History
from steadyset.history.columns import Ints, Mask, Rows


@dataclass
class Adds:
    """The values added to one key, by their places: which op added each, and in which interval.

    Several attempts at one value count as one from the first sent to the first acknowledged.
    """

    history: History
    places: Places
    op: Rows  # an attempt that may have taken effect, else any
    maybe: Mask  # some attempt was not refused
    acked: Mask
    attempts: NDArray[np.integer[Any]]  # that were not refused
    order: Rows | None  # places in the order of sending; None: as they are
    repeated: tuple[Ints, Ints] | None = None  # start and end, where there were several attempts at some value

    @classmethod
    def build(cls, history: History, ops: Rows) -> Adds:
        """From the add ops of one key."""
        places = Places.build(history.value, ops)
        of, count = places.of, places.count
        if count < len(ops):
            assert of is not None
            return cls._of_several(history, ops, places, of)
        op = ops
        if of is not None:
            op = np.empty_like(ops)
            op[of] = ops
        outcome = history.outcome[op]
        maybe = outcome != FAIL
        found = cls(history, places, op, maybe, outcome == OK, maybe.view(np.int8), of)
        if not in_order(history.start, ops):
            found.order = np.argsort(found.start(slice(None)), kind="stable")
        return found

    @classmethod
    def _of_several(cls, history: History, ops: Rows, places: Places, of: Rows) -> Adds:
        """The same where some value was added by several ops."""
        count, outcome = places.count, history.outcome[ops]
        maybe, ok = outcome != FAIL, outcome == OK
        start, end = np.full(count, FOREVER), np.full(count, FOREVER)
        np.minimum.at(start, of[maybe], history.start[ops[maybe]])
        np.minimum.at(end, of[ok], history.end[ops[ok]])
        op = np.zeros(count, dtype=ops.dtype)
        for mask in (~maybe, maybe, ok):
            op[of[mask]] = ops[mask]
        attempts = np.bincount(of[maybe], minlength=count)
        order = np.argsort(start, kind="stable")
        return cls(history, places, op, attempts > 0, end < FOREVER, attempts, order, (start, end))

    def __len__(self) -> int:
        return len(self.op)

    def start(self, at: Rows | slice) -> Ints:
        """When the values at these places were first sent, FOREVER if refused."""
        if self.repeated:
            return self.repeated[0][at]
        return np.where(self.maybe[at], self.history.start[self.op[at]], FOREVER)

    def end(self, at: Rows | slice) -> Ints:
        """When they were first acknowledged, FOREVER if never."""
        if self.repeated:
            return self.repeated[1][at]
        return np.where(self.acked[at], self.history.end[self.op[at]], FOREVER)

    def value(self, at: Rows) -> Ints:
        """The values at these places."""
        return self.history.value[self.op[at]]

    def find(self, values: Ints) -> Rows:
        """Place of each value, -1 for one that nobody tried to add."""
        return self.places.find(values)

    def as_sent(self) -> Iterator[Rows]:
        """All places, in the order of sending, in passes."""
        for some in passes(len(self)):
            yield np.arange(some.start, some.stop) if self.order is None else self.order[some].astype(np.intp)

    def intruder(self, read: int, values: Ints, at: Rows) -> Violation | None:
        """A value of a read that nobody tried to add, or whose every add was refused."""
        strange = np.flatnonzero(at < 0)
        refused = np.flatnonzero((at >= 0) & ~self.maybe[at]) if len(self) else strange[:0]
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


@dataclass
class Walk:
    """The walk in time: `now` is the earliest moment at which everything placed so far can have happened."""

    history: History
    now: int = PAST
    last_op: int = -1  # the op whose start made it `now`
    late: tuple[int, int] | None = field(default=None)  # the op that ended too early, and the one that came before it

    def place(self, ops: Rows, start: Ints, end: Ints) -> bool:
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
