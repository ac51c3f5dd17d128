"""Foreign histories: each model's values put into columns."""

from __future__ import annotations

import gc
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from steadyset.errors import UsageError
from steadyset.history.columns import FAIL, NIL, OK, History, Op, history_of
from steadyset.history.events import BadLineError, Event, Progress, read_events
from steadyset.history.pairing import Paired, Pairing, has_keys, split_key
from steadyset.history.reader import load_history
from steadyset.history.txn import APPEND, READ, MicroOp, decode_txn, encode_txn

_WHOLE_MAX: Final = 2**53


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
    """One model's translation of ops; subclasses say which functions they know, here and in recorded histories."""

    functions: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    keyed = True  # values may be Jepsen's independent tuples

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = _Names()

    def bad(self, event: Event, what: str, expected: str = "") -> BadLineError:
        """An error naming the event's line."""
        return BadLineError(self.path, event.line, what, expected=expected, seen=reprlib.repr(event.value))

    def numbers(self, event: Event, value: Any) -> list[int]:
        """A list of values; an error when it is none."""
        if not isinstance(value, list | tuple):
            raise self.bad(event, f"{event.f} needs a list")
        return [self.names.number(item) for item in value]

    def whole(self, event: Event, value: Any) -> int:
        """A whole number; an error when it is none, or too large to be added up."""
        if not isinstance(value, int) or isinstance(value, bool) or not -_WHOLE_MAX < value < _WHOLE_MAX:
            raise self.bad(event, f"{event.f} needs a whole number below 2^53")
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
            key = item.key if item.key is not None else asked.get("key")
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


class RegisterImporter(Importer):
    """read, write v, cas [from to]."""

    functions = recorded = ("read", "write", "cas")

    def op(self, item: Paired) -> Op:
        f, invoke, done = item.invoke.f, item.invoke, item.done
        asked = invoke.value
        if f == "read":
            if item.outcome != OK or done is None:
                return self.base(item, f)
            if isinstance(done.value, list | tuple | dict):
                raise self.bad(done, "a register's read needs one value")
            return self.base(item, f, value=self.names.number(done.value))
        if f == "write":
            if isinstance(asked, list | tuple | dict) or asked is None:
                raise self.bad(invoke, "a register's write needs one value")
            return self.base(item, f, value=self.names.number(asked))
        if not isinstance(asked, list | tuple) or len(asked) != 2:
            raise self.bad(invoke, "cas needs [expected new]")
        pair_ = {"value": self.names.number(asked[0]), "value2": self.names.number(asked[1])}
        refused = done is not None and item.outcome == FAIL and "result" in done.fields
        result = self.names.number(done.fields["result"]) if refused and done is not None else NIL
        return self.base(item, f, **pair_, result=result)


class MutexImporter(Importer):
    """acquire and release."""

    functions = recorded = ("acquire", "release")

    def op(self, item: Paired) -> Op:
        return self.base(item, item.invoke.f)


class SetImporter(Importer):
    """add v, read -> the whole set."""

    functions = ("add", "read", "read-all")
    recorded = ("add", "read-all")

    def op(self, item: Paired) -> Op:
        if item.invoke.f == "add":
            if item.invoke.value is None:
                raise self.bad(item.invoke, "add needs a value")
            return self.base(item, "add", value=self.names.number(item.invoke.value))
        if item.outcome != OK or item.done is None:
            return self.base(item, "read-all")
        return self.base(item, "read-all", values=self.numbers(item.done, item.done.value))


class QueueImporter(Importer):
    """enqueue v, dequeue -> v, drain -> every value left."""

    functions: tuple[str, ...] = ("enqueue", "dequeue", "drain")
    recorded: tuple[str, ...] = functions

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
    recorded = ("inc", "read")

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
    recorded = ("transfer", "read-all")
    keyed = False

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

    functions = recorded = ("txn",)
    keyed = False

    def op(self, item: Paired) -> Op:
        source = item.done if item.done is not None and item.outcome == OK else item.invoke
        if not isinstance(source.value, list | tuple):
            raise self.bad(source, "a transaction needs a list of micro-ops")
        if source is item.done and _asked(source.value) != _asked(item.invoke.value):
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


def _asked(micro: Any) -> list[Any]:
    """What a transaction's micro-ops ask for: all of them but what reads return."""
    if not isinstance(micro, list | tuple):
        return [micro]
    return [list(op[: 2 if op[:1] in (["r"], ("r",)) else 3]) if isinstance(op, list | tuple) else op for op in micro]


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
    recorded = (*QueueImporter.functions, "poll")
    keyed = False

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
            if not isinstance(pairs, list | tuple):
                raise self.bad(source, "poll needs [offset value] pairs")
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
    translate = IMPORTERS[importer](path)
    if path.is_dir() or path.suffix == ".arrows":
        return _recorded(path, translate)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", expected="a history file") from None
    if raw.startswith(b"\xff\xff\xff\xff"):
        return _recorded(path, translate)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        packed = raw.startswith(b"\x1f\x8b")
        what = "packed by gzip: unpack it first" if packed else "not UTF-8 text"
        raise BadLineError(path, line, what, expected="a history file") from None
    del raw
    with _uncollected():
        pairing = Pairing(path)
        found: list[list[Op]] = []
        for item in _keyed(path, translate, pairing.pairs(read_events(path, text, progress))):
            if item.invoke.f not in translate.functions:
                what, known = f"unknown function {item.invoke.f}", f"one of: {', '.join(translate.functions)}"
                if "f" not in item.invoke.fields:
                    what = "the event has no function (f)"
                raise BadLineError(path, item.invoke.line, what, expected=known)
            found += ([] for _ in range(item.at + 1 - len(found)))
            try:
                found[item.at] = translate.ops(item)
            except RecursionError:
                raise BadLineError(path, item.invoke.line, "values nested too deeply") from None
        if not found:
            raise BadLineError(path, 1, "no client op in it", expected="at least one invocation by a process")
        return history_of([op for ops in found for op in ops], times_known=pairing.timed)


def _keyed(path: Path, translate: Importer, items: Iterator[Paired]) -> Iterator[Paired]:
    """`items`, with the keys of independent tuples taken off. Printed, those look like vectors: the file tells."""
    first = next(items, None)
    if first is None:
        return
    if not translate.keyed or not isinstance(first.invoke.value, list):
        for item in chain([first], items):
            yield split_key(path, item) if isinstance(item.invoke.value, tuple) else item
        return
    every = [first, *items]
    if has_keys(every):
        every = [split_key(path, item) for item in every]
    yield from every


def _recorded(path: Path, translate: Importer) -> History:
    """A history of ours; UsageError when none of its ops is of the model, or one carries what it cannot."""
    history = load_history(path)
    mine = np.flatnonzero(history.is_f(*translate.recorded))
    if len(history) and not len(mine):
        seen = ", ".join(sorted(set(history.names["f"])))
        raise UsageError(f"{path}: no op of this model in it", expected=", ".join(translate.recorded), seen=seen)
    for i in mine[history.list_end[mine] >= 0].tolist():
        f, values = history.name("f", i), history.values(i).tolist()
        try:
            if f == "txn":
                decode_txn(values)
            even = f == "poll" or (f == "read-all" and "transfer" in translate.recorded)
            if (f == "transfer" and len(values) != 3) or (even and len(values) % 2):
                raise ValueError(f"{len(values)} values")
        except ValueError as error:
            raise UsageError(f"{path}: op {i} carries no {f}: {error}", expected="see docs/ARCHITECTURE.md") from None
    return history


@contextmanager
def _uncollected() -> Iterator[None]:
    """Millions of small objects, none of them in cycles: the cyclic collector would only walk them again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


__all__ = ["IMPORTERS", "Importer", "import_history"]
