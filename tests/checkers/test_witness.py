"""A witness is self-contained: judged alone, without the rest of its history, its few ops FAIL as well."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from steadyset.checkers import (
    Bank,
    Checker,
    Counter,
    DurableLog,
    FifoQueue,
    LinearizableList,
    LinearizableRegister,
    LinearizableSet,
    ListAppend,
    SetDurability,
)
from steadyset.history import Op, history_of
from steadyset.verdict import Verdict
from tests.checkers import brute, test_bank, test_list_append, test_log, test_set_durability

HISTORIES = 600
OPS_MAX = 8
CASES: dict[str, tuple[Checker, Callable[[random.Random], list[Op]]]] = {
    "register": (LinearizableRegister(), brute.random_register),
    "set": (LinearizableSet(), lambda rng: brute.random_whole(rng, ordered=False)),
    "list": (LinearizableList(), lambda rng: brute.random_whole(rng, ordered=True)),
    "queue": (FifoQueue(), lambda rng: brute.random_queue(rng, empties=False, drains=False)),
    "counter": (Counter(), lambda rng: brute.random_counter(rng, returning=False)),
    "log": (DurableLog(0, 0), test_log._random_log),
    "bank": (Bank(), test_bank._random),
    "list-append": (ListAppend(), test_list_append._random),
    "set-durability": (SetDurability(), test_set_durability._random),
}


@pytest.mark.parametrize("case", CASES)
def test_a_witness_fails_alone(case: str) -> None:
    """Goal: of random histories that FAIL, whoever has only the witness sees why: nothing it rests on is left out."""
    checker, draw = CASES[case]
    rng, failed = random.Random(5), 0
    for n in range(HISTORIES):
        ops = draw(rng)
        judged = checker.check(history_of(ops))
        if judged.verdict != Verdict.FAIL:
            continue
        failed += 1
        witness = sorted(judged.data["witness_ops"])
        alone = checker.check(history_of([ops[i] for i in witness]))
        message = f"history {n}: {judged.summary}\n" + "\n".join([*judged.witness, f"alone: {alone.summary}"])
        assert alone.verdict == Verdict.FAIL, message
        assert len(witness) <= OPS_MAX, message
    assert failed > HISTORIES // 50
