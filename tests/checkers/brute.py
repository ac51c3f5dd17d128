"""Brute force: search every order of a small history. Slow, obvious, and independent of the checkers' algorithms."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache

from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, Op

Apply = Callable[[Hashable, Op], list[Hashable]]


def report(what: str, seen: Mapping[str, int]) -> None:
    """One row of the agreement table: shown by pytest with -s."""
    counts = ", ".join(f"{verdict} {number}" for verdict, number in seen.items())
    sys.stdout.write(f"\nagreement | {what} | {sum(seen.values())} histories | {counts} | all agree\n")


def linearizable(ops: list[Op], apply: Apply, initial: Hashable, chained: Sequence[tuple[int, int]] = ()) -> bool:
    """Whether some order respects time (end < start is before) and the model.

    `apply(state, op)` lists the states after op, [] when op is impossible. Every op of known
    outcome must be placed, those of unknown outcome may be left out.
    """
    count = len(ops)
    before = [
        sum(1 << j for j in range(count) if ops[j].outcome != INFO and ops[j].end < ops[i].start) for i in range(count)
    ]
    for i, j in chained:  # ops[i] comes before ops[j] whatever their times
        before[j] |= 1 << i
    must = sum(1 << i for i in range(count) if ops[i].outcome != INFO)

    @cache
    def go(done: int, state: Hashable) -> bool:
        if done & must == must:
            return True
        for i in range(count):
            if done >> i & 1 or before[i] & ~done:
                continue
            if any(go(done | 1 << i, after) for after in apply(state, ops[i])):
                return True
        return False

    return go(0, initial)


def register(state: Hashable, op: Op) -> list[Hashable]:
    """Read, write and compare-and-set; a failed write or read says nothing and is left out by the caller."""
    if op.f == "write":
        return [op.value]
    if op.f == "read":
        return [state] if state == op.value else []
    if op.outcome == FAIL:
        if op.result != NIL:
            return [state] if state == op.result else []
        return [state] if state != op.value else []
    return [op.value2] if state == op.value else []


def register_verdict(ops: list[Op]) -> bool:
    """Linearizable per key."""
    keys = {op.key for op in ops}
    constraining = [
        op for op in ops if not (op.f == "read" and op.outcome != OK) and not (op.f == "write" and op.outcome == FAIL)
    ]
    return all(linearizable([op for op in constraining if op.key == key], register, NIL) for key in keys)


def random_interval(rng: random.Random, span: int) -> tuple[int, int]:
    """A random interval on a short time axis, so that ties are frequent."""
    start = rng.randrange(span)
    return start, rng.randint(start, min(span, start + rng.choice((1, 2, 4, span))))


def random_register(rng: random.Random, *, unique: bool = True, silent_refusals: bool = False) -> list[Op]:
    """A small register history: drawn from a real execution, then now and then disturbed."""
    span = rng.choice((6, 10, 20))
    count = rng.randint(3, 8)
    keys = ["a"] if rng.random() < 0.8 else ["a", "b"]
    points = sorted((rng.uniform(0, span), rng.choice(keys)) for _ in range(count))
    state: dict[str, int] = {}
    ops: list[Op] = []
    fresh = 0
    for process, (point, key) in enumerate(points):
        start = max(0, int(point) - rng.choice((0, 0, 0, 1, 3)))
        end = int(point) + 1 + rng.choice((0, 0, 0, 1, 3)) if rng.random() < 0.8 else max(start, int(point))
        f = rng.choice(("read", "read", "write", "cas"))
        outcome = rng.choice((OK, OK, OK, OK, INFO, FAIL))
        now = state.get(key, NIL)
        value, value2, result = NIL, NIL, NIL
        if f == "write":
            fresh += 1
            value = fresh if unique else rng.randint(1, 3)
            if outcome == OK or (outcome == INFO and rng.random() < 0.5):
                state[key] = value
        elif f == "read":
            outcome = OK if outcome != INFO else INFO
            value = now if outcome == OK else NIL
        else:
            fresh += 1
            value2 = fresh if unique else rng.randint(1, 3)
            expected = now if rng.random() < 0.7 else (rng.randint(1, max(1, fresh)) if rng.random() < 0.9 else NIL)
            value = expected
            if outcome == FAIL or (outcome == OK and expected != now):
                outcome = FAIL
                result = now if not silent_refusals or rng.random() < 0.3 else NIL
                if result == NIL and not silent_refusals:
                    outcome, f, value, value2 = OK, "read", now, NIL
            elif expected == now and (outcome == OK or rng.random() < 0.5):
                state[key] = value2
        ops.append(
            Op(f, start, FOREVER if outcome == INFO else end, outcome, value, value2, result, key=key, process=process)
        )
    if rng.random() < 0.9:
        ops = _disturb(rng, ops, span, fresh if unique else 3)
    rng.shuffle(ops)
    return ops


def _disturb(rng: random.Random, ops: list[Op], span: int, fresh: int) -> list[Op]:
    for _ in range(rng.choice((1, 2, 4))):
        i = rng.randrange(len(ops))
        op = ops[i]
        what = rng.randrange(3)
        if what == 0 and op.outcome != INFO:
            start, end = random_interval(rng, span)
            ops[i] = op._replace(start=start, end=end)
        elif (what == 1 and op.f == "read" and op.outcome == OK) or (what == 2 and op.f == "cas"):
            ops[i] = op._replace(value=rng.choice([NIL, *range(1, fresh + 1)]))
    return ops


def whole(state: Hashable, op: Op) -> list[Hashable]:
    """An append-only list (state: tuple) with whole reads."""
    assert isinstance(state, tuple)
    if op.f == "add":
        return [(*state, op.value)]
    return [state] if state == tuple(op.values or ()) else []


def whole_set(state: Hashable, op: Op) -> list[Hashable]:
    """A grow-only set (state: frozenset) with whole reads."""
    assert isinstance(state, frozenset)
    if op.f == "add":
        return [state | {op.value}]
    values = op.values or ()
    return [state] if state == frozenset(values) and len(values) == len(state) else []


def random_whole(rng: random.Random, *, ordered: bool) -> list[Op]:
    """A small history of adds and whole reads, drawn from a real execution and disturbed."""
    span = rng.choice((6, 12, 20))
    state: list[int] = []
    ops: list[Op] = []
    for process, point in enumerate(sorted(rng.uniform(0, span) for _ in range(rng.randint(3, 8)))):
        start = max(0, int(point) - rng.choice((0, 0, 1, 3)))
        end = int(point) + 1 + rng.choice((0, 0, 1, 3))
        if rng.random() < 0.6:
            outcome = rng.choice((OK, OK, OK, INFO, FAIL))
            end = FOREVER if outcome == INFO else end
            if outcome == OK or (outcome == INFO and rng.random() < 0.6):
                state.append(process)
            ops.append(Op("add", start, end, outcome, process, process=process))
        else:
            values = list(state)
            if not ordered:
                rng.shuffle(values)
            ops.append(Op("read-all", start, end, OK, values=values, process=process))
    for _ in range(rng.choice((0, 1, 1, 2))):
        i = rng.randrange(len(ops))
        op = ops[i]
        what = rng.randrange(4)
        if what == 0 and op.outcome != INFO:
            start, end = random_interval(rng, span)
            ops[i] = op._replace(start=start, end=end)
        elif op.values is not None:
            values = list(op.values)
            if what == 1 and values:
                values.pop(rng.randrange(len(values)))
            elif what == 2:
                values.insert(rng.randint(0, len(values)), rng.randrange(8))
            else:
                rng.shuffle(values)
            ops[i] = op._replace(values=values)
    rng.shuffle(ops)
    return ops


def queue(state: Hashable, op: Op) -> list[Hashable]:
    """A FIFO queue (state: tuple); a dequeue of unknown outcome takes whatever is first, or nothing."""
    assert isinstance(state, tuple)
    if op.f == "enqueue":
        return [(*state, op.value)]
    if op.outcome == INFO:
        return [state[1:]]
    if op.value == NIL:
        return [] if state else [state]
    return [state[1:]] if state and state[0] == op.value else []


def counter(state: Hashable, op: Op) -> list[Hashable]:
    """A counter; inc may return the new value."""
    assert isinstance(state, int)
    if op.f == "read":
        return [state] if state == op.value else []
    return [state + op.value] if op.result in (NIL, state + op.value) else []


def mutex(state: Hashable, op: Op) -> list[Hashable]:
    """A lock: held or not."""
    return [op.f == "acquire"] if state == (op.f == "release") else []


def _points(rng: random.Random, most: int) -> list[tuple[int, int]]:
    """Intervals around points of a real execution, in the order of the points."""
    span = rng.choice((6, 12, 20))
    points = sorted(rng.uniform(0, span) for _ in range(rng.randint(3, most)))
    wide = rng.choice(((0, 0, 1, 3), (0, 1, 3, 6)))
    return [(max(0, int(p) - rng.choice(wide)), int(p) + 1 + rng.choice(wide)) for p in points]


def _moved(rng: random.Random, ops: list[Op]) -> list[Op]:
    for _ in range(rng.choice((0, 1, 1, 2)) if ops else 0):
        i = rng.randrange(len(ops))
        start, end = random_interval(rng, 15)
        ops[i] = ops[i]._replace(start=start, end=FOREVER if ops[i].outcome == INFO else end)
    return ops


def random_queue(rng: random.Random, *, empties: bool, drains: bool) -> list[Op]:  # noqa: PLR0912
    """A small queue history, drawn from a real execution and disturbed."""
    state: list[int] = []
    ops: list[Op] = []
    for n, (start, point_end) in enumerate(_points(rng, 9)):
        outcome = rng.choice((OK, OK, OK, OK, INFO, FAIL) if n % 2 else (OK, OK, OK, INFO))
        end = FOREVER if outcome == INFO else point_end
        if rng.random() < 0.5:
            if outcome == OK or (outcome == INFO and rng.random() < 0.5):
                state.append(n)
            ops.append(Op("enqueue", start, end, outcome, n))
        elif drains and state and rng.random() < 0.4:
            count = rng.randint(1, len(state))
            ops.append(Op("drain", start, max(start + 1, end if end < FOREVER else start), OK, values=state[:count]))
            state = state[count:]
        elif state:
            if outcome == OK or (outcome == INFO and rng.random() < 0.5):
                ops.append(Op("dequeue", start, end, outcome, state.pop(0) if outcome == OK else NIL))
                if outcome == INFO:
                    state.pop(0)
            else:
                ops.append(Op("dequeue", start, end, outcome))
        elif empties and outcome == OK:
            ops.append(Op("dequeue", start, end))
    if not ops:
        return [Op("enqueue", 0, 1, OK, 0)]
    what = rng.randrange(4)
    if what == 0:
        i = rng.randrange(len(ops))
        if ops[i].f == "dequeue" and ops[i].outcome == OK and ops[i].value != NIL:
            ops[i] = ops[i]._replace(value=rng.randrange(9))
    elif what == 1:
        ops.pop(rng.randrange(len(ops)))
    return _moved(rng, ops) or [Op("enqueue", 0, 1, OK, 0)]


def random_counter(rng: random.Random, *, returning: bool, steps: tuple[int, ...] = (1,)) -> list[Op]:
    """A small counter history, drawn from a real execution and disturbed."""
    state, ops = 0, []
    for start, point_end in _points(rng, 8):
        outcome = rng.choice((OK, OK, OK, INFO, FAIL))
        end = FOREVER if outcome == INFO else point_end
        if rng.random() < 0.6:
            step = rng.choice(steps)
            if outcome == OK or (outcome == INFO and rng.random() < 0.5):
                state += step
            ops.append(Op("inc", start, end, outcome, step, result=state if returning and outcome == OK else NIL))
        else:
            ops.append(Op("read", start, end, outcome, state if outcome == OK else NIL))
    if rng.random() < 0.5:
        i = rng.randrange(len(ops))
        if ops[i].f == "read" and ops[i].outcome == OK:
            ops[i] = ops[i]._replace(value=max(0, ops[i].value + rng.choice((-1, 1))))
        elif ops[i].result != NIL:
            ops[i] = ops[i]._replace(result=max(0, ops[i].result + rng.choice((-1, 1))))
    return _moved(rng, ops)


def random_mutex(rng: random.Random) -> list[Op]:
    """A small lock history, drawn from a real execution and disturbed."""
    held, ops = False, []
    for start, end in _points(rng, 8):
        outcome = rng.choice((OK, OK, OK, INFO, FAIL))
        f = "release" if held else "acquire"
        if outcome == OK or (outcome == INFO and rng.random() < 0.5):
            held = not held
        ops.append(Op(f, start, FOREVER if outcome == INFO else end, outcome))
    if rng.random() < 0.3:
        ops.pop(rng.randrange(len(ops)))
    return _moved(rng, ops)
