"""What the consumers of a queue or a log got: a row per delivered value, whichever kind of op brought it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyset.checkers.places import Places, in_time, parts, passes, row_type, where
from steadyset.history import NIL, History
from steadyset.history.columns import Ints, Mask, Rows


@dataclass
class Deliveries:
    """Every delivered value of one key, in the order of the asking, which is each consumer's own."""

    history: History
    op: Rows
    listed: Ints | None  # the values, where lists of them were delivered; None: each op delivered its own
    offset: Ints  # NIL where the answer has none

    @classmethod
    def build(cls, history: History, ops: Rows) -> Deliveries:
        """From the successful dequeues, drains and polls of one key."""
        ops = in_time(history.start, ops)  # hence by time within each consumer
        dequeue, poll = history.code("f", "dequeue"), history.code("f", "poll")
        wide = where(ops, lambda some: history.f[some] != dequeue)
        if not len(wide):
            full = where(ops, lambda some: history.value[some] != NIL)
            return cls(history, full, None, _no_offset(len(full)))
        room = len(ops) + int(np.maximum(history.list_end[wide] - history.list_start[wide], 0).sum())
        offset = np.full(room, NIL) if (history.f[wide] == poll).any() else _no_offset(room)
        found = cls(history, np.empty(room, dtype=ops.dtype), np.empty(room, dtype=np.int64), offset)
        size = 0
        for some in parts(ops):
            done, f = 0, history.f[some]
            for at in [*np.flatnonzero(f != dequeue).tolist(), len(some)]:
                if done < at:
                    ops_between = some[done:at][history.value[some[done:at]] != NIL]
                    size = found._add(size, ops_between, history.value[ops_between])
                done = at + 1
                if at < len(some):
                    values = history.values(int(some[at]))
                    if f[at] == poll:
                        found.offset[size : size + len(values) // 2] = values[::2][: len(values) // 2]
                        values = values[1::2]
                    size = found._add(size, some[at], values)
        return found.pick(slice(size))

    def _add(self, size: int, op: Rows | np.signedinteger[Any], values: Ints) -> int:
        """Put these behind the first `size`; returns how many there are then."""
        assert self.listed is not None
        end = size + len(values)
        self.op[size:end], self.listed[size:end] = op, values
        return end

    def value(self, at: Rows | slice) -> Ints:
        """The values of these deliveries."""
        return self.history.value[self.op[at]] if self.listed is None else self.listed[at]

    def places(self, sent: Places) -> Rows:
        """Each one's place among what was sent, -1 for one that nobody tried to send."""
        found = np.empty(len(self.op), dtype=row_type(sent.count))
        for some in passes(len(found)):
            found[some] = sent.find(self.value(some))
        return found

    def pick(self, mask: Rows | Mask | slice) -> Deliveries:
        """These deliveries alone."""
        listed = self.listed if self.listed is None else self.listed[mask]
        return Deliveries(self.history, self.op[mask], listed, self.offset[mask])


def _no_offset(count: int) -> Ints:
    """`count` times NIL, in the memory of one."""
    return np.broadcast_to(np.int64(NIL), count)
