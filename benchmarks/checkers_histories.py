"""Large correct histories, made with NumPy: one hot key, many clients, real overlap, a share of unknown outcomes.

Each client runs one op after another; an op takes effect at a random moment between its call and its reply. An op of
unknown outcome took effect with probability one half.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from steadyset.history import FOREVER, INFO, NIL, OK, History

Ints = NDArray[np.int64]


class Draw:
    """Intervals of `ops` ops by `clients` clients, in order of the moments at which they take effect."""

    def __init__(self, ops: int, clients: int, unknown: float, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        per = max(1, ops // clients)
        duration = self.rng.integers(1_000, 200_000, size=(clients, per))
        pause = self.rng.integers(100, 20_000, size=(clients, per))
        end = np.cumsum(duration + pause, axis=1)
        moment = end - (self.rng.random((clients, per)) * duration).astype(np.int64)
        order = np.argsort(moment.ravel(), kind="stable")
        self.start, self.end = (end - duration).ravel()[order], end.ravel()[order]
        self.process = np.repeat(np.arange(clients, dtype=np.int32), per)[order]
        self.size = len(order)
        self.unknown = self.rng.random(self.size) < unknown
        self.effective = ~self.unknown | (self.rng.random(self.size) < 0.5)

    def history(
        self,
        f: Ints,
        names: list[str],
        value: Ints,
        value2: Ints | None = None,
        lists: tuple[Ints, Ints, Ints] | None = None,
        keep: NDArray[np.bool_] | None = None,
    ) -> History:
        """The ops (those in `keep`) in order of their calls."""
        order = np.argsort(self.start, kind="stable")
        if keep is not None:
            order = order[keep[order]]
        size = len(order)

        def same(number: int, kind: type = np.int64) -> NDArray[np.int64]:
            return np.broadcast_to(kind(number), size)

        data, first, last = lists if lists is not None else (np.zeros(0, np.int64), None, None)
        nothing = same(0, np.int32).astype(np.int32)
        return History(
            start=self.start[order],
            end=np.where(self.unknown, FOREVER, self.end)[order],
            outcome=np.where(self.unknown, INFO, OK).astype(np.int8)[order],
            process=self.process[order],
            f=f.astype(np.int32)[order],
            key=nothing,
            session=nothing,
            server=nothing,
            error=nothing,
            value=value[order],
            value2=same(NIL) if value2 is None else value2[order],
            result=same(NIL),
            epoch=same(-1),
            names={"f": names, "key": ["hot"], "session": [""], "server": [""], "error": [""]},
            list_data=data,
            list_start=same(0) if first is None else first[order],
            list_end=same(-1) if last is None else last[order],
        )


def register(ops: int, *, clients: int = 100, unknown: float = 0.05, cas: float = 0.0, seed: int = 1) -> History:
    """Half reads, half writes (a share of them compare-and-sets); every written value is unique."""
    draw = Draw(ops, clients, unknown, seed)
    writes = draw.rng.random(draw.size) < 0.5
    swaps = writes & (draw.rng.random(draw.size) < cas)
    number = np.arange(draw.size)
    latest = np.maximum.accumulate(np.where(writes & draw.effective, number, -1))
    before = np.append(-1, latest[:-1])
    seen = np.where(before < 0, NIL, before)
    f = np.where(swaps, 2, np.where(writes, 0, 1))
    value = np.where(swaps | ~writes, seen, number)
    value = np.where(~writes & draw.unknown, NIL, value)
    return draw.history(f, ["write", "read", "cas"], value, np.where(swaps, number, NIL))


def queue(ops: int, *, clients: int = 100, unknown: float = 0.05, seed: int = 1) -> History:
    """Enqueues and dequeues in equal parts, none of them of an empty queue."""
    draw = Draw(ops, clients, unknown, seed)
    enqueue = draw.rng.random(draw.size) < 0.5
    step = np.where(enqueue, 1, -1) * draw.effective
    balance = np.cumsum(step)
    lowest = np.minimum.accumulate(np.minimum(balance, 0))
    empty = (step < 0) & (balance == lowest) & (lowest < np.append(0, lowest[:-1]))
    took = draw.effective & ~empty
    number = np.arange(draw.size)
    sent, got = number[enqueue & took], number[~enqueue & took]
    value = np.where(enqueue, number, NIL)
    value[got] = sent[: len(got)]
    value = np.where(~enqueue & draw.unknown, NIL, value)
    return draw.history(np.where(enqueue, 0, 1), ["enqueue", "dequeue"], value, keep=~empty)


def drained(history: History) -> History:
    """A queue's history followed by one drain that takes all that is left."""
    is_enqueue = history.is_f("enqueue")
    got = history.value[~is_enqueue & (history.value != NIL)]
    left = np.setdiff1d(history.value[is_enqueue & (history.outcome == OK)], got)
    left = left[left > got.max(initial=-1)]  # values rise in the order of the queue: the others are already gone
    size = len(history)
    late = int(history.end[history.end < FOREVER].max()) + 1
    last = {"start": late, "end": late + 1, "outcome": OK, "process": 0, "f": len(history.names["f"]), "value": NIL}
    columns = {
        name: np.append(getattr(history, name), np.array(one, getattr(history, name).dtype))
        for name, one in last.items()
    }
    wide = {
        name: np.broadcast_to(getattr(history, name)[:1], size + 1)
        for name in ("key", "session", "server", "error", "value2", "result", "epoch")
    }
    return replace(
        history,
        **columns,
        **wide,
        names={**history.names, "f": [*history.names["f"], "drain"]},
        list_data=left,
        list_start=np.zeros(size + 1, np.int64),
        list_end=np.append(np.full(size, -1), len(left)),
    )


def whole_reads(
    adds: int, reads: int, *, clients: int = 100, unknown: float = 0.05, ordered: bool = True, seed: int = 1
) -> History:
    """Adds with whole reads between them, the last one final in time; total members read is about adds * reads / 2."""
    draw = Draw(adds + reads, clients, unknown, seed)
    is_read = draw.rng.permutation(draw.size) < reads
    draw.unknown[is_read] = False
    draw.effective[is_read] = True
    number = np.arange(draw.size)
    present = number[~is_read & draw.effective]
    upto = np.cumsum(~is_read & draw.effective)
    sizes = upto[is_read]
    data = np.concatenate([present[:size] for size in sizes.tolist()] or [np.zeros(0, np.int64)])
    if not ordered:  # the same members in another order each time
        data = np.concatenate([np.roll(present[:size], 7) for size in sizes.tolist()])
    stops = np.cumsum(sizes)
    first, last = np.zeros(draw.size, np.int64), np.full(draw.size, -1)
    first[is_read], last[is_read] = stops - sizes, stops
    value = np.where(is_read, NIL, number)
    return draw.history(np.where(is_read, 1, 0), ["add", "read-all"], value, lists=(data, first, last))


def rows(history: History) -> Ints:
    """The history as Porcupine's rows (see porcupine/main.go), unknown reads left out."""
    kinds = {"read": 0, "write": 1, "cas": 2, "enqueue": 3, "dequeue": 4}
    kind = np.array([kinds[name] for name in history.names["f"]])[history.f]
    keep = ~((kind == 0) & (history.outcome == INFO))
    table = [history.process, kind, history.value, history.value2, history.start, history.end]
    return np.stack([np.asarray(column, dtype="<i8")[keep] for column in table], axis=1)


def transactions(
    txns: int, *, clients: int = 100, keys: int = 10, appends_per_key: int = 50, unknown: float = 0.05, seed: int = 1
) -> History:
    """Transactions of 1 to 4 appends and whole reads, as Elle draws them: ten live keys, each of 50 appends at most."""
    draw = Draw(txns, clients, unknown, seed)
    rng = draw.rng
    lists: dict[int, list[int]] = {key: [] for key in range(keys)}
    live = list(range(keys))
    flat: list[int] = []
    ends: list[int] = []
    choice = iter(rng.integers(0, 2 * keys, size=4 * draw.size).tolist())
    value = 0
    for size, unseen, effective in zip(
        rng.integers(1, 5, size=draw.size).tolist(), draw.unknown.tolist(), draw.effective.tolist(), strict=True
    ):
        mine: dict[int, list[int]] = {}
        for _ in range(size):
            which = next(choice)
            key = live[which // 2]
            if which % 2:
                seen = [*lists[key], *mine.get(key, ())]
                flat += (1, key, -1) if unseen else (1, key, len(seen), *seen)
                continue
            value += 1
            mine.setdefault(key, []).append(value)
            flat += (0, key, 1, value)
        for key, values in mine.items() if effective else ():
            lists[key] += values
            if len(lists[key]) >= appends_per_key and key in live:
                live[live.index(key)] = len(lists)
                lists[len(lists)] = []
        ends.append(len(flat))
    last = np.array(ends, dtype=np.int64)
    table = np.array(flat, dtype=np.int64), np.append(0, last[:-1]), last
    nothing = np.full(draw.size, NIL)
    return draw.history(np.zeros(draw.size, np.int64), ["txn"], nothing, lists=table)
