"""Registers by bounded search: for values that are not unique and refused compare-and-sets that say nothing."""

from __future__ import annotations

import time

import numpy as np

from steadyset.checkers.base import Violation, seconds, shown
from steadyset.checkers.bounded import Item, Outcome, State, register_step, search
from steadyset.history import FAIL, FOREVER, NIL, OK, History


def items_of(history: History, ops: list[int]) -> list[Item]:
    """The search's items of one key's ops; ops that constrain nothing are left out."""
    items = []
    for i in ops:
        f, outcome = history.name("f", i), int(history.outcome[i])
        start, end = int(history.start[i]), int(history.end[i])
        value = int(history.value[i])
        if f == "write" and outcome != FAIL:
            items.append(Item(i, start, end, "write", value))
        elif f == "cas" and outcome != FAIL:
            items.append(Item(i, start, end, "cas", value, int(history.value2[i])))
        elif f == "cas" and history.result[i] != NIL:
            items.append(Item(i, start, end, "read", int(history.result[i])))
        elif f == "cas" and not history.name("error", i):
            items.append(Item(i, start, end, "refused", value))
        elif f == "read" and outcome == OK:
            items.append(Item(i, start, end, "read", value))
    return items


def search_registers(history: History, initial: int, budget_s: float) -> tuple[Violation | None, str]:
    """The violation found, or why nothing could be decided ("" when every key is linearizable)."""
    deadline = time.monotonic() + budget_s
    ops = np.flatnonzero(history.is_f("read", "write", "cas"))
    undecided = ""
    for key in np.unique(history.key[ops]).tolist():
        items = items_of(history, ops[history.key[ops] == key].tolist())
        outcome = search(items, register_step, [initial], max(0.0, deadline - time.monotonic()))
        if outcome.linearizable is None:
            name = history.names["key"][key]
            undecided = (
                f"unknown: the search{f' of key {name}' if name else ''} did not end within "
                f"search_budget_s = {budget_s:g} s ({outcome.configurations} configurations)"
            )
        elif not outcome.linearizable:
            kept = _shrink(items, outcome, initial, deadline)
            stuck = outcome.stuck
            assert stuck is not None
            states = sorted({shown(int(state)) for state in outcome.states})  # type: ignore[call-overload]
            line = (
                f"when that {stuck.kind} ended at {seconds(history, stuck.end)} the register could only have held "
                f"{', '.join(states)}, and no open op could have changed that"
            )
            summary = f"no order of the ops explains {stuck.kind} {shown(stuck.a)}"  # type: ignore[arg-type]
            violation = Violation("not linearizable", summary, [item.op for item in kept], [line])
            return violation, ""
    return None, undecided


def _shrink(items: list[Item], outcome: Outcome, initial: int, deadline: float) -> list[Item]:
    """Ops that still show the violation, and few of them.

    Left out are ops after the stuck one; ops that ended before a moment from which on no value the register could
    have held explains the rest; and reads that are not needed. Each leaves a history that is easier to explain, so
    that what remains is still a proof.
    """
    stuck = outcome.stuck
    assert stuck is not None
    kept = [
        item if item.end <= stuck.end else item._replace(end=FOREVER)
        for item in items
        if item.start <= stuck.end and (item.end <= stuck.end or item.kind in ("write", "cas"))
    ]
    written = {item.b if item.kind == "cas" else item.a for item in kept if item.kind in ("write", "cas")}
    values: list[State] = [initial, *sorted(written)]  # type: ignore[type-var]

    def still(fewer: list[Item], initials: list[State]) -> bool:
        left = deadline - time.monotonic()
        return left > 0 and search(fewer, register_step, initials, left).linearizable is False

    initials: list[State] = [initial]
    cuts = sorted({item.end for item in kept if item.end < FOREVER})
    low, high = 0, len(cuts) - 1  # the latest cut that still shows it: a later cut explains more
    while low < high:
        middle = (low + high + 1) // 2
        if still([item for item in kept if item.end > cuts[middle - 1]], values):
            low = middle
        else:
            high = middle - 1
    if low > 0:
        kept, initials = [item for item in kept if item.end > cuts[low - 1]], values
    for item in [item for item in kept if item.kind in ("read", "refused") and item.op != stuck.op]:
        fewer = [other for other in kept if other is not item]
        if still(fewer, initials):
            kept = fewer
    if any(item.kind == "refused" for item in kept):
        return kept
    for item in [item for item in kept if item.end == FOREVER]:  # a write nobody could have observed explains nothing
        target = item.b if item.kind == "cas" else item.a
        if not any(other.a == target for other in kept if other is not item):
            kept = [other for other in kept if other is not item]
    return kept
