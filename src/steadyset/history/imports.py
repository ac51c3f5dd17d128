"""Foreign histories: events paired into ops, and each model's values put into columns.

The order of a foreign history is the order of its events, as in Jepsen; its times are kept where they rise with
that order, and moved by the nanoseconds it takes to make them rise where they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from steadyset.errors import UsageError
from steadyset.history.columns import FAIL, FOREVER, INFO, NIL, OK, History, Op, history_of
from steadyset.history.events import INVOKE, BadLineError, Event, Progress, read_events
from steadyset.history.reader import load_history
from steadyset.history.txn import APPEND, READ, MicroOp, encode_txn


class Paired(NamedTuple):
    """An invocation with its completion (None: never came back)."""

    invoke: Event
    done: Event | None
    start: int
    end: int
    outcome: int


def pair(path: Path, events: Iterable[Event]) -> tuple[list[Paired], bool]:
    """Ops in order of invocation, and whether the source had times. Raises BadLineError naming the line."""
    open_ops: dict[int, tuple[int, Event, int]] = {}
    found: list[Paired | None] = []
    now, timed = -1, True
    for event in events:
        timed = timed and event.time >= 0
        now = max(now + 1, event.time)
        waiting = open_ops.pop(event.process, None)
        if event.type == INVOKE:
            if waiting is not None:
                what = f"process {event.process} invokes {event.f} while its op of line {waiting[1].line} is open"
                raise BadLineError(path, event.line, what, expected="one open op per process")
            open_ops[event.process] = (len(found), event, now)
            found.append(None)
            continue
        if waiting is None:
            what = f"process {event.process} completes {event.f} without having invoked it"
            raise BadLineError(path, event.line, what)
        at, invoke, start = waiting
        if event.f != invoke.f:
            what = f"process {event.process} completes {event.f}, but line {invoke.line} invoked {invoke.f}"
            raise BadLineError(path, event.line, what)
        if 0 <= event.time < invoke.time:
            what = f"the op ends at {event.time}, before it starts at {invoke.time} (line {invoke.line})"
            raise BadLineError(path, event.line, what)
        found[at] = Paired(invoke, event, start, FOREVER if event.type == INFO else now, event.type)
    for at, invoke, start in open_ops.values():
        found[at] = Paired(invoke, None, start, FOREVER, INFO)
    return [op for op in found if op is not None], timed


class _Names:
    """Numbers for values that are not whole numbers."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    def number(self, value: Any) -> int:
        """`value` itself when it is a whole number, NIL for nil, else a number of its own below zero."""
        if value is None:
            return NIL
        if isinstance(value, int) and not isinstance(value, bool) and -(2**62) < value < 2**62:
            return value
        return self.codes.setdefault(repr(value), -(2**62) - len(self.codes))


class Importer:
    """One model's translation of ops; subclasses say which functions they know."""

    functions: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = _Names()

    def bad(self, event: Event, what: str, expected: str = "") -> BadLineError:
        """An error naming the event's line."""
        return BadLineError(self.path, event.line, what, expected=expected, seen=repr(event.value)[:100])

    def numbers(self, event: Event, value: Any) -> list[int]:
        """A list of values; an error when it is none."""
        if not isinstance(value, list | tuple):
            raise self.bad(event, f"{event.f} needs a list")
        return [self.names.number(item) for item in value]

    def whole(self, event: Event, value: Any) -> int:
        """A whole number; an error when it is none."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.bad(event, f"{event.f} needs a whole number")
        return value

    def op(self, item: Paired) -> Op:
        """The op in columns."""
        raise NotImplementedError

    def ops(self, item: Paired) -> list[Op]:
        """The ops in columns: usually one."""
        return [self.op(item)]

    def base(self, item: Paired, f: str, key: Any = None, **columns: Any) -> Op:
        """An op with the times and the process of `item`."""
        asked, said = item.invoke.fields, item.done.fields if item.done is not None else {}
        if key is None:
            key = asked.get("key")
        error = item.done.error if item.done is not None else ""
        if item.done is not None and item.outcome != OK and isinstance(item.done.value, str):
            error = error or item.done.value  # Jepsen's text logs put the reason there, as in `:info :cas :timed-out`
        epoch = said.get("epoch", -1)
        return Op(
            f,
            item.start,
            item.end,
            item.outcome,
            key="" if key is None else str(key),
            process=item.invoke.process,
            error=error,
            server=str(said.get("server", "")),
            session=str(asked.get("session", "")),
            epoch=epoch if isinstance(epoch, int) else -1,
            **columns,
        )


def _split_key(value: Any) -> tuple[Any, Any]:
    """Key and value of a Jepsen independent tuple."""
    return (value[0], value[1]) if isinstance(value, tuple) and len(value) == 2 else (None, value)


class RegisterImporter(Importer):
    """read, write v, cas [from to]; values may be independent tuples [key value]."""

    functions = ("read", "write", "cas")

    def op(self, item: Paired) -> Op:
        f, invoke, done = item.invoke.f, item.invoke, item.done
        key, asked = _split_key(invoke.value)
        if f == "read":
            if item.outcome != OK or done is None:
                return self.base(item, f, key)
            key, value = _split_key(done.value)
            if isinstance(value, list | dict):
                raise self.bad(done, "a register's read needs one value")
            return self.base(item, f, key, value=self.names.number(value))
        if f == "write":
            if isinstance(asked, list | dict) or asked is None:
                raise self.bad(invoke, "a register's write needs one value")
            return self.base(item, f, key, value=self.names.number(asked))
        if not isinstance(asked, list | tuple) or len(asked) != 2:
            raise self.bad(invoke, "cas needs [expected new]")
        pair_ = {"value": self.names.number(asked[0]), "value2": self.names.number(asked[1])}
        refused = done is not None and item.outcome == FAIL and "result" in done.fields
        result = self.names.number(done.fields["result"]) if refused and done is not None else NIL
        return self.base(item, f, key, **pair_, result=result)


class MutexImporter(Importer):
    """acquire and release."""

    functions = ("acquire", "release")

    def op(self, item: Paired) -> Op:
        return self.base(item, item.invoke.f)


class SetImporter(Importer):
    """add v, read -> the whole set."""

    functions = ("add", "read", "read-all")

    def op(self, item: Paired) -> Op:
        if item.invoke.f == "add":
            key, value = _split_key(item.invoke.value)
            if isinstance(value, list | dict) or value is None:
                raise self.bad(item.invoke, "add needs one value")
            return self.base(item, "add", key, value=self.names.number(value))
        if item.outcome != OK or item.done is None:
            return self.base(item, "read-all")
        key, value = _split_key(item.done.value)
        return self.base(item, "read-all", key, values=self.numbers(item.done, value))


class QueueImporter(Importer):
    """enqueue v, dequeue -> v, drain -> every value left."""

    functions: tuple[str, ...] = ("enqueue", "dequeue", "drain")

    def op(self, item: Paired) -> Op:
        f = item.invoke.f
        if f == "enqueue":
            if item.invoke.value is None:
                raise self.bad(item.invoke, "enqueue needs a value")
            return self.base(item, f, value=self.names.number(item.invoke.value))
        if item.outcome != OK or item.done is None:
            return self.base(item, f)
        if f == "drain":
            return self.base(item, f, values=self.numbers(item.done, item.done.value))
        return self.base(item, f, value=self.names.number(item.done.value))


class CounterImporter(Importer):
    """add delta (or inc, returning the new value), read -> the value."""

    functions = ("add", "inc", "read", "decrement")

    def op(self, item: Paired) -> Op:
        f, done = item.invoke.f, item.done
        if f == "read":
            if item.outcome != OK or done is None:
                return self.base(item, f)
            return self.base(item, f, value=self.whole(done, done.value))
        asked = item.invoke.value
        delta = 1 if asked is None else self.whole(item.invoke, asked)
        result = NIL
        if f == "inc" and item.outcome == OK and done is not None:
            returned = done.fields.get("result", done.value if asked is None else None)
            result = NIL if returned is None else self.whole(done, returned)
        return self.base(item, "inc", value=-delta if f == "decrement" else delta, result=result)


class BankImporter(Importer):
    """transfer {:from :to :amount}, read -> {account balance}."""

    functions = ("transfer", "read")

    def op(self, item: Paired) -> Op:
        if item.invoke.f == "transfer":
            value = item.invoke.value
            names = ("from", "to", "amount")
            if not isinstance(value, dict) or any(name not in value for name in names):
                raise self.bad(item.invoke, "transfer needs from, to and amount")
            move = [self.names.number(value["from"]), self.names.number(value["to"])]
            return self.base(item, "transfer", values=[*move, self.whole(item.invoke, value["amount"])])
        if item.outcome != OK or item.done is None:
            return self.base(item, "read-all")
        balances = item.done.value
        if not isinstance(balances, dict):
            raise self.bad(item.done, "read needs a map of balances")
        flat = []
        for account, balance in balances.items():
            number = int(account) if isinstance(account, str) and account.isdigit() else self.names.number(account)
            flat += [number, NIL if balance is None else self.whole(item.done, balance)]
        return self.base(item, "read-all", values=flat)


class ListAppendImporter(Importer):
    """Transactions of [:append k v] and [:r k [v …]]."""

    functions = ("txn",)

    def op(self, item: Paired) -> Op:
        source = item.done if item.done is not None and item.outcome == OK else item.invoke
        if not isinstance(source.value, list | tuple):
            raise self.bad(source, "a transaction needs a list of micro-ops")
        if source is item.done and len(source.value) != len(item.invoke.value or []):
            raise self.bad(source, f"the transaction completes other micro-ops than line {item.invoke.line} invoked")
        micro: list[MicroOp] = []
        for entry in source.value:
            if not isinstance(entry, list | tuple) or len(entry) != 3 or entry[0] not in ("append", "r"):
                raise self.bad(source, "unknown micro-op", expected="[:append key value] or [:r key values]")
            kind, key, value = entry
            if kind == "append":
                micro.append((APPEND, self.names.number(key), [self.names.number(value)]))
            elif value is None:
                micro.append((READ, self.names.number(key), [] if source is item.done else None))
            else:
                micro.append((READ, self.names.number(key), self.numbers(source, value)))
        return self.base(item, "txn", values=encode_txn(micro))


class LogImporter(QueueImporter):
    """enqueue, dequeue, drain; or Jepsen's Kafka ops: [:send k [offset v]] and [:poll {k [[offset v] …]}]."""

    functions = (
        *QueueImporter.functions,
        "send",
        "poll",
        "txn",
        "assign",
        "subscribe",
        "crash",
        "debug-topic-partitions",
    )

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sessions: dict[int, int] = {}

    def ops(self, item: Paired) -> list[Op]:
        f, process = item.invoke.f, item.invoke.process
        if f in QueueImporter.functions:
            return [self.op(item)]
        if f not in ("send", "poll", "txn"):
            self.sessions[process] = self.sessions.get(process, 0) + (f != "debug-topic-partitions")
            return []
        ok = item.outcome == OK and item.done is not None
        source = item.done if ok and item.done is not None else item.invoke
        if not isinstance(source.value, list | tuple):
            raise self.bad(source, f"{f} needs a list of sends and polls")
        found: list[Op] = []
        for entry in source.value:
            if not isinstance(entry, list | tuple) or not entry or entry[0] not in ("send", "poll"):
                raise self.bad(source, "unknown micro-op", "[:send key value] or [:poll {key [[offset value] …]}]")
            if entry[0] == "send":
                found.append(self._send(item, source, entry))
            elif ok and len(entry) > 1:
                found += self._poll(item, source, entry[1])
        return found

    def _send(self, item: Paired, source: Event, entry: Any) -> Op:
        if len(entry) != 3:
            raise self.bad(source, "send needs a key and a value")
        _, key, value = entry
        offset = NIL
        if isinstance(value, list | tuple):
            if len(value) != 2:
                raise self.bad(source, "send needs [offset value]")
            offset, value = NIL if value[0] is None else self.whole(source, value[0]), value[1]
        return self.base(item, "enqueue", key, value=self.names.number(value), result=offset)

    def _poll(self, item: Paired, source: Event, polled: Any) -> list[Op]:
        if not isinstance(polled, dict):
            raise self.bad(source, "poll needs a map from key to [[offset value] …]")
        session = str(self.sessions.get(item.invoke.process, 0))
        found = []
        for key, pairs in polled.items():
            flat: list[int] = []
            for one in pairs:
                if not isinstance(one, list | tuple) or len(one) != 2:
                    raise self.bad(source, "poll needs [offset value] pairs")
                flat += [self.whole(source, one[0]), self.names.number(one[1])]
            found.append(self.base(item, "poll", key, values=flat)._replace(session=session))
        return found


IMPORTERS: Final[dict[str, Callable[[Path], Importer]]] = {
    "register": RegisterImporter,
    "mutex": MutexImporter,
    "set": SetImporter,
    "queue": QueueImporter,
    "log": LogImporter,
    "counter": CounterImporter,
    "bank": BankImporter,
    "list-append": ListAppendImporter,
}


def import_history(path: Path, importer: str, progress: Progress | None = None) -> History:
    """The history in a foreign file, for the model family `importer` (a key of IMPORTERS), or an Arrow history.

    Raises UsageError for files that are not there, are no history, or contradict themselves, naming the line.
    """
    if path.is_dir() or path.suffix == ".arrows":
        return load_history(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", expected="a history file") from None
    if raw.startswith(b"\xff\xff\xff\xff"):
        return load_history(path)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadLineError(path, line, "not UTF-8 text", expected="a history file") from None
    translate = IMPORTERS[importer](path)
    ops, timed = pair(path, read_events(path, text, progress))
    if not ops:
        raise BadLineError(path, 1, "no client op in it", expected="at least one invocation by a process")
    rows: list[Op] = []
    for item in ops:
        if item.invoke.f not in translate.functions:
            known = ", ".join(translate.functions)
            raise BadLineError(path, item.invoke.line, f"unknown function {item.invoke.f}", expected=f"one of: {known}")
        rows += translate.ops(item)
    return history_of(rows, times_known=timed)


__all__ = ["IMPORTERS", "Importer", "Paired", "import_history", "pair"]
