"""Linearizability of registers whose written values are unique: zones and blocks, O(n log n), exact.

Every value has one zone [f, s]: f the earliest end, s the latest start of its write and its reads. f < s is a
*forward* zone (the register surely held the value from f to s), otherwise a *backward* one (one instant in [s, f]
may do). A history is linearizable iff no two forward zones overlap and no backward zone lies inside a forward one,
strictly (Gibbons and Korach 1997). A compare-and-set glues its value to its predecessor's, so that chains of
them form blocks; a block's order is forced, must be possible, and the block is zone-tested as a whole.

Values that are not unique, and refused compare-and-sets that do not say what they found, go to the bounded search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steadyset.checkers.base import Violation, judgement, seconds, shown, unique_ops, unknowns
from steadyset.checkers.bounded import SEARCH_BUDGET_S
from steadyset.checkers.register_index import RegisterIndex, bounds
from steadyset.checkers.register_search import search_registers
from steadyset.checkers.zones import Blocks, chain, keyed, misordered, zone_conflict
from steadyset.history import FAIL, FOREVER, INFO, NIL, PAST, History
from steadyset.history.columns import Ints
from steadyset.verdict import Judgement, Verdict


@dataclass(frozen=True)
class LinearizableRegister:
    """Reads, writes and compare-and-sets of each key behave as on one register.

    `initial` is every key's value before the first write (None: nil). `ops_min`: fewer definite ops prove nothing.
    `search_budget_s` bounds the search for histories whose values are not unique.
    """

    ops_min: int = 1
    initial: int | None = None
    search_budget_s: float = SEARCH_BUDGET_S
    rule: ClassVar[str] = "linearizable-register"
    claim: ClassVar[str] = (
        "Every read returns the latest write: each operation takes effect at one instant between call and reply."
    )

    def check(self, history: History) -> Judgement:
        """Judge every key's reads, writes and compare-and-sets."""
        initial = NIL if self.initial is None else self.initial
        index = RegisterIndex.build(history, initial)
        known = history.is_f("read", "write", "cas")
        definite = int((known & (history.outcome != INFO)).sum())
        keys = int(np.count_nonzero(np.bincount(history.key[known])))
        observed: dict[str, float] = {
            "definite": definite,
            "writes": len(index.writers),
            "reads": len(index.reads),
            "unknown": index.unknown,
            "keys": keys,
        }
        by_read = index.unknown_read if index.duplicate < 0 else 0  # values that are not unique tell nothing
        by_cas = index.unknown_observed - by_read if index.duplicate < 0 else 0
        data = unknowns(index.unknown, {"reads": by_read, "compare-and-sets from them": by_cas})
        unknown_reason = ""
        violation: Violation | None
        if index.duplicate >= 0:
            data["method"] = "bounded search"
            violation, unknown_reason = search_registers(history, initial, self.search_budget_s)
        else:
            data["method"] = "zones"
            violation = self._check_unique(history, index)
            if violation is None and len(index.refused):
                data["method"] = "zones, then bounded search for refused compare-and-sets"
                violation, unknown_reason = search_registers(history, initial, self.search_budget_s)
        if violation is not None and violation.needs_all and not history.complete:
            unknown_reason = f"{violation.summary}: its write may merely be unrecorded"
        elif violation is not None:
            data["kind"] = violation.kind
            return judgement(
                self,
                Verdict.FAIL,
                violation.summary,
                history=history,
                ops=_with_observers(history, index, violation.ops) if index.duplicate < 0 else violation.ops,
                lines=violation.lines,
                observed=observed,
                data=data,
            )
        if unknown_reason:
            return judgement(self, Verdict.INVALID, unknown_reason, history=history, observed=observed, data=data)
        if definite < max(1, self.ops_min):
            summary = f"only {definite} ops with a known outcome, {max(1, self.ops_min)} needed"
            return judgement(self, Verdict.INVALID, summary, history=history, observed=observed, data=data)
        summary = (
            f"{definite} ops on {keys} keys are linearizable; of {index.unknown} unknown writes "
            f"{index.unknown_observed} were observed"
        )
        return judgement(self, Verdict.PASS, summary, history=history, observed=observed, data=data)

    def _check_unique(self, history: History, index: RegisterIndex) -> Violation | None:
        """The first violation among unique values; one that rests on unrecorded events only when there is no other."""
        unwritten = _unwritten(history, index)
        if unwritten is not None and not unwritten.needs_all:
            return unwritten
        if unwritten is not None:  # judge the rest without those observations
            known_read, known_cas = index.read_of >= 0, index.pred >= 0
            index.reads, index.read_of = index.reads[known_read], index.read_of[known_read]
            index.cas, index.pred = index.cas[known_cas], index.pred[known_cas]
        found = _ordered(history, index)
        return found if found is not None else unwritten


def _with_observers(history: History, index: RegisterIndex, ops: list[int]) -> list[int]:
    """The ops, and for each write of unknown outcome those that show that it took effect."""
    found = list(ops)
    for op in ops:
        value = int(np.searchsorted(index.writers, op))
        passed: set[int] = set()
        while history.outcome[op] == INFO and value not in passed:
            passed.add(value)
            readers = index.reads[index.read_of == value]
            followers = index.cas[index.pred == value]
            sure = np.concatenate(
                [readers, index.writers[followers[history.outcome[index.writers[followers]] != INFO]]]
            )
            if len(sure):
                if not np.isin(sure, found).any():
                    found.append(int(sure[np.argmin(history.end[sure])]))
                break
            if not len(followers):
                break
            value = int(followers[0])
            found.append(int(index.writers[value]))
    return unique_ops(*found)


def _unwritten(history: History, index: RegisterIndex) -> Violation | None:
    """A read of a value nobody wrote, or whose write was refused."""
    readers = np.concatenate([index.reads[index.read_of < 0], index.writers[index.cas[index.pred < 0]]])
    if not len(readers):
        return None
    refused = np.flatnonzero((history.is_f("write") | history.is_f("cas")) & (history.outcome == FAIL))
    refused_value = np.where(history.is_f("cas")[refused], history.value2[refused], history.value[refused])
    told = history.outcome[readers] == FAIL
    values = np.where(told, history.result[readers], history.value[readers])
    for at in np.flatnonzero(np.isin(values, refused_value)).tolist():
        reader, value = int(readers[at]), int(values[at])
        writes = refused[(refused_value == value) & (history.key[refused] == history.key[reader])]
        if len(writes):
            return Violation(
                "aborted read",
                f"{shown(value)} was read although its write was refused",
                unique_ops(int(writes[0]), reader),
                [f"a refused write never takes effect, yet {shown(value)} was there"],
            )
    read = shown(int(values[0]))
    return Violation(
        "phantom",
        f"{read} was read although nobody wrote it",
        [int(readers[0])],
        [f"no op of the history writes {read}"],
        needs_all=True,
    )


def _ordered(history: History, index: RegisterIndex) -> Violation | None:
    """Reads before their writes, forks, cycles, misordered blocks and zones that contradict each other."""
    wrote_from, wrote_to, read_end, read_start = bounds(history, index)
    early = np.flatnonzero(read_end < wrote_from)
    if len(early):
        value = int(early[0])
        reads = index.reads[index.read_of == value]
        reader, writer = int(reads[np.argmin(history.end[reads])]), int(index.writers[value])
        line = (
            f"the read ended at {seconds(history, int(history.end[reader]))}, before the write was sent at "
            f"{seconds(history, int(history.start[writer]))}"
        )
        summary = f"{shown(int(index.written[value]))} was read before it was written"
        return Violation("read from the future", summary, [reader, writer], [line])
    fork = _fork(history, index)
    if fork is not None:
        return fork
    blocks = Blocks.single(index.values)
    if len(index.cas):
        blocks = chain(index.values, index.cas, index.pred)
        if blocks.cycle >= 0:
            return _cycle(history, index, blocks.cycle)
        bad = misordered(blocks, wrote_from, wrote_to, read_end, read_start)
        if bad is not None:
            return _misordered(history, index, *bad)
    size, writers = index.values, len(index.writers)
    first_end, last_start = np.minimum(wrote_to, read_end), np.maximum(wrote_from, read_start)
    if len(index.cas):
        block_end, block_start = np.full(size, FOREVER), np.full(size, PAST)
        np.minimum.at(block_end, blocks.root, np.where(index.effective, first_end, FOREVER))
        np.maximum.at(block_start, blocks.root, np.where(index.effective, last_start, PAST))
    else:
        block_end, block_start = first_end, last_start
    used = index.effective & (blocks.root == np.arange(size))
    used[writers:] &= block_start[writers:] > PAST  # an initial value nobody observed constrains nothing
    roots = np.flatnonzero(used)
    if index.keys > 1:
        key = np.concatenate([history.key[index.writers], np.arange(index.keys, dtype=np.int32)])[roots]
        ends, starts = keyed(key, block_end[roots], block_start[roots])
    else:
        ends, starts = block_end[roots], block_start[roots]
    conflict = zone_conflict(ends, starts)
    if conflict is None:
        return None
    return _zones(history, index, blocks, int(roots[conflict[0]]), int(roots[conflict[1]]), conflict[2])


def _fork(history: History, index: RegisterIndex) -> Violation | None:
    """Two compare-and-sets that both replaced one value."""
    succ = np.full(index.values, -1, dtype=np.int64)
    succ[index.pred] = index.cas
    twice = np.flatnonzero(succ[index.pred] != index.cas)
    if not len(twice):
        return None
    at = int(index.pred[twice[0]])
    one, other = int(index.writers[index.cas[twice[0]]]), int(index.writers[succ[at]])
    writer = int(index.writers[at]) if at < len(index.writers) else None
    value = shown(int(history.value[one]))
    return Violation(
        "fork",
        f"two compare-and-sets both replaced {value}: the register forked (split brain)",
        unique_ops(writer, one, other),
        [f"{value} was there once, so that only one compare-and-set can have replaced it"],
    )


def _cycle(history: History, index: RegisterIndex, at: int) -> Violation:
    pred = dict(zip(index.cas.tolist(), index.pred.tolist(), strict=True))
    ops, value = [], at
    while value not in ops:
        ops.append(value)
        value = pred[value]
    found = [int(index.writers[v]) for v in ops[ops.index(value) :]]
    return Violation(
        "cycle",
        f"{len(found)} compare-and-sets each replaced the value of another, in a circle",
        found[:8],
        ["none of them can have been the first"],
    )


def _misordered(history: History, index: RegisterIndex, later: int, later_read: bool, earlier: int) -> Violation:
    """An op of value `later` ended before an op of value `earlier`, which it follows in its chain, began."""

    def op_of(value: int, read: bool, latest_start: bool) -> int:
        if not read:
            return int(index.writers[value])
        reads = index.reads[index.read_of == value]
        return int(reads[np.argmax(history.start[reads]) if latest_start else np.argmin(history.end[reads])])

    reads = index.reads[index.read_of == earlier]
    read_is_last = len(reads) > 0 and (
        earlier >= len(index.writers) or history.start[reads].max() >= history.start[index.writers[earlier]]
    )
    before = op_of(earlier, read_is_last, True)
    after = op_of(later, later_read, False)
    names = [shown(int(index.written[v])) if v < len(index.writers) else "the initial value" for v in (earlier, later)]
    return Violation(
        "misordered chain",
        f"{names[1]} follows {names[0]} by compare-and-set, yet it was over before {names[0]} was last seen",
        unique_ops(after, before, int(index.writers[later])),
        [
            f"compare-and-sets lead from {names[0]} to {names[1]}",
            f"an op on {names[1]} ended at {seconds(history, int(history.end[after]))}, an op on {names[0]} "
            f"began at {seconds(history, int(history.start[before]))}",
        ],
    )


def _members(history: History, index: RegisterIndex, blocks: Blocks, root: int) -> Ints:
    values = np.flatnonzero((blocks.root == root) & index.effective)
    writers = index.writers[values[values < len(index.writers)]]
    return np.concatenate([writers, index.reads[np.isin(index.read_of, values)]])


def _zones(history: History, index: RegisterIndex, blocks: Blocks, one: int, other: int, inside: bool) -> Violation:
    """Two values that must both have been the register's at one time."""
    ops, lines = [], []
    for n, root in enumerate((one, other)):
        members = _members(history, index, blocks, root)
        first, last = members[np.argmin(history.end[members])], members[np.argmax(history.start[members])]
        writers = len(index.writers)
        name = shown(int(index.written[root])) if root < writers else "the initial value"
        if not inside or n == 0:
            since = "the beginning" if root >= writers else seconds(history, int(history.end[first]))
            until = seconds(history, int(history.start[last]))
            lines.append(
                f"the register held {name} (or what followed it by cas) without a break from {since} to {until}"
            )
            ops += [last] if root >= writers else [first, last]
        else:
            since, until = seconds(history, int(history.start[last])), seconds(history, int(history.end[first]))
            lines.append(f"{name} was written between {since} and {until}, in the midst of that")
            ops += [last, first]
        if root < writers:
            ops.append(int(index.writers[root]))
    found = unique_ops(*ops)
    found.sort(key=lambda i: int(history.start[i]))
    where = history.name("key", found[-1])
    late = [int(history.start[_members(history, index, blocks, root)].max()) for root in (one, other)]
    if inside or late[0] >= late[1]:
        kind, summary = "stale read", "a stale read: a value was still there after another one had replaced it"
    else:
        kind, summary = "overlap", "two values were both there at the same time: reads contradict each other"
    return Violation(kind, summary + (f" (key {where})" if where else ""), found, lines)
