"""Mutants: one harm injected into a good history, and the op that a witness of it must contain."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, History, Op
from steadyset.history.txn import APPEND, READ, decode_txn, encode_txn

FOREIGN = 10**9  # a value nobody wrote


class Mutant(NamedTuple):
    """The changed history, and the positions of the ops that carry the harm: a witness must name one of them."""

    ops: list[Op]
    injected: tuple[int, ...]


Mutate = Callable[[list[Op], random.Random], Mutant | None]


def ops_of(history: History) -> list[Op]:
    """The history as plain ops, in order of invocation."""
    found = []
    for i in sorted(range(len(history)), key=lambda i: int(history.start[i])):
        found.append(
            Op(
                history.name("f", i),
                int(history.start[i]),
                int(history.end[i]),
                int(history.outcome[i]),
                int(history.value[i]),
                int(history.value2[i]),
                int(history.result[i]),
                history.values(i).tolist() if history.has_values(i) else None,
                history.name("key", i),
                int(history.process[i]),
                history.name("server", i),
                history.name("session", i),
                history.name("error", i),
                int(history.epoch[i]),
            )
        )
    return found


def on_some_key(ops: list[Op], mutate: Mutate, rng: random.Random) -> Mutant | None:
    """The harm done to one key of the history, drawn from those that give occasion for it."""
    keys = sorted({op.key for op in ops})
    if len(keys) == 1:
        return mutate(ops, rng)
    rng.shuffle(keys)
    for key in keys:
        others = [op for op in ops if op.key != key]
        try:
            mutant = mutate([op for op in ops if op.key == key], rng)
        except (StopIteration, ValueError):  # none of the ops that the harm needs
            continue
        if mutant is not None:
            return Mutant([*others, *mutant.ops], tuple(len(others) + i for i in mutant.injected))
    return None


def _shuffled(ops: list[Op], rng: random.Random, *f: str, outcome: int = OK) -> Iterator[int]:
    found = [i for i, op in enumerate(ops) if op.f in f and op.outcome == outcome]
    rng.shuffle(found)
    yield from found


def _with(ops: list[Op], i: int, op: Op) -> Mutant:
    return Mutant([*ops[:i], op, *ops[i + 1 :]], (i,))


def stale_read(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A register's read returns a value that two completed writes had replaced."""
    for i in _shuffled(ops, rng, "read"):
        before = sorted(
            (op for op in ops if op.f == "write" and op.outcome == OK and op.end < ops[i].start), key=lambda o: o.end
        )
        for old in before:
            if any(op.start > old.end for op in before) and ops[i].value != old.value:
                return _with(ops, i, ops[i]._replace(value=old.value))
    return None


def foreign_read(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A read returns a value that nobody wrote."""
    i = next(_shuffled(ops, rng, "read"))
    return _with(ops, i, ops[i]._replace(value=FOREIGN))


def aborted_read(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A write that was read turns out to have been refused."""
    read = {op.value for op in ops if op.f == "read" and op.outcome == OK}
    for i in _shuffled(ops, rng, "write"):
        if ops[i].value in read:
            return _with(ops, i, ops[i]._replace(outcome=FAIL))
    return None


def fork(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A compare-and-set succeeds on a value that another one had replaced."""
    done = [op for op in ops if op.f == "cas" and op.outcome == OK]
    for i in _shuffled(ops, rng, "cas", outcome=FAIL):
        for other in done:
            if other.start <= ops[i].end:
                return _with(ops, i, ops[i]._replace(outcome=OK, value=other.value, result=NIL))
    return None


def lost_add(ops: list[Op], rng: random.Random) -> Mutant | None:
    """An acknowledged add is missing from every read that began after it: the last add before the final read."""
    for i in _shuffled(ops, rng, "add"):
        value = ops[i].value
        changed = [
            op._replace(values=[v for v in op.values if v != value]) if op.f == "read-all" and op.values else op
            for op in ops
        ]
        return Mutant(changed, (i,))
    return None


def _final(ops: list[Op]) -> int:
    return max((i for i, op in enumerate(ops) if op.f == "read-all"), key=lambda i: ops[i].start)


def lost_from_one_read(ops: list[Op], rng: random.Random) -> Mutant | None:
    """One read lacks a value from its middle, which was acknowledged long before."""
    for i in _shuffled(ops, rng, "read-all"):
        values = ops[i].values or []
        settled = [op.value for op in ops if op.f == "add" and op.outcome == OK and op.end < ops[i].start]
        if len(settled) > 1:
            gone = rng.choice(settled)
            return _with(ops, i, ops[i]._replace(values=[v for v in values if v != gone]))
    return None


def phantom_member(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A value that nobody added is in the final read."""
    i = _final(ops)
    return _with(ops, i, ops[i]._replace(values=[*(ops[i].values or []), FOREIGN]))


def duplicate_member(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A value is twice in the final read."""
    i = _final(ops)
    values = list(ops[i].values or [])
    return _with(ops, i, ops[i]._replace(values=[*values, rng.choice(values)]))


def refused_member(ops: list[Op], rng: random.Random) -> Mutant | None:
    """An add that is in the final read was refused."""
    there = set(ops[_final(ops)].values or [])
    for i in _shuffled(ops, rng, "add"):
        if ops[i].value in there:
            return _with(ops, i, ops[i]._replace(outcome=FAIL))
    return None


def swapped_members(ops: list[Op], rng: random.Random) -> Mutant | None:
    """Two values of a read have changed places."""
    for i in _shuffled(ops, rng, "read-all"):
        values = list(ops[i].values or [])
        if len(values) > 2:
            at = rng.randrange(len(values) - 1)
            values[at], values[at + 1] = values[at + 1], values[at]
            return _with(ops, i, ops[i]._replace(values=values))
    return None


def lost_message(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A delivery never happened: its dequeue found nothing (and says nothing)."""
    for i in _shuffled(ops, rng, "dequeue"):
        value = ops[i].value
        sent = next(n for n, op in enumerate(ops) if op.f == "enqueue" and op.value == value)
        behind = [op for op in ops if op.f == "enqueue" and op.start > ops[sent].end]
        taken = {op.value for op in ops if op.f == "dequeue" and op.outcome == OK}
        if any(op.value in taken for op in behind):
            return Mutant([*ops[:i], ops[i]._replace(outcome=FAIL, value=NIL), *ops[i + 1 :]], (sent,))
    return None


def _delivered_again(ops: list[Op], i: int, value: int) -> Mutant:
    """One more dequeue, right after that of `ops[i]`, by a consumer of its own."""
    start = ops[i].end + 1
    return Mutant([*ops, ops[i]._replace(start=start, end=start + 1, value=value, process=99)], (len(ops),))


def duplicate_message(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A message is delivered once more."""
    i = next(_shuffled(ops, rng, "dequeue"))
    return _delivered_again(ops, i, ops[i].value)


def foreign_message(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A message nobody sent is delivered."""
    return _delivered_again(ops, next(_shuffled(ops, rng, "dequeue")), FOREIGN)


def reordered_messages(ops: list[Op], rng: random.Random) -> Mutant | None:
    """Two messages sent one after the other by one producer are delivered the other way round, one after the other."""
    sent = {op.value: op for op in ops if op.f == "enqueue"}
    taken = list(_shuffled(ops, rng, "dequeue"))
    for i in taken:
        for j in taken:
            a, b = ops[i], ops[j]
            one, other = sent[a.value], sent[b.value]
            late = other.start < a.end
            if late and a.end < b.start and one.end < other.start and one.process == other.process:
                changed = list(ops)
                changed[i], changed[j] = a._replace(value=b.value), b._replace(value=a.value)
                return Mutant(changed, (i, j))
    return None


def lost_update(ops: list[Op], rng: random.Random) -> Mutant | None:
    """An increment returns what another one returned."""
    done = list(_shuffled(ops, rng, "inc"))
    return _with(ops, done[0], ops[done[0]]._replace(result=ops[done[1]].result))


def counter_back(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A read returns less than an increment had returned before it began."""
    for i in _shuffled(ops, rng, "read"):
        before = [op.result for op in ops if op.f == "inc" and op.outcome == OK and op.end < ops[i].start]
        if before and max(before) > 1:
            return _with(ops, i, ops[i]._replace(value=max(before) - 1))
    return None


def counter_ahead(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A read returns more than increments were ever begun."""
    i = next(_shuffled(ops, rng, "read"))
    begun = sum(op.f == "inc" and op.outcome != FAIL for op in ops)
    return _with(ops, i, ops[i]._replace(value=begun + 1))


def _reads(ops: list[Op], rng: random.Random) -> Iterator[tuple[int, int, list[tuple[int, int, list[int] | None]]]]:
    for i in _shuffled(ops, rng, "txn"):
        micro = decode_txn(list(ops[i].values or []))
        for n, (kind, key, values) in enumerate(micro):
            alone = all(other[1] != key for m, other in enumerate(micro) if m != n)
            if kind == READ and values and alone:
                yield i, n, micro


def _txn_with(
    ops: list[Op], i: int, n: int, micro: list[tuple[int, int, list[int] | None]], values: list[int]
) -> Mutant:
    changed = [(k, key, values if m == n else v) for m, (k, key, v) in enumerate(micro)]
    return _with(ops, i, ops[i]._replace(values=encode_txn(changed)))


def stale_transaction(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A transaction reads a key as it was before an append that had been acknowledged when it began."""
    for i, n, micro in _reads(ops, rng):
        values = micro[n][2] or []
        last = next(
            (op for op in ops if (APPEND, micro[n][1], [values[-1]]) in decode_txn(list(op.values or []))), None
        )
        if last is not None and last.outcome == OK and last.end < ops[i].start:
            return _txn_with(ops, i, n, micro, values[:-1])
    return None


def forked_transaction(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A transaction reads a list in another order than a later reader does; alone, its order would be the order."""
    for i, n, micro in _reads(ops, rng):
        values = list(micro[n][2] or [])
        others = [
            seen or []
            for j, op in enumerate(ops)
            if j != i and op.f == "txn" and op.outcome == OK
            for kind, key, seen in decode_txn(list(op.values or []))
            if kind == READ and key == micro[n][1]
        ]
        if len(values) > 2 and any(len(seen) >= len(values) for seen in others):
            values[-2], values[-1] = values[-1], values[-2]
            return _txn_with(ops, i, n, micro, values)
    return None


def aborted_transaction(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A transaction whose append another one read turns out to have aborted."""
    readers: dict[tuple[int, int], set[int]] = {}
    for j, op in enumerate(ops):
        if op.outcome == OK:
            for kind, key, values in decode_txn(list(op.values or [])):
                for v in (values or []) if kind == READ else []:
                    readers.setdefault((key, v), set()).add(j)
    for i in _shuffled(ops, rng, "txn"):
        for kind, key, values in decode_txn(list(ops[i].values or [])):
            if kind == APPEND and values and readers.get((key, values[0]), set()) - {i}:
                return _with(ops, i, ops[i]._replace(outcome=FAIL))
    return None


def wrong_total(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A read shows one account one higher: half a transfer."""
    reads = sorted(_shuffled(ops, rng, "read-all"), key=lambda i: ops[i].start)
    i = rng.choice(reads[1:])
    values = list(ops[i].values or [])
    values[1] += 1
    return _with(ops, i, ops[i]._replace(values=values))


def old_primary(ops: list[Op], rng: random.Random) -> Mutant | None:
    """A write sent after the failover is acknowledged in the old epoch."""
    acked = [op for op in ops if op.f == "add" and op.outcome == OK and op.epoch >= 0]
    newest = max(op.epoch for op in acked)
    first = min(op.end for op in acked if op.epoch == newest)
    for i in _shuffled(ops, rng, "add"):
        if ops[i].epoch == newest and ops[i].start > first:
            return _with(ops, i, ops[i]._replace(epoch=newest - 1))
    return None


__all__ = ["FOREVER", "INFO", "Mutant", "Mutate", "ops_of"]
