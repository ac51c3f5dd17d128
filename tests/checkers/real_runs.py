"""Real runs in miniature: threads against objects in this process, recorded by the recorder with real times.

Each object is atomic (a lock) and slow at both ends, so that ops overlap as they do in production. One op in
twenty is recorded as unknown, and half of those never took effect.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steadyset.history import History, HistoryWriter, load_history
from steadyset.history.txn import APPEND, READ, encode_txn
from steadyset.wait import pause

CLIENTS = 8
OPS = 60
UNKNOWN = 0.05
PAUSE_S = 0.0004

Body = Callable[["Client"], None]


class Client:
    """One thread's side: draws from its own seed, records what it does."""

    def __init__(self, run: Run, number: int, seed: int) -> None:
        self.run, self.number = run, number
        self.rng = random.Random(f"{seed}/{number}")

    def do(
        self,
        f: str,
        action: Callable[[], dict[str, Any] | None],
        *,
        values: list[int] | None = None,
        value: int | None = None,
        value2: int | None = None,
        may_vanish: bool = True,
        session: str = "",
    ) -> None:
        """Invoke, take effect at some moment, complete. `action` gives the completion's fields, None for a refusal
        that says nothing."""
        writer = self.run.writer
        op = writer.invoke(self.number, f, "k", value, value2, values=values, session=session)
        pause(self.rng.random() * PAUSE_S)
        unknown = may_vanish and self.rng.random() < UNKNOWN
        if unknown and self.rng.random() < 0.5:
            writer.complete(op, "info", error="connection reset")
            return
        with self.run.lock:
            fields = action()
            epoch = self.run.epoch
        pause(self.rng.random() * PAUSE_S)
        if unknown:
            writer.complete(op, "info", error="timeout")
            return
        fields = {"outcome": "fail"} if fields is None else dict(fields)
        outcome = fields.pop("outcome", "ok")
        writer.complete(op, outcome, server=f"pod-{epoch % 2}", epoch=epoch, **fields)

    def fresh(self) -> int:
        """A value nobody else writes."""
        with self.run.lock:
            self.run.counter += 1
            return self.run.counter


class Run:
    """The object under test, with its lock, and the recorder."""

    def __init__(self, path: Path) -> None:
        self.writer = HistoryWriter(path, generator="threads")
        self.lock = threading.Lock()
        self.counter = 0
        self.state: Any = None
        self.items: list[int] = []
        self.lists: dict[int, list[int]] = {key: [] for key in range(3)}
        self.epoch = 1


def record(path: Path, body: Body, *, seed: int, last: Body | None = None, ops: int = OPS) -> History:
    """Run `body` `ops` times in each of CLIENTS threads, then `last` once, and load the history."""
    run = Run(path)

    def loop(number: int) -> None:
        client = Client(run, number, seed)
        for n in range(ops):
            if number == 0 and n == ops // 2:
                with run.lock:
                    run.epoch += 1
            body(client)

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if last is not None:
        last(Client(run, CLIENTS, seed))
    run.writer.close()
    return load_history(path)


def register(client: Client) -> None:
    """Reads, writes of fresh values, compare-and-sets from the value last seen."""
    run = client.run
    what = client.rng.random()
    if what < 0.5:
        client.do("read", lambda: {"value": run.state})
        return
    value = client.fresh()

    def write() -> dict[str, Any]:
        run.state = value
        return {}

    if what < 0.8:
        client.do("write", write, value=value)
        return
    expected = run.state

    def swap() -> dict[str, Any]:
        if run.state != expected:
            return {"outcome": "fail", "value": run.state}
        return write()

    if expected is not None:
        client.do("cas", swap, value=expected, value2=value)


def whole(client: Client) -> None:
    """Adds of fresh values and reads of the whole list."""
    run = client.run
    if client.rng.random() < 0.3:
        client.do("read-all", lambda: {"values": list(run.items)}, may_vanish=False)
        return
    value = client.fresh()

    def add() -> dict[str, Any]:
        run.items.append(value)
        return {}

    client.do("add", add, value=value)


def final_read(client: Client) -> None:
    """The final whole read."""
    client.do("read-all", lambda: {"values": list(client.run.items)}, may_vanish=False, session="final")


def queue(client: Client) -> None:
    """Enqueues of fresh values, and dequeues while there is something."""
    run = client.run
    if client.rng.random() < 0.5:
        value = client.fresh()

        def put() -> dict[str, Any]:
            run.items.append(value)
            return {}

        client.do("enqueue", put, value=value, may_vanish=False)
        return

    def take() -> dict[str, Any] | None:
        return {"value": run.items.pop(0)} if run.items else None

    client.do("dequeue", take, may_vanish=False)


def drain(client: Client) -> None:
    """Everything left, in order."""

    def take() -> dict[str, Any]:
        taken, client.run.items = client.run.items, []
        return {"values": taken}

    client.do("drain", take, may_vanish=False)


def counter(client: Client) -> None:
    """Increments that return the new value, and reads."""
    run = client.run
    if client.rng.random() < 0.4:
        client.do("read", lambda: {"value": run.state or 0})
        return

    def add() -> dict[str, Any]:
        run.state = (run.state or 0) + 1
        return {"value": run.state}

    client.do("inc", add, value=1)


def transactions(client: Client) -> None:
    """Transactions of reads and appends over three lists."""
    run = client.run
    micro: list[tuple[int, int, list[int] | None]] = []
    for _ in range(client.rng.randint(1, 4)):
        key = client.rng.randrange(3)
        micro.append((APPEND, key, [client.fresh()]) if client.rng.random() < 0.5 else (READ, key, None))

    def commit() -> dict[str, Any]:
        done: list[tuple[int, int, list[int] | None]] = []
        for kind, key, values in micro:
            if kind == APPEND and values:
                run.lists[key].append(values[0])
                done.append((kind, key, values))
            else:
                done.append((kind, key, list(run.lists[key])))
        return {"values": encode_txn(done)}

    client.do("txn", commit, values=encode_txn(micro))


def bank(client: Client) -> None:
    """Transfers between three accounts, and reads of them all."""
    run = client.run
    if client.rng.random() < 0.5:

        def look() -> dict[str, Any]:
            balances = run.state or {0: 100, 1: 100, 2: 100}
            return {"values": [n for pair in sorted(balances.items()) for n in pair]}

        client.do("read-all", look, may_vanish=False)
        return
    source, amount = client.rng.randrange(3), client.rng.randint(1, 5)
    target = (source + 1) % 3

    def move() -> dict[str, Any] | None:
        run.state = run.state or {0: 100, 1: 100, 2: 100}
        if run.state[source] < amount:
            return None
        run.state[source] -= amount
        run.state[target] += amount
        return {}

    client.do("transfer", move, values=[source, target, amount])
