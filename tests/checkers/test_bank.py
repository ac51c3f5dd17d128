"""bank: totals, accounts and overdrafts, in agreement with the definition; nothing read is no verdict."""

from __future__ import annotations

import random

import pytest

from steadyset.checkers import Bank
from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, Op, history_of
from steadyset.verdict import Verdict
from tests.checkers import brute


def _read(start: int, balances: dict[int, int]) -> Op:
    return Op("read-all", start, start + 1, OK, values=[n for pair in balances.items() for n in pair])


GOOD = {0: 10, 1: 10}
VIOLATIONS = [
    ("wrong total", {0: 5, 1: 16}),
    ("negative balance", {0: -1, 1: 21}),
    ("nil balance", {0: NIL, 1: 20}),
    ("unexpected accounts", {0: 10, 1: 10, 2: 0}),
    ("unexpected accounts", {0: 20}),
]


@pytest.mark.parametrize(("kind", "balances"), VIOLATIONS)
def test_violations_are_named(kind: str, balances: dict[int, int]) -> None:
    """Goal: each harm has its name, and the witness holds the read that shows it."""
    found = Bank().check(history_of([_read(0, GOOD), _read(5, {0: 5, 1: 15}), _read(10, balances)]))
    assert (found.verdict, found.data["kind"]) == (Verdict.FAIL, kind)
    assert 2 in found.data["witness_ops"]


def test_nothing_read_is_invalid_and_parameters_count() -> None:
    """Goal: no read, or reads of no account, prove nothing; a given total and overdrafts are heeded."""
    assert Bank().check(history_of([])).verdict == Verdict.INVALID
    assert Bank().check(history_of([_read(0, {})])).verdict == Verdict.INVALID
    assert Bank(total=21).check(history_of([_read(0, GOOD)])).verdict == Verdict.FAIL
    assert Bank(overdraft=True).check(history_of([_read(0, {0: -1, 1: 2})])).verdict == Verdict.PASS


def _random(rng: random.Random) -> list[Op]:
    balances = {account: rng.randint(0, 5) for account in range(rng.randint(1, 4))}
    ops: list[Op] = []
    for clock in range(0, 3 * rng.randint(1, 7), 3):
        if rng.random() < 0.5:
            a, b = rng.choice(list(balances)), rng.choice(list(balances))
            amount = rng.randint(0, balances[a])
            outcome = rng.choice((OK, OK, INFO, FAIL))
            if outcome == OK or (outcome == INFO and rng.random() < 0.5):
                balances[a] -= amount
                balances[b] += amount
            ops.append(Op("transfer", clock, FOREVER if outcome == INFO else clock + 1, outcome, values=[a, b, amount]))
            continue
        shown = dict(balances)
        if rng.random() < 0.2:
            account, what = rng.choice(list(shown)), rng.randrange(4)
            if what == 0:
                shown[account] += rng.choice((-1, 1, -6))
            elif what == 1:
                shown[account] = NIL
            elif what == 2:
                del shown[account]
            else:
                other = rng.choice(list(shown))
                shown[account] -= 6
                shown[other] += 6
        ops.append(_read(clock, shown))
    return ops


@pytest.mark.parametrize(
    "count", [pytest.param(1500, id="sample"), pytest.param(200_000, id="all", marks=pytest.mark.slow)]
)
def test_agrees_with_brute_force(count: int) -> None:
    """Goal: the same verdict as the definition applied literally to every read."""
    rng, seen = random.Random(12), {"PASS": 0, "FAIL": 0, "INVALID": 0}
    for n in range(count):
        ops = _random(rng)
        reads = [
            dict(zip(op.values[::2], op.values[1::2], strict=True))
            for op in ops
            if op.f == "read-all" and op.values is not None
        ]
        total = sum(reads[0].values()) if reads and NIL not in reads[0].values() else None
        harms = set()
        for read in reads:
            if set(read) != set(reads[0]):
                harms.add("unexpected accounts")
            elif NIL in read.values():
                harms.add("nil balance")
            else:
                total = sum(read.values()) if total is None else total
                harms |= {"wrong total"} if sum(read.values()) != total else set()
                harms |= {"negative balance"} if min(read.values(), default=0) < 0 else set()
        expected = "FAIL" if harms else "PASS" if reads and reads[0] else "INVALID"
        found = Bank().check(history_of(ops))
        assert expected == found.verdict, f"history {n}: {found.summary}\n" + "\n".join(map(str, ops))
        assert not harms or found.data["kind"] in harms
        seen[expected] += 1
    assert min(seen.values()) > count // 50, seen
    brute.report("bank", seen)
