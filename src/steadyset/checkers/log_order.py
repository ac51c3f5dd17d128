"""Order in a log: offsets that agree, polls that move on, and each producer's order over first deliveries."""

from __future__ import annotations

from typing import Final

import numpy as np

from steadyset.checkers.adds import Adds
from steadyset.checkers.base import Violation, shown, unique_ops
from steadyset.checkers.deliveries import Deliveries
from steadyset.checkers.places import passes, row_type
from steadyset.checkers.zones import keyed, narrow
from steadyset.history import NIL, History
from steadyset.history.columns import Ints, Mask, Rows

REDELIVERED: Final = "redelivered"


def redelivered(history: History, ops: Rows) -> Mask:
    """Which of the deliveries `ops` the broker flagged as second ones."""
    flagged = np.array([name.endswith(REDELIVERED) for name in history.names["session"]] or [False])
    if not flagged.any():
        return np.zeros(len(ops), dtype=np.bool_)
    return flagged[history.session[ops]]


def offset_violation(history: History, adds: Adds, got: Deliveries, at: Rows) -> Violation | None:
    """Two values at one offset, one value at two offsets, polls that go back or skip what is there."""
    said = np.zeros(0, np.int64)
    if history.result.strides != (0,) or (len(history) and history.result[0] != NIL):  # else no answer has one
        said = np.flatnonzero(adds.acked & (history.result[adds.op] != NIL))
    has = np.flatnonzero(got.offset != NIL)
    offset = np.concatenate([history.result[adds.op[said]], got.offset[has]])
    value = np.concatenate([adds.value(said), got.value(has)])
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


def inversion(history: History, adds: Adds, got: Deliveries, at: Rows, first: Rows) -> Violation | None:
    """First deliveries of one producer's messages in another order than it sent them.

    `first` is `first_of(at)`. Where the first delivery known is flagged as a second one, the true first was lost with
    its consumer: it says nothing.
    """
    again = redelivered(history, got.op)
    if again.any():
        got, at = got.pick(~again), at[~again]
        first = first_of(at, len(adds))
    if not len(at):
        return None
    before_all: Rows = np.zeros(0, dtype=np.int64)
    before_own = before_all
    for sent in adds.as_sent():
        value = sent[(first[sent] >= 0) & (adds.attempts[sent] == 1)]
        bad, before_all = _overtaken(history, adds, got, first, np.concatenate([before_all, value]))
        if bad is None:
            bad, before_own = _consumed(history, adds, got, first, np.concatenate([before_own, value]))
        if bad is not None:
            return _inverted(history, adds, got, first, *bad)
    return None


def first_of(at: Rows, values: int) -> Rows:
    """Each value's first delivery (-1: none); deliveries are in order of their asking."""
    first = np.full(values, -1, dtype=row_type(len(at)))
    for some in reversed([*passes(len(at))]):
        first[at[some][::-1]] = np.arange(some.stop, some.start, -1) - 1
    return first


def _overtaken(
    history: History, adds: Adds, got: Deliveries, first: Rows, value: Rows
) -> tuple[tuple[int, int] | None, Rows]:
    """Across consumers: a delivery that was over before that of an earlier message of its producer began.

    `value` is in order of sending; also returns those of them that later messages are still to be compared with.
    """
    producer = history.process[adds.op[value]]
    order = np.argsort(narrow(producer), kind="stable")
    value, producer = value[order], producer[order]
    op = got.op[first[value]].astype(np.intp)  # NumPy would widen it at each use
    begin, finish = keyed(producer, history.start[op], history.end[op], overwrite=True)
    latest = np.maximum.accumulate(begin)
    bad = np.flatnonzero(finish[1:] < latest[:-1]) + 1
    bad = bad[producer[bad] == producer[bad - 1]]
    if len(bad):
        later = int(bad[0])
        return (int(value[np.searchsorted(latest, latest[later - 1])]), int(value[later])), value
    return None, value[np.searchsorted(latest, latest[_lasts(producer[1:] == producer[:-1], len(value))])]


def _consumed(
    history: History, adds: Adds, got: Deliveries, first: Rows, value: Rows
) -> tuple[tuple[int, int] | None, Rows]:
    """Within one consumer: by the order in which it got them. Parameters and answer as of `_overtaken`."""
    lead = first[value].astype(np.intp)
    consumer, producer = history.process[got.op[lead]], history.process[adds.op[value]]
    group = np.lexsort((narrow(consumer), narrow(producer)))
    value, lead, consumer, producer = value[group], lead[group], consumer[group], producer[group]
    same = (consumer[1:] == consumer[:-1]) & (producer[1:] == producer[:-1])
    bad = np.flatnonzero(same & (lead[1:] < lead[:-1]))
    if len(bad):
        return (int(value[bad[0]]), int(value[bad[0] + 1])), value
    return None, value[_lasts(same, len(value))]


def _lasts(same: Mask, count: int) -> Mask:
    """The last of each run, where `same` says which of `count` continue the run before them."""
    return np.append(~same, True)[:count]


def _inverted(history: History, adds: Adds, got: Deliveries, first: Rows, earlier: int, later: int) -> Violation:
    names = [shown(int(value)) for value in adds.value(np.array([earlier, later]))]
    ops = unique_ops(int(adds.op[earlier]), int(adds.op[later]), int(got.op[first[later]]), int(got.op[first[earlier]]))
    line = f"process {int(history.process[adds.op[earlier]])} sent {names[0]} first"
    return Violation(
        "reordered", f"{names[1]} was delivered before {names[0]}, which its producer sent first", ops, [line]
    )
