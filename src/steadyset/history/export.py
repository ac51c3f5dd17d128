"""A history as Jepsen's events, in EDN or JSON lines, for other people's checkers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from steadyset.errors import UsageError
from steadyset.history.columns import FAIL, FOREVER, INFO, NIL, OK, History
from steadyset.history.txn import APPEND, decode_txn

_TYPES: Final = {OK: "ok", FAIL: "fail", INFO: "info"}
_NAMES: Final = {"read-all": "read"}  # Jepsen's word for it
SUFFIXES: Final = (".edn", ".json", ".jsonl")


def check_suffix(path: Path) -> None:
    """UsageError for a file name that says no format."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"cannot export to {path}", expected=f"a file name that ends in {', '.join(SUFFIXES)}")


def export_history(history: History, path: Path) -> None:
    """Write `history` to `path` as Jepsen events, EDN or JSON lines by its suffix. UsageError for another suffix.

    `server`, `epoch`, `session`, `key` and a refused cas's `result` become fields of their own. A process whose
    op stayed unknown goes on under a new number, as in Jepsen.
    """
    check_suffix(path)
    edn = path.suffix == ".edn"
    with path.open("w") as file:
        for event in events_of(history):
            file.write((_edn(event) if edn else msgspec.json.encode(event).decode()) + "\n")


def events_of(history: History) -> Iterator[dict[str, Any]]:
    """Jepsen's events in order of time; of one instant, invocations come first unless their process was busy."""
    order: list[tuple[int, int, int, bool]] = []
    process = history.process.astype(np.int64)
    next_process = int(process.max()) + 1 if len(process) else 0
    renamed: dict[int, int] = {}
    names = np.zeros(len(history), dtype=np.int64)
    free_at: dict[int, int] = {}
    known = history.end[history.end < FOREVER]
    last = max(int(known.max(initial=0)), int(history.start.max(initial=0)))  # when the unknown ones are given up
    for i in np.argsort(history.start, kind="stable").tolist():
        mine = renamed.get(int(process[i]), int(process[i]))
        start, end = int(history.start[i]), int(history.end[i])
        names[i] = mine
        order.append((start, 2 if free_at.get(mine) == start else 0, i, True))
        if end < FOREVER:
            order.append((end, 1 if end > start else 3, i, False))
            free_at[mine] = end
        else:
            order.append((last, 4, i, False))
            renamed[int(process[i])] = next_process
            next_process += 1
    for time, _, i, is_invoke in sorted(order):
        yield _event(history, i, int(names[i]), time, is_invoke)


def _event(history: History, i: int, process: int, time: int, is_invoke: bool) -> dict[str, Any]:
    f, outcome = history.name("f", i), int(history.outcome[i])
    event: dict[str, Any] = {
        "type": "invoke" if is_invoke else _TYPES[outcome],
        "f": _NAMES.get(f, f),
        "value": _value(history, i, f, answered=not is_invoke and outcome == OK),
        "process": process,
        "time": time,
    }
    named = {"key": history.name("key", i), "session": history.name("session", i)}
    if not is_invoke:
        named |= {"server": history.name("server", i), "error": history.name("error", i)}
        if history.epoch[i] >= 0:
            event["epoch"] = int(history.epoch[i])
        if (f == "cas" and outcome == FAIL) or f == "inc":
            event["result"] = _number(history.result[i])
    return event | {name: text for name, text in named.items() if text}


def _number(value: Any) -> int | None:
    return None if value == NIL else int(value)


def _value(history: History, i: int, f: str, *, answered: bool) -> Any:
    values = history.values(i).tolist()
    if f == "txn":
        micro = decode_txn(values)
        return [
            ["append", key, given[0] if given else None] if kind == APPEND else ["r", key, given if answered else None]
            for kind, key, given in micro
        ]
    if f == "transfer":
        return dict(zip(("from", "to", "amount"), values, strict=True))
    if f in ("read-all", "drain", "poll"):
        return values if answered else None
    if f == "cas":
        return [_number(history.value[i]), _number(history.value2[i])]
    if f in ("read", "dequeue") and not answered:
        return None
    return _number(history.value[i])


def _edn(value: Any, key: str = "") -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f":{name} {_edn(item, name)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + " ".join(_edn(item) for item in value) + "]"
    if isinstance(value, str):
        bare = key in ("type", "f", "") and value.replace("-", "").isalnum()
        return f":{value}" if bare else msgspec.json.encode(value).decode()
    return "nil" if value is None else str(value)
