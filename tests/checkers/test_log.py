"""durable-log: each kind of harm by name, what excuses it, and agreement with the definitions applied literally."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from steadyset.checkers import DurableLog, places
from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, Op, history_of
from steadyset.verdict import Verdict
from tests.checkers import brute


def _send(start: int, value: int, outcome: int = OK, offset: int = NIL, process: int = 0) -> Op:
    end = FOREVER if outcome == INFO else start + 5
    return Op("enqueue", start, end, outcome, value, result=offset, process=process)


def _take(start: int, value: int = NIL, outcome: int = OK, session: str = "", process: int = 9) -> Op:
    return Op(
        "dequeue", start, FOREVER if outcome == INFO else start + 5, outcome, value, session=session, process=process
    )


def _poll(start: int, *pairs: int, process: int = 9, session: str = "") -> Op:
    return Op("poll", start, start + 5, OK, values=pairs, process=process, session=session)


GOOD_QUEUE = [_send(0, 1), _send(10, 2), _take(20, 1), _take(30, 2), _take(40)]
GOOD_LOG = [_send(0, 1, offset=0), _send(10, 2, offset=1), _poll(20, 0, 1, 1, 2), _poll(30, session="final")]
VIOLATIONS = [
    ("lost", [_send(0, 1), _send(10, 2), _take(20, 1), _take(30)]),
    ("lost", [_send(0, 1), _send(10, 2), Op("drain", 20, 30, OK, values=[1])]),
    ("lost", [_send(0, 1, offset=0), _send(10, 2, offset=1), _poll(20, 1, 2)]),
    ("lost", [*GOOD_LOG[:2], _send(12, 3, process=1), GOOD_LOG[2], GOOD_LOG[3]]),
    ("phantom", [*GOOD_QUEUE, _take(50, 9)]),
    ("aborted read", [*GOOD_QUEUE, _send(12, 9, FAIL), _take(50, 9)]),
    ("duplicate", [*GOOD_QUEUE, _take(50, 2)]),
    ("duplicate", [*GOOD_LOG[:2], _poll(20, 0, 1, 1, 2, 2, 2)]),
    ("divergence", [*GOOD_LOG, _send(12, 3, process=1), _poll(20, 0, 1, 1, 3, process=8)]),
    ("reordered", [_send(0, 1), _send(10, 2), _take(20, 2), _take(30, 1)]),
    ("reordered", [_send(0, 1), _send(10, 2), Op("drain", 20, 30, OK, values=[2, 1])]),
    ("reordered", [_send(0, 1), _send(10, 2), _take(20, 2, process=8), _take(30, 1)]),
    ("read from the future", [_take(0, 1), _send(10, 1)]),
    ("poll went back", [*GOOD_LOG[:2], _poll(20, 0, 1, 1, 2), _poll(30, 0, 1)]),
    ("skipped", [*GOOD_LOG[:2], _send(15, 3, offset=2), _poll(25, 0, 1, 2, 3), _poll(25, 0, 1, 1, 2, process=8)]),
]


@pytest.mark.parametrize(("kind", "ops"), VIOLATIONS)
def test_violations_are_named(kind: str, ops: list[Op]) -> None:
    """Goal: each harm has its name and a witness of few ops."""
    found = DurableLog().check(history_of(ops))
    assert (Verdict.FAIL, kind) == (found.verdict, found.data.get("kind")), found.summary
    assert 1 <= len(found.data["witness_ops"]) <= 4


def test_an_empty_poll_proves_nothing_unless_it_is_a_last_one() -> None:
    """Goal: a consumer that has caught up for the moment does not show that a message is lost."""
    ops = [*GOOD_LOG[:2], _send(12, 3, process=1), GOOD_LOG[2]]
    caught_up = history_of([*ops, _poll(30)])
    for code in (0, -1):  # sessions that were told, and none
        caught_up.session[:] = code
        found = DurableLog().check(caught_up)
        assert (found.verdict, found.data["undelivered"]) == (Verdict.INVALID, 1)
    assert DurableLog().check(history_of([*ops, _poll(30, session="final")])).verdict == Verdict.FAIL


def test_a_redelivery_that_came_first_says_nothing_of_order() -> None:
    """Goal: a message whose first delivery was lost with its consumer comes late, flagged."""
    late = [_send(0, 1), _send(10, 2), _take(20, 2), _take(30, 1, session="direct:a redelivered")]
    assert DurableLog().check(history_of(late)).verdict == Verdict.PASS
    assert DurableLog().check(history_of([*late[:3], _take(30, 1)])).data["kinds"] == ["reordered"]


@pytest.mark.parametrize("size", [1, 2, 9])
def test_the_order_within_a_drain_is_judged_across_passes(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Goal: what one pass has seen of a consumer is compared with the next."""
    monkeypatch.setattr(places, "_PASS", size)
    sent = [_send(value, value) for value in range(1, 5)]
    for values, verdict in (([1, 2, 3, 4], Verdict.PASS), ([2, 3, 4, 1], Verdict.FAIL)):
        found = DurableLog().check(history_of([*sent, Op("drain", 20, 21, values=values, process=9)]))
        assert found.verdict == verdict
        assert verdict == Verdict.PASS or found.data["kind"] == "reordered"


def test_good_ones_pass() -> None:
    """Goal: a queue drained and a log read to its end pass; reading a log twice is no duplicate."""
    for ops in (GOOD_QUEUE, GOOD_LOG, [*GOOD_LOG, _poll(20, 0, 1, 1, 2, process=8)]):
        assert DurableLog().check(history_of(ops)).verdict == Verdict.PASS
    again = [*GOOD_LOG, _poll(50, 0, 1, 1, 2, session="after a rebalance")]
    assert DurableLog().check(history_of(again)).verdict == Verdict.PASS


def test_duplicates_need_a_redelivery_or_a_lost_consumer() -> None:
    """Goal: a flagged redelivery, a consumer lost in between, or a second attempt excuse a duplicate."""
    for excuse in (
        [_take(50, 2, session="c1 redelivered")],
        [_take(36, outcome=INFO), _take(50, 2)],
        [_send(12, 2, INFO), _take(50, 2)],
    ):
        assert DurableLog().check(history_of([*GOOD_QUEUE, *excuse])).verdict == Verdict.PASS
        assert DurableLog(duplicates="never").check(history_of([*GOOD_QUEUE, *excuse])).verdict == Verdict.FAIL
    assert DurableLog(duplicates="allowed").check(history_of([*GOOD_QUEUE, _take(50, 2)])).verdict == Verdict.PASS


def test_unknown_dequeues_excuse_at_most_their_number() -> None:
    """Goal: one unknown dequeue excuses one missing message, not two."""
    ops = [*GOOD_QUEUE[:4], _send(32, 3), _take(34, outcome=INFO), _take(60)]
    found = DurableLog().check(history_of(ops))
    assert found.verdict == Verdict.PASS and found.data["excused_by_unknown_dequeues"] == 1
    worse = DurableLog().check(history_of([*ops, _send(33, 4, process=1)]))
    assert worse.verdict == Verdict.FAIL and len(worse.data["lost"]) == 1


def test_not_drained_or_too_little_is_invalid() -> None:
    """Goal: missing messages without a proof of emptiness, and too few messages, prove nothing."""
    assert DurableLog().check(history_of([_send(0, 1), _send(10, 2), _take(20, 1)])).verdict == Verdict.INVALID
    empty_before = DurableLog().check(history_of([_take(0), _send(10, 1), _take(20, 1), _send(30, 2)]))
    assert empty_before.verdict == Verdict.INVALID and "1 acknowledged messages" in empty_before.summary
    assert DurableLog().check(history_of([])).verdict == Verdict.INVALID
    assert DurableLog(delivered_min=3).check(history_of(GOOD_QUEUE)).verdict == Verdict.INVALID
    torn = history_of([*GOOD_QUEUE, _take(50, 9)], complete=False)
    assert DurableLog().check(torn).verdict == Verdict.INVALID


def _literally(ops: list[Op]) -> set[str]:
    """Every harm in a queue's history, by definition (unique values, one key)."""
    harms = set()
    sends = {op.value: op for op in ops if op.f == "enqueue"}
    takes = sorted((op for op in ops if op.f == "dequeue" and op.outcome == OK), key=lambda op: (op.process, op.start))
    got = [op for op in takes if op.value != NIL]
    for take in got:
        send = sends.get(take.value)
        if send is None:
            harms.add("phantom")
        elif send.outcome == FAIL:
            harms.add("aborted read")
        elif take.end < send.start:
            harms.add("read from the future")
    real = [take for take in got if take.value in sends and sends[take.value].outcome != FAIL]
    empties = [take.start for take in takes if take.value == NIL]
    missing = [
        send
        for send in sends.values()
        if send.outcome == OK and all(take.value != send.value for take in real) and send.end < max(empties, default=-1)
    ]
    if len(missing) > sum(op.f == "dequeue" and op.outcome == INFO for op in ops):
        harms.add("lost")
    first: dict[int, Op] = {}
    for take in sorted(real, key=lambda op: op.start):
        if take.value in first:
            harms.add("duplicate")
        first.setdefault(take.value, take)
    for x in first.values():
        for y in first.values():
            a, b = sends[x.value], sends[y.value]
            overtaken = y.end < x.start or (x.process == y.process and y.start < x.start)
            if overtaken and a.process == b.process and a.start < b.start:
                harms.add("reordered")
    return harms


@pytest.mark.parametrize(
    "count", [pytest.param(1000, id="sample"), pytest.param(100_000, id="all", marks=pytest.mark.slow)]
)
def test_agrees_with_the_definitions(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: FAIL exactly when a harm is there by definition, and the harm named is one of them."""
    rng, seen = random.Random(8), {True: 0, False: 0}
    for n in range(count):
        ops, queue, clock = [], [], 0
        for value in range(rng.randint(1, 5)):
            clock += rng.choice((1, 3))
            outcome = rng.choice((OK, OK, OK, INFO, FAIL))
            ops.append(
                _send(clock, value, outcome, process=value % 2)._replace(end=FOREVER if outcome == INFO else clock + 1)
            )
            if outcome == OK or (outcome == INFO and rng.random() < 0.5):
                queue.append(value)
        for _ in range(rng.randint(0, len(queue) + 1)):
            clock += rng.choice((0, 2))
            value = queue.pop(0) if queue else NIL
            value = rng.randrange(6) if rng.random() < 0.1 else value
            outcome = rng.choice((OK, OK, OK, OK, INFO))
            end = FOREVER if outcome == INFO else clock + rng.choice((0, 1, 3))
            ops.append(Op("dequeue", clock, end, outcome, value if outcome == OK else NIL, process=90 + len(ops)))
        if rng.random() < 0.7:
            ops.append(_take(clock + 9))
        rng.shuffle(queue)
        monkeypatch.setattr(places, "_PASS", 1 + n % 5)  # large histories are judged in several passes
        found = DurableLog(0, 0, duplicates="never").check(history_of(ops))
        harms = _literally(ops)
        message = f"history {n}: {found.summary} {harms}\n" + "\n".join(map(str, ops))
        assert bool(harms) == (found.verdict == Verdict.FAIL), message
        assert not harms or found.data["kind"] in harms, message
        seen[bool(harms)] += 1
    assert min(seen.values()) > count // 10, seen
    brute.report("durable-log, queue", {"FAIL": seen[True], "no FAIL": seen[False]})


def _literally_log(ops: list[Op]) -> set[str]:  # noqa: PLR0912 - one harm after the other
    """Every harm in the history of a log with offsets, by definition (unique values, one key)."""
    harms: set[str] = set()
    sends = {op.value: op for op in ops if op.f == "enqueue"}
    polls = sorted((op for op in ops if op.f == "poll" and op.outcome == OK), key=lambda op: op.start)
    got: list[tuple[int, int, Op, int]] = []  # offset, value, poll, place
    for poll in polls:
        flat = list(poll.values or ())
        for place, (offset, value) in enumerate(zip(flat[::2], flat[1::2], strict=True)):
            send = sends.get(value)
            if send is None or send.outcome == FAIL:
                harms.add("phantom" if send is None else "aborted read")
                continue
            if poll.end < send.start:
                harms.add("read from the future")
            got.append((offset, value, poll, place))
    pairs = {(offset, value) for offset, value, *_ in got}
    pairs |= {(op.result, op.value) for op in sends.values() if op.outcome == OK and op.result != NIL}
    for offset, value in pairs:
        if any(o == offset and v != value for o, v in pairs):
            harms.add("divergence")
        if any(o != offset and v == value for o, v in pairs):
            harms.add("duplicate")
    known = {offset for offset, _ in pairs}
    for session in {(poll.process, poll.session) for poll in polls}:
        mine = [offset for offset, _, poll, _ in got if (poll.process, poll.session) == session]
        for before, after in pairwise(mine):
            if after <= before:
                harms.add("poll went back")
            if any(before < offset < after for offset in known):
                harms.add("skipped")
    delivered, highest = {value for _, value, *_ in got}, max((offset for offset, *_ in got), default=-1)
    if any(op.outcome == OK and NIL != op.result <= highest and op.value not in delivered for op in sends.values()):
        harms.add("lost")
    first: dict[int, tuple[Op, int]] = {}
    for _, value, poll, place in got:
        first.setdefault(value, (poll, place))
    for x, (x_poll, x_place) in first.items():
        for y, (y_poll, y_place) in first.items():
            earlier = y_poll.process == x_poll.process and (y_poll.start, y_place) < (x_poll.start, x_place)
            overtaken = y_poll.end < x_poll.start or earlier
            if overtaken and sends[x].process == sends[y].process and sends[x].start < sends[y].start:
                harms.add("reordered")
    return harms


def _random_log(rng: random.Random) -> list[Op]:
    """A small log: two producers, two consumers that poll from where they are, disturbed now and then."""
    log: list[int] = []
    ops: list[Op] = []
    at, session, clock = [0, 0], [0, 0], 0
    for number in range(rng.randint(3, 9)):
        clock += rng.choice((2, 3))
        outcome = rng.choice((OK, OK, OK, INFO, FAIL))
        if rng.random() < 0.5:
            took = outcome == OK or (outcome == INFO and rng.random() < 0.5)
            offset = len(log) if outcome == OK else NIL
            log += [number] if took else []
            end = FOREVER if outcome == INFO else clock + 1
            ops.append(Op("enqueue", clock, end, outcome, number, result=offset, process=number % 2))
            continue
        who = rng.randrange(2)
        if rng.random() < 0.1:
            session[who] += 1
            at[who] = rng.randint(0, len(log))
        upto = rng.randint(at[who], len(log))
        pairs = [(offset, log[offset]) for offset in range(at[who], upto)]
        at[who] = upto
        if pairs and rng.random() < 0.25:
            n, what = rng.randrange(len(pairs)), rng.randrange(5)
            offset, value = pairs[n]
            if what == 0:
                pairs[n] = (offset + rng.choice((-1, 1)), value)
            elif what == 1:
                pairs[n] = (offset, rng.randrange(10))
            elif what == 2:
                pairs.pop(n)
            elif what == 3:
                pairs.append(pairs[n])
            else:
                rng.shuffle(pairs)
        flat = [number for pair in pairs for number in pair]
        end = clock + rng.choice((0, 1, 4))
        ops.append(Op("poll", clock, end, OK, values=flat, process=90 + who, session=str(session[who])))
    return ops


@pytest.mark.parametrize(
    "count", [pytest.param(1000, id="sample"), pytest.param(100_000, id="all", marks=pytest.mark.slow)]
)
def test_logs_with_offsets_agree_with_the_definitions(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: FAIL exactly when a harm is there by definition, and the harm named is one of them."""
    rng, seen = random.Random(11), {"PASS": 0, "FAIL": 0, "INVALID": 0}
    for n in range(count):
        ops = _random_log(rng)
        monkeypatch.setattr(places, "_PASS", 1 + n % 5)
        found = DurableLog(0, 0).check(history_of(ops))
        harms = _literally_log(ops)
        message = f"history {n}: {found.summary} {harms}\n" + "\n".join(map(str, ops))
        assert bool(harms) == (found.verdict == Verdict.FAIL), message
        assert not harms or found.data["kind"] in harms, message
        seen[found.verdict] += 1
    assert min(seen.values()) > count // 50, seen
    brute.report("durable-log, offsets", seen)
