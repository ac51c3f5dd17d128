"""list-append: agreement with a search of every serial order, and each anomaly by its name."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

import pytest

from steadyset.checkers import ListAppend
from steadyset.errors import UsageError
from steadyset.history import FAIL, FOREVER, INFO, OK, Op, history_of
from steadyset.history.txn import APPEND, READ, MicroOp, decode_txn, encode_txn
from steadyset.verdict import Verdict
from tests.checkers import brute


def _txn(start: int, end: int, *micro: MicroOp, outcome: int = OK, process: int = 0) -> Op:
    end = FOREVER if outcome == INFO else end
    return Op("txn", start, end, outcome, values=encode_txn(micro), process=process)


def _a(key: int, value: int) -> MicroOp:
    return APPEND, key, [value]


def _r(key: int, *values: int) -> MicroOp:
    return READ, key, list(values)


def _serial(state: Hashable, op: Op) -> list[Hashable]:
    assert isinstance(state, tuple) and op.values is not None
    lists = [list(values) for values in state]
    for kind, key, values in decode_txn(list(op.values)):
        if kind == APPEND:
            assert values is not None
            lists[key].append(values[0])
        elif values is not None and op.outcome == OK and values != lists[key]:
            return []
    return [tuple(tuple(values) for values in lists)]


def _random(rng: random.Random) -> list[Op]:
    lists: list[list[int]] = [[], []]
    ops, fresh, clock = [], 0, 0
    for process in range(rng.randint(2, 5)):
        clock += rng.choice((0, 1, 2))
        outcome = rng.choice((OK, OK, OK, OK, INFO, FAIL))
        took = outcome == OK or (outcome == INFO and rng.random() < 0.6)
        stale = rng.random() < 0.3
        before = [list(values) for values in lists]
        now = [list(values) for values in lists]
        micro: list[MicroOp] = []
        for _ in range(rng.randint(1, 3)):
            key = rng.randrange(2)
            if rng.random() < 0.5:
                fresh += 1
                now[key].append(fresh)
                micro.append(_a(key, fresh))
            else:
                values = now[key][:-1] if stale and now[key] and rng.random() < 0.5 else now[key]
                micro.append((READ, key, list(values)) if outcome == OK else (READ, key, None))
        if rng.random() < 0.1:
            rng.shuffle(micro)
        lists = now if took else before
        ops.append(_txn(clock, clock + rng.choice((0, 1, 4)), *micro, outcome=outcome, process=process))
        if rng.random() < 0.1:
            rng.shuffle(lists[0])
    if rng.random() < 0.5:
        ops.append(_txn(clock + 9, clock + 10, _r(0, *lists[0]), _r(1, *lists[1]), process=9))
    return ops


@pytest.mark.parametrize("level", ["strict-serializable", "serializable"])
@pytest.mark.parametrize(
    "count", [pytest.param(800, id="sample"), pytest.param(100_000, id="all", marks=pytest.mark.slow)]
)
def test_agrees_with_brute_force(level: str, count: int) -> None:
    """Goal: FAIL exactly when no serial order (in real time, where demanded) explains every read."""
    rng, seen = random.Random(9), {"PASS": 0, "FAIL": 0}
    for n in range(count):
        ops = _random(rng)
        said = [op for op in ops if op.outcome != FAIL]
        if level == "serializable":
            said = [op._replace(start=0, end=FOREVER if op.outcome == INFO else 1) for op in said]
        expected = Verdict.PASS if brute.linearizable(said, _serial, ((), ())) else Verdict.FAIL
        found = ListAppend(0, level).check(history_of(ops))
        verdict = Verdict.PASS if found.verdict == Verdict.INVALID else found.verdict  # nothing was read
        assert expected == verdict, f"history {n}: {found.summary}\n" + "\n".join(map(str, ops))
        seen[expected] += 1
    assert min(seen.values()) > count // 20, seen
    brute.report(f"list-append {level}", seen)


def test_an_unknown_append_seen_only_by_a_read_of_another_order() -> None:
    """The reads disagree; that the other writer's outcome is unknown changes nothing."""
    ops = [
        _txn(0, 9, _a(0, 1), outcome=INFO), _txn(0, 9, _a(0, 2), process=1),
        _txn(10, 19, _r(0, 2), process=2), _txn(20, 29, _r(0, 1), process=3),
    ]  # fmt: skip
    found = ListAppend(0).check(history_of(ops))
    assert found.verdict == Verdict.FAIL
    assert "incompatible order" in found.summary


ANOMALIES: list[tuple[str, str, Sequence[Op]]] = [
    ("G0", "serializable", [
        _txn(0, 9, _a(0, 1), _a(1, 2)), _txn(0, 9, _a(0, 3), _a(1, 4), process=1),
        _txn(0, 99, _r(0, 1, 3), process=2), _txn(0, 99, _r(1, 4, 2), process=3),
    ]),
    ("G1a", "serializable", [_txn(0, 9, _a(0, 1), outcome=FAIL), _txn(10, 19, _r(0, 1), process=1)]),
    ("G1b", "serializable", [
        _txn(0, 9, _a(0, 1), _a(0, 2)), _txn(0, 9, _r(0, 1), process=1), _txn(10, 19, _r(0, 1, 2), process=1),
    ]),
    ("G1c", "serializable", [_txn(0, 9, _a(0, 1), _r(1, 2)), _txn(0, 9, _a(1, 2), _r(0, 1), process=1)]),
    ("G-single", "snapshot-isolation", [
        _txn(0, 9, _a(0, 1), _a(1, 2)), _txn(0, 9, _r(0), _r(1, 2), process=1), _txn(10, 19, _r(0, 1), process=1),
    ]),
    ("lost update", "snapshot-isolation", [
        _txn(0, 9, _r(0), _a(0, 1)), _txn(0, 9, _r(0), _a(0, 2), process=1), _txn(10, 19, _r(0, 1, 2), process=1),
    ]),
    ("G2", "serializable", [
        _txn(0, 9, _r(0), _a(1, 1)), _txn(0, 9, _r(1), _a(0, 2), process=1),
        _txn(10, 19, _r(0, 2), _r(1, 1), process=1),
    ]),
    ("G-single-realtime", "strict-serializable", [_txn(0, 9, _a(0, 1)), _txn(10, 19, _r(0), process=1)]),
    ("G-single-process", "strong-session-serializable", [_txn(0, 9, _a(0, 1)), _txn(10, 19, _r(0))]),
    ("incompatible order", "serializable", [
        _txn(0, 9, _a(0, 1)), _txn(0, 9, _a(0, 2), process=1),
        _txn(10, 19, _r(0, 1)), _txn(10, 19, _r(0, 2), process=1),
    ]),
    ("duplicate", "serializable", [_txn(0, 9, _a(0, 1)), _txn(10, 19, _r(0, 1, 1))]),
    ("phantom", "serializable", [_txn(0, 9, _a(0, 1)), _txn(10, 19, _r(0, 1, 7))]),
    ("reordered appends", "serializable", [_txn(0, 9, _a(0, 1), _a(0, 2)), _txn(10, 19, _r(0, 2, 1))]),
    ("internal", "serializable", [_txn(0, 9, _a(0, 1), _r(0))]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "level", "ops"), ANOMALIES)
def test_anomalies_are_named(name: str, level: str, ops: list[Op]) -> None:
    """Goal: each anomaly has its name at the level that forbids it, and a witness of its few transactions."""
    found = ListAppend(level=level).check(history_of(ops))
    assert (Verdict.FAIL, name) == (found.verdict, found.data.get("kind")), found.summary
    assert 1 <= len(found.data["witness_ops"]) <= 4


def test_levels_forbid_what_they_should() -> None:
    """Goal: snapshot isolation allows write skew, serializability staleness, read committed G-single."""
    by_name = {name: history_of(ops) for name, _, ops in ANOMALIES}
    assert ListAppend(level="snapshot-isolation").check(by_name["G2"]).verdict == Verdict.PASS
    assert ListAppend(level="serializable").check(by_name["G-single-realtime"]).verdict == Verdict.PASS
    assert ListAppend(level="read-committed").check(by_name["G-single"]).verdict == Verdict.PASS
    assert ListAppend(level="read-committed").check(by_name["G1c"]).verdict == Verdict.FAIL
    with pytest.raises(UsageError, match="no such level"):
        ListAppend(level="chaos").check(by_name["G2"])


def test_torn_and_vacuous_histories_are_invalid() -> None:
    """Goal: a phantom in a torn history, and transactions that read nothing, prove nothing."""
    phantom = [_txn(0, 9, _a(0, 1)), _txn(10, 19, _r(0, 1, 7))]
    assert ListAppend().check(history_of(phantom, complete=False)).verdict == Verdict.INVALID
    assert ListAppend().check(history_of([_txn(0, 9, _a(0, 1))])).verdict == Verdict.INVALID
    assert ListAppend().check(history_of([])).verdict == Verdict.INVALID


def test_an_unknown_transaction_that_was_seen_took_effect_as_a_whole() -> None:
    """Goal: a read that shows one append of an unknown transaction must show its other ones, too."""
    unknown = _txn(0, 0, _a(0, 1), _a(1, 2), outcome=INFO)
    torn = _txn(10, 19, _r(0), _r(1, 2), process=1)
    assert ListAppend(level="serializable").check(history_of([unknown, torn])).data["kind"] == "G-single"


def test_txn_encoding_round_trip() -> None:
    """Goal: micro-ops survive the flat list; a damaged one is an error."""
    micro: list[MicroOp] = [_a(5, 1), _r(6, 1, 2), (READ, 7, None), _r(8)]
    assert [(k, key, None if v is None else list(v)) for k, key, v in micro] == decode_txn(encode_txn(micro))
    with pytest.raises(ValueError, match="no transaction"):
        decode_txn([0, 5])
