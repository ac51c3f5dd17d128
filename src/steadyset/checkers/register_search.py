"""Registers by bounded search: for values that are not unique and refused compare-and-sets that say nothing."""

from __future__ import annotations

import time

import numpy as np

from steadyset.checkers.base import Violation, seconds, shown
from steadyset.checkers.bounded import Item, Outcome, register_step, search
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
        outcome = search(items, register_step, initial, max(0.0, deadline - time.monotonic()))
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
    """Ops that still show the violation: the past of the stuck op, without the reads that are not needed.

    Leaving out a read or a refused cas only makes an order easier to find, so what remains is still a proof.
    """
    stuck = outcome.stuck
    assert stuck is not None
    kept = [
        item if item.end <= stuck.end else item._replace(end=FOREVER)
        for item in items
        if item.start <= stuck.end and (item.end <= stuck.end or item.kind in ("write", "cas"))
    ]
    for item in [item for item in kept if item.kind in ("read", "refused") and item.op != stuck.op]:
        if time.monotonic() >= deadline:
            break
        fewer = [other for other in kept if other is not item]
        if search(fewer, register_step, initial, max(0.0, deadline - time.monotonic())).linearizable is False:
            kept = fewer
    return kept
