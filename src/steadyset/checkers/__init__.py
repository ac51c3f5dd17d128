"""Checkers: pure functions of a history. CHECKERS is the one place to register one."""

from __future__ import annotations

from typing import Any

from steadyset.checkers.append_list import LinearizableList
from steadyset.checkers.bank import Bank
from steadyset.checkers.base import Checker
from steadyset.checkers.counter import Counter
from steadyset.checkers.fifo_queue import FifoQueue
from steadyset.checkers.list_append import ListAppend
from steadyset.checkers.log import DurableLog
from steadyset.checkers.mutex import Mutex
from steadyset.checkers.register import LinearizableRegister
from steadyset.checkers.set_durability import SetDurability
from steadyset.checkers.set_full import LinearizableSet
from steadyset.checkers.split_brain import SplitBrain
from steadyset.errors import UsageError

CHECKERS: tuple[type[Checker], ...] = (
    SetDurability,
    LinearizableRegister,
    SplitBrain,
    LinearizableSet,
    LinearizableList,
    FifoQueue,
    DurableLog,
    Counter,
    Mutex,
    Bank,
    ListAppend,
)

__all__ = [
    "CHECKERS",
    "Bank",
    "Checker",
    "Counter",
    "DurableLog",
    "FifoQueue",
    "LinearizableList",
    "LinearizableRegister",
    "LinearizableSet",
    "ListAppend",
    "Mutex",
    "SetDurability",
    "SplitBrain",
    "make_checker",
]


def make_checker(rule: str, params: dict[str, Any] | None = None) -> Checker:
    """The checker registered as `rule` with these parameters; UsageError when there is no such rule or parameter."""
    for kind in CHECKERS:
        if kind.rule == rule:
            try:
                return kind(**(params or {}))
            except TypeError as error:
                raise UsageError(f"checker {rule}: {error}", expected="parameters of the checker") from None
    known = ", ".join(kind.rule for kind in CHECKERS)
    raise UsageError(f"no checker is called {rule}", expected=f"one of: {known}", seen=rule)
