"""A lock is linearizable: acquire and release take turns. Judged by the bounded search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steadyset.checkers.base import by_key, conclude
from steadyset.checkers.bounded import SEARCH_BUDGET_S, Item, State, search_ops
from steadyset.history import FAIL, OK, History
from steadyset.verdict import Judgement


@dataclass(frozen=True)
class Mutex:
    """`acquire` succeeds only while nobody holds the lock, `release` only while somebody does (whoever that is).

    `acquires_min`: fewer acknowledged acquires prove nothing. `search_budget_s` bounds the search.
    """

    acquires_min: int = 1
    search_budget_s: float = SEARCH_BUDGET_S
    rule: ClassVar[str] = "mutex"
    claim: ClassVar[str] = "At most one client holds the lock at any time."

    def check(self, history: History) -> Judgement:
        """Judge every key's acquires and releases."""
        acquires = history.is_f("acquire")
        ops = np.flatnonzero((acquires | history.is_f("release")) & (history.outcome != FAIL))
        ok = history.outcome[ops] == OK
        counts = {"acquires": int((ok & acquires[ops]).sum()), "releases": int((ok & ~acquires[ops]).sum())}
        counts["unknown"] = int((~ok).sum())
        violations, undecided = [], ""
        for _, of_key in by_key(history, ops):
            items = [
                Item(i, int(history.start[i]), int(history.end[i]), "acquire" if acquires[i] else "release")
                for i in of_key.tolist()
            ]
            violation, reason = search_ops(history, items, mutex_step, False, self.search_budget_s)
            violations.append(violation)
            undecided = undecided or reason
        return conclude(self, history, violations, counts, {"acquires": self.acquires_min}, undecided=undecided)


def mutex_step(state: State, item: Item) -> State | None:
    """A lock that is held (True) or free (False)."""
    if item.kind == "acquire":
        return True if not state else None
    return False if state else None
