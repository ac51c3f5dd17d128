"""Grow-only sets and append-only lists with whole reads: agreement with brute force, named violations, vacuity."""

from __future__ import annotations

import random

import pytest

from steadyset.checkers import LinearizableList, LinearizableSet
from steadyset.history import FAIL, FOREVER, INFO, OK, Op, history_of
from steadyset.verdict import Verdict
from tests.checkers import brute

CHECKERS = {"set": LinearizableSet(0, 0), "list": LinearizableList(0, 0)}


@pytest.mark.parametrize("kind", CHECKERS)
@pytest.mark.parametrize(
    "count", [pytest.param(1500, id="sample"), pytest.param(200_000, id="all", marks=pytest.mark.slow)]
)
def test_agrees_with_brute_force(kind: str, count: int) -> None:
    """Goal: the same verdict as a search of every order."""
    rng, seen = random.Random(6), {"PASS": 0, "FAIL": 0}
    model, initial = (brute.whole, ()) if kind == "list" else (brute.whole_set, frozenset())
    for n in range(count):
        ops = brute.random_whole(rng, ordered=kind == "list")
        found = CHECKERS[kind].check(history_of(ops))
        fine = brute.linearizable([op for op in ops if op.outcome != FAIL], model, initial)
        expected = Verdict.PASS if fine else Verdict.FAIL
        assert expected == found.verdict, f"history {n}: {found.summary}\n" + "\n".join(map(str, ops))
        assert fine or found.data["witness_ops"]
        seen[expected] += 1
    assert min(seen.values()) > count // 10, seen
    brute.report(f"whole reads of a {kind}", seen)


def _add(start: int, end: int, value: int, outcome: int = OK) -> Op:
    return Op("add", start, end, outcome, value, process=value)


def _read(start: int, end: int, *values: int) -> Op:
    return Op("read-all", start, end, OK, values=values)


A, B = _add(0, 10, 1), _add(20, 30, 2)
VIOLATIONS = [
    ("set", "phantom", [A, _read(40, 50, 1, 9)]),
    ("list", "phantom", [A, _read(40, 50, 1, 9)]),
    ("set", "aborted read", [A, _add(20, 30, 9, FAIL), _read(40, 50, 1, 9)]),
    ("list", "aborted read", [A, _add(20, 30, 9, FAIL), _read(40, 50, 1, 9)]),
    ("set", "duplicate", [A, _read(40, 50, 1, 1)]),
    ("list", "duplicate", [A, _read(40, 50, 1, 1)]),
    ("set", "long fork", [A, B, _read(25, 50, 1), _read(25, 50, 2)]),
    ("list", "fork", [A, B, _read(25, 50, 1), _read(25, 50, 2)]),
    ("set", "lost or stale read", [A, B, _read(40, 50, 1), _read(60, 70, 1, 2)]),
    ("list", "stale read", [A, B, _read(40, 50, 1), _read(60, 70, 1, 2)]),
    ("set", "lost", [A, B, _read(40, 50, 1)]),
    ("list", "lost", [A, B, _read(40, 50, 1)]),
    ("set", "read from the future", [A, B, _read(12, 15, 1, 2)]),
    ("list", "read from the future", [A, B, _read(12, 15, 1, 2)]),
    ("list", "misordered", [A, B, _read(40, 50, 2, 1)]),
]


@pytest.mark.parametrize(("model", "kind", "ops"), VIOLATIONS)
def test_violations_are_named(model: str, kind: str, ops: list[Op]) -> None:
    """Goal: each violation has its name and a witness of few ops."""
    found = CHECKERS[model].check(history_of(ops))
    assert (Verdict.FAIL, kind) == (found.verdict, found.data.get("kind"))
    assert 1 <= len(found.data["witness_ops"]) <= 4


@pytest.mark.parametrize("model", CHECKERS)
def test_torn_and_vacuous_histories_are_invalid(model: str) -> None:
    """Goal: a phantom in a torn history, no read, or no acknowledged add prove nothing; a loss in a torn one does."""
    assert CHECKERS[model].check(history_of([A, _read(40, 50, 1, 9)], complete=False)).verdict == Verdict.INVALID
    assert CHECKERS[model].check(history_of([A, B, _read(40, 50, 1, 9)], complete=False)).verdict == Verdict.FAIL
    for checker in (LinearizableSet(), LinearizableList()):
        assert checker.check(history_of([A])).verdict == Verdict.INVALID
        assert checker.check(history_of([_read(0, 1)])).verdict == Verdict.INVALID
        assert checker.check(history_of([A, _read(20, 30, 1)])).verdict == Verdict.PASS


@pytest.mark.parametrize("model", CHECKERS)
def test_unknown_adds_are_explained(model: str) -> None:
    """Goal: the unknown adds that reads showed are counted."""
    ops = [A, _add(5, FOREVER, 7, INFO), _add(6, FOREVER, 8, INFO), _read(40, 50, 1, 8)]
    found = CHECKERS[model].check(history_of(ops))
    assert found.verdict == Verdict.PASS
    assert (found.data["unknown_resolved"], found.data["unknown_resolved_share"]) == (1, 0.5)
