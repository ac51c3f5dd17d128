"""Order in a log: offsets that agree, polls that move on, and each producer's order over first deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from steadyset.checkers.adds import Adds
from steadyset.checkers.base import Violation, shown, unique_ops
from steadyset.checkers.zones import keyed, narrow
from steadyset.history import NIL, History
from steadyset.history.columns import Ints, Mask

REDELIVERED: Final = "redelivered"

if TYPE_CHECKING:
    from steadyset.checkers.log import Deliveries


def redelivered(history: History, ops: Ints) -> Mask:
    """Which of the deliveries `ops` the broker flagged as second ones."""
    flagged = np.array([name.endswith(REDELIVERED) for name in history.names["session"]] or [False])
    return flagged[history.session[ops]]


def offset_violation(history: History, adds: Adds, got: Deliveries, at: Ints) -> Violation | None:
    """Two values at one offset, one value at two offsets, polls that go back or skip what is there."""
    said = np.flatnonzero(adds.acked & (history.result[adds.op] != NIL)) if len(adds.values) else np.zeros(0, np.int64)
    has = np.flatnonzero(got.offset != NIL)
    offset = np.concatenate([history.result[adds.op[said]], got.offset[has]])
    value = np.concatenate([adds.values[said], got.value[has]])
    source = np.concatenate([adds.op[said], got.op[has]])
    if not len(offset):
        return None
    order = np.lexsort((value, offset))
    split = np.flatnonzero((offset[order][1:] == offset[order][:-1]) & (value[order][1:] != value[order][:-1]))
    if len(split):
        one, other = order[split[0]], order[split[0] + 1]
        summary = f"offset {int(offset[one])} holds both {shown(int(value[one]))} and {shown(int(value[other]))}"
        line = "a log holds one message at each offset: its replicas diverged"
        return Violation("divergence", summary, unique_ops(int(source[one]), int(source[other])), [line])
    order = np.lexsort((offset, value))
    twice = np.flatnonzero((value[order][1:] == value[order][:-1]) & (offset[order][1:] != offset[order][:-1]))
    for n in twice.tolist():
        one, other = order[n], order[n + 1]
        if adds.attempts[adds.find(value[order[n : n + 1]])[0]] <= 1:
            summary = f"{shown(int(value[one]))} is at offset {int(offset[one])} and at {int(offset[other])}"
            line = "it was sent once"
            return Violation("duplicate", summary, unique_ops(int(source[one]), int(source[other])), [line])
    return _polls(history, got, has, np.unique(offset))


def _polls(history: History, got: Deliveries, has: Ints, known: Ints) -> Violation | None:
    """Per consumer and session, offsets rise and leave out nothing that is known to be there."""
    op = got.op[has]
    rank = np.searchsorted(known, got.offset[has])
    order = np.lexsort((history.session[op], history.process[op]))
    process, session = history.process[op][order], history.session[op][order]
    same = (process[1:] == process[:-1]) & (session[1:] == session[:-1])
    step = np.diff(rank[order])
    for bad, kind in (
        (np.flatnonzero(same & (step <= 0)), "poll went back"),
        (np.flatnonzero(same & (step > 1)), "skipped"),
    ):
        if len(bad):
            one, other = has[order[bad[0]]], has[order[bad[0] + 1]]
            before, after = int(got.offset[one]), int(got.offset[other])
            summary = f"a consumer got offset {after} right after {before}"
            line = "offsets of one session must rise"
            if kind == "skipped":
                line = f"offset {int(known[rank[order[bad[0]]] + 1])} was there and was left out"
            return Violation(kind, summary, unique_ops(int(got.op[one]), int(got.op[other])), [line])
    return None


def inversion(history: History, adds: Adds, got: Deliveries, at: Ints) -> Violation | None:
    """First deliveries of one producer's messages in another order than it sent them.

    Where the first one known is flagged as a second one, the true first was lost with its consumer: it says nothing.
    """
    again = redelivered(history, got.op)
    if again.any():
        got, at = got.pick(~again), at[~again]
    if not len(at):
        return None
    start, end = history.start[got.op], history.end[got.op]
    lead = np.arange(len(at))  # the first delivery of each value
    if np.bincount(at).max() > 1:
        order = np.lexsort((start, at))
        lead = order[np.append(True, at[order][1:] != at[order][:-1])]
    value = at[lead]
    single = adds.attempts[value] == 1
    lead, value = lead[single], value[single]
    producer = history.process[adds.op[value]]
    sent = np.lexsort((adds.start[value], narrow(producer)))
    lead, value, producer = lead[sent], value[sent], producer[sent]
    # across consumers: a delivery that was over before that of an earlier message began
    begin, finish = keyed(producer, start[lead], end[lead], overwrite=True)
    latest = np.maximum.accumulate(begin)
    bad = np.flatnonzero(finish[1:] < latest[:-1]) + 1
    bad = bad[producer[bad] == producer[bad - 1]]
    if len(bad):
        later = int(bad[0])
        mine = np.flatnonzero(producer[:later] == producer[later])
        return _inverted(history, adds, got, lead, value, int(mine[np.argmax(begin[mine])]), later)
    # within one consumer: by the order in which it got them
    consumer = history.process[got.op[lead]]
    group = np.lexsort((narrow(consumer), narrow(producer)))
    same = (consumer[group][1:] == consumer[group][:-1]) & (producer[group][1:] == producer[group][:-1])
    bad = np.flatnonzero(same & (np.diff(lead[group]) < 0))
    if len(bad):
        return _inverted(history, adds, got, lead, value, int(group[bad[0]]), int(group[bad[0] + 1]))
    return None


def _inverted(
    history: History, adds: Adds, got: Deliveries, lead: Ints, value: Ints, earlier: int, later: int
) -> Violation:
    first, second = value[earlier], value[later]
    names = shown(int(adds.values[first])), shown(int(adds.values[second]))
    ops = unique_ops(int(adds.op[first]), int(adds.op[second]), int(got.op[lead[later]]), int(got.op[lead[earlier]]))
    line = f"process {int(history.process[adds.op[first]])} sent {names[0]} first"
    return Violation(
        "reordered", f"{names[1]} was delivered before {names[0]}, which its producer sent first", ops, [line]
    )
