"""Queues, counters and locks: agreement with brute force, named violations, vacuity."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from steadyset.checkers import Checker, Counter, FifoQueue, Mutex
from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, Op, history_of
from steadyset.verdict import Verdict
from tests.checkers import brute

Case = tuple[Callable[[random.Random], list[Op]], Callable[[list[Op]], bool], Checker]


def _queue_verdict(ops: list[Op]) -> bool:
    flat: list[Op] = []
    chained: list[tuple[int, int]] = []
    for op in ops:
        if op.outcome == FAIL:
            continue
        if op.f != "drain":
            flat.append(op)
            continue
        for n, value in enumerate(op.values or ()):
            flat.append(op._replace(f="dequeue", value=value, values=None))
            if n:
                chained.append((len(flat) - 2, len(flat) - 1))
    return brute.linearizable(flat, brute.queue, (), chained)


def _counter_verdict(ops: list[Op]) -> bool:
    said = [op for op in ops if op.outcome != FAIL and not (op.f == "read" and op.outcome == INFO)]
    return brute.linearizable(said, brute.counter, 0)


CASES: dict[str, Case] = {
    "queue": (lambda rng: brute.random_queue(rng, empties=False, drains=False), _queue_verdict, FifoQueue(0)),
    "queue with empties": (
        lambda rng: brute.random_queue(rng, empties=True, drains=False),
        _queue_verdict,
        FifoQueue(0),
    ),
    "queue with drains": (
        lambda rng: brute.random_queue(rng, empties=False, drains=True),
        _queue_verdict,
        FifoQueue(0),
    ),
    "counter": (lambda rng: brute.random_counter(rng, returning=False), _counter_verdict, Counter(0, 0)),
    "counter returning": (lambda rng: brute.random_counter(rng, returning=True), _counter_verdict, Counter(0, 0)),
    "counter of steps": (
        lambda rng: brute.random_counter(rng, returning=False, steps=(1, 2, -1)),
        _counter_verdict,
        Counter(0, 0),
    ),
    "mutex": (
        brute.random_mutex,
        lambda ops: brute.linearizable([op for op in ops if op.outcome != FAIL], brute.mutex, False),
        Mutex(0),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "count", [pytest.param(800, id="sample"), pytest.param(200_000, id="all", marks=pytest.mark.slow)]
)
def test_agrees_with_brute_force(case: str, count: int) -> None:
    """Goal: the same verdict as a search of every order; the number is that of a checker's cases together."""
    kin = [name for name in CASES if name.split()[0] == case.split(maxsplit=1)[0]]
    count = count if count < 1000 else -(-count // len(kin))
    rng, seen = random.Random(7), {"PASS": 0, "FAIL": 0}
    draw, verdict, checker = CASES[case]
    for n in range(count):
        ops = draw(rng)
        found = checker.check(history_of(ops))
        expected = Verdict.PASS if verdict(ops) else Verdict.FAIL
        assert expected == found.verdict, f"history {n}: {found.summary}\n" + "\n".join(map(str, ops))
        seen[expected] += 1
    assert min(seen.values()) > count // 20, seen
    brute.report(case, seen)


def _enq(start: int, value: int, outcome: int = OK) -> Op:
    return Op("enqueue", start, FOREVER if outcome == INFO else start + 5, outcome, value)


def _deq(start: int, value: int = NIL, outcome: int = OK) -> Op:
    return Op("dequeue", start, FOREVER if outcome == INFO else start + 5, outcome, value)


VIOLATIONS: list[tuple[Checker, str, list[Op]]] = [
    (FifoQueue(), "phantom", [_enq(0, 1), _deq(10, 9)]),
    (FifoQueue(), "aborted read", [_enq(0, 1, FAIL), _deq(10, 1)]),
    (FifoQueue(), "duplicate", [_enq(0, 1), _deq(10, 1), _deq(20, 1)]),
    (FifoQueue(), "reordered", [_enq(0, 1), _enq(10, 2), _deq(20, 2), _deq(30, 1)]),
    (FifoQueue(), "reordered", [_enq(0, 1), _enq(10, 2), Op("drain", 20, 30, OK, values=[2, 1])]),
    (FifoQueue(), "lost", [_enq(0, 1), _enq(10, 2), _deq(20, 2)]),
    (FifoQueue(), "read from the future", [_deq(0, 1), _enq(10, 1)]),
    (FifoQueue(0), "not empty", [_enq(0, 1), _deq(10), _deq(20, 1)]),
    (Counter(), "stale read", [Op("inc", 0, 5, OK, 1), Op("read", 10, 15, OK, 0)]),
    (Counter(), "phantom", [Op("inc", 0, 5, OK, 1), Op("read", 10, 15, OK, 2)]),
    (Counter(), "lost update", [Op("inc", 0, 5, OK, 1, result=1), Op("inc", 10, 15, OK, 1, result=1)]),
    (Counter(), "stale read", [Op("inc", 0, 5, OK, 1, result=2), Op("inc", 10, 15, OK, 1, result=1)]),
    (Mutex(), "not linearizable", [Op("acquire", 0, 5), Op("acquire", 10, 15)]),
]


@pytest.mark.parametrize(("checker", "kind", "ops"), VIOLATIONS)
def test_violations_are_named(checker: Checker, kind: str, ops: list[Op]) -> None:
    """Goal: each violation has its name and a witness of few ops."""
    found = checker.check(history_of(ops))
    assert (Verdict.FAIL, kind) == (found.verdict, found.data.get("kind"))
    assert 1 <= len(found.data["witness_ops"]) <= 4


def test_an_unknown_dequeue_excuses_one_value_in_time() -> None:
    """Goal: one dequeue of unknown outcome explains one missing value, if it was sent early enough."""
    ops = [_enq(0, 1), _enq(10, 2), _deq(20, 2)]
    assert FifoQueue().check(history_of([*ops, _deq(12, outcome=INFO)])).verdict == Verdict.PASS
    assert FifoQueue().check(history_of([*ops, _deq(26, outcome=INFO)])).verdict == Verdict.FAIL
    two = [_enq(0, 0), *ops[0:1], *ops[1:]]
    two[1] = _enq(2, 1)
    assert FifoQueue().check(history_of([*two, _deq(12, outcome=INFO)])).verdict == Verdict.FAIL


def test_empty_at_one_instant_is_enough() -> None:
    """Goal: one value leaves at the very instant at which the next arrives: empty is a right answer then, not else."""
    ops = [Op("enqueue", 0, 2, OK, 1), Op("dequeue", 10, 12, OK, 1), Op("dequeue", 5, 15), Op("dequeue", 20, 25, OK, 2)]
    assert FifoQueue().check(history_of([*ops, Op("enqueue", 5, 10, OK, 2)])).verdict == Verdict.PASS
    assert FifoQueue().check(history_of([*ops, Op("enqueue", 5, 9, OK, 2)])).verdict == Verdict.FAIL


def test_vacuous_histories_are_invalid() -> None:
    """Goal: no delivery, no read, no acquire: nothing was shown."""
    assert FifoQueue().check(history_of([_enq(0, 1)])).verdict == Verdict.INVALID
    assert Counter().check(history_of([Op("inc", 0, 5, OK, 1)])).verdict == Verdict.INVALID
    assert Counter(reads_min=0).check(history_of([Op("inc", 0, 5, OK, 1)])).verdict == Verdict.PASS
    assert Mutex().check(history_of([])).verdict == Verdict.INVALID
