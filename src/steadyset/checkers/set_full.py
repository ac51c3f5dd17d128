"""A grow-only set with whole reads is linearizable: reads form a chain, and the chain agrees with time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from steadyset.checkers.adds import Adds, Walk
from steadyset.checkers.base import Violation, by_key, conclude, listed, unique_ops
from steadyset.history import OK, History
from steadyset.history.columns import Ints, Rows
from steadyset.verdict import Judgement


@dataclass(frozen=True)
class LinearizableSet:
    """Every whole read of a grow-only set holds exactly the values added before it.

    `reads_min`, `acknowledged_min`: fewer reads or acknowledged adds prove nothing (INVALID).
    """

    reads_min: int = 1
    acknowledged_min: int = 1
    rule: ClassVar[str] = "linearizable-set"
    claim: ClassVar[str] = (
        "A read returns every value whose add was acknowledged before it, and none that nobody added."
    )

    def check(self, history: History) -> Judgement:
        """Judge the adds and whole reads of every key."""
        ops = np.flatnonzero(history.is_f("add") | (history.is_f("read-all") & (history.outcome == OK)))
        is_add = history.is_f("add")
        counts = {"reads": 0, "values_read": 0, "acknowledged": 0, "unknown": 0, "unknown_observed": 0}
        violations = [
            self._check_key(history, of_key[is_add[of_key]], of_key[~is_add[of_key]], counts)
            for _, of_key in by_key(history, ops)
        ]
        wanted = {"reads": self.reads_min, "acknowledged": self.acknowledged_min}
        return conclude(self, history, violations, counts, wanted, {"whole reads": counts["unknown_observed"]})

    def _check_key(self, history: History, add_ops: Ints, reads: Ints, counts: dict[str, Any]) -> Violation | None:
        adds = Adds.build(history, add_ops)
        sizes = history.list_end[reads] - history.list_start[reads]
        seen = np.zeros(len(adds), dtype=np.bool_)
        stamp = np.zeros(len(adds), dtype=np.int64)
        walk, fallback = Walk(history), None
        size, previous = 0, -1  # of the largest set so far, and a read that returned it
        counts["reads"] += len(reads)
        counts["acknowledged"] += int(adds.acked.sum())
        violation: Violation | None = None
        for n in np.lexsort((history.start[reads], sizes)).tolist():
            read = int(reads[n])
            values = history.values(read)
            counts["values_read"] += len(values)
            at = adds.find(values)
            strange = adds.intruder(read, values, at)
            if strange is not None and not strange.needs_all:
                return strange
            fallback = fallback or strange
            if strange is not None:
                at = at[at >= 0]
            stamp[at] = np.arange(len(at))
            twice = np.flatnonzero(stamp[at] != np.arange(len(at)))
            if len(twice):
                value = int(adds.value(at[twice])[0])
                return Violation(
                    "duplicate", f"{value} was read twice in one read", [read], ["a set holds a value once"]
                )
            known = seen[at]
            common = int(known.sum())
            if common < size and violation is None:
                missing = np.setdiff1d(np.flatnonzero(seen), at)
                extra = at[~known]
                violation = self._not_a_chain(history, adds, previous, read, missing, extra)
            new = at[~known]
            if violation is None and not walk.place(adds.op[new], adds.start(new), adds.end(new)):
                violation = walk.violation(
                    "lost or stale read", "an add was acknowledged before a read that lacks it", previous
                )
            one = np.array([read])
            if violation is None and not walk.place(one, history.start[one], history.end[one]):
                violation = walk.violation("read from the future", "a value was read before it was added", read)
            seen[new] = True
            size, previous = max(size, len(at)), read
        absent = np.flatnonzero(adds.acked & ~seen)
        counts["unknown"] += int((adds.maybe & ~adds.acked).sum())
        counts["unknown_observed"] += int((adds.maybe & ~adds.acked & seen).sum())
        if violation is None and not walk.place(adds.op[absent], adds.start(absent), adds.end(absent)):
            lost = adds.value(absent[adds.end(absent) < walk.now])
            violation = walk.violation(
                "lost", f"{len(lost)} acknowledged adds are in no later read: {listed(lost)}", previous
            )
        return violation or fallback

    @staticmethod
    def _not_a_chain(history: History, adds: Adds, previous: int, read: int, missing: Ints, extra: Rows) -> Violation:
        lacks = adds.value(missing)
        if not len(extra):
            kind, summary = "shrunk", f"a read lacks {listed(lacks)}, which another read of no greater size holds"
        else:
            kind = "long fork"
            summary = f"one read holds {listed(lacks)} but not {listed(adds.value(extra))}, another the reverse"
        adders = [int(adds.op[missing[0]])] + [int(adds.op[i]) for i in extra[:1]]
        return Violation(
            kind, summary, unique_ops(*adders, previous, read), ["no single order of adds explains both reads"]
        )
