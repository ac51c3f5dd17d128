"""Every model of `check` on every format it reads: the same verdict, and the same harm by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from steadyset.cli.check import MODELS, command
from steadyset.history import FAIL, INFO, OK, HistoryWriter
from steadyset.history.imports import import_history

Done = tuple[str, Any, Any]  # f, asked, said

TRANSFER = ("transfer", {"from": 0, "to": 1, "amount": 3}, {"from": 0, "to": 1, "amount": 3})
APPENDS: list[Done] = [
    ("txn", [["append", 1, value], ["r", 1, None]], [["append", 1, value], ["r", 1, read]])
    for value, read in ((1, [1]), (2, [1, 2]))
]
W1, W2 = ("write", 1, 1), ("write", 2, 2)
ADDS: list[Done] = [("add", 1, 1), ("add", 2, 2)]
PUTS: list[Done] = [("enqueue", 1, 1), ("enqueue", 2, 2)]
SENT: list[Done] = [("send", [["send", 5, value]], [["send", 5, [value, value]]]) for value in (1, 2)]
# model -> a history that is right, one that is not, and what is wrong with it
HISTORIES: dict[str, tuple[list[Done], list[Done], str]] = {
    "register": ([W1, W2, ("read", None, 2)], [W1, W2, ("read", None, 1)], "stale"),
    "cas-register": (
        [W1, ("cas", [1, 2], [1, 2]), ("read", None, 2)],
        [W1, ("cas", [1, 2], [1, 2]), ("read", None, 1)],
        "misordered",
    ),
    "mutex": (
        [("acquire", None, None), ("release", None, None), ("acquire", None, None)],
        [("acquire", None, None), ("acquire", None, None)],
        "hold",
    ),
    "set": ([*ADDS, ("read", None, [1, 2])], [*ADDS, ("read", None, [2])], "lost"),
    "set-full": ([*ADDS, ("read", None, [1, 2])], [*ADDS, ("read", None, [2])], "lost"),
    "queue": (
        [*PUTS, ("dequeue", None, 1), ("dequeue", None, 2)],
        [*PUTS, ("dequeue", None, 2), ("dequeue", None, 1)],
        "reordered",
    ),
    "log": (
        [*SENT, ("poll", [["poll"]], [["poll", {"5": [[1, 1], [2, 2]]}]])],
        [*SENT, ("poll", [["poll"]], [["poll", {"5": [[2, 2]]}]])],
        "lost",
    ),
    "counter": ([("add", 2, 2), ("read", None, 2)], [("add", 2, 2), ("read", None, 5)], "phantom"),
    "list-append": (APPENDS, [*APPENDS, ("txn", [["r", 1, None]], [["r", 1, [2, 1]]])], "incompatible"),
    "bank": (
        [("read", None, {"0": 5, "1": 5}), TRANSFER, ("read", None, {"0": 2, "1": 8})],
        [("read", None, {"0": 5, "1": 5}), TRANSFER, ("read", None, {"0": 2, "1": 5})],
        "wrong total",
    ),
}


def events(ops: list[Done]) -> list[dict[str, Any]]:
    """One op after the other, each by a process of its own."""
    return [
        {"type": type_, "f": f, "value": value, "process": number, "time": 10 * number + (type_ == "ok")}
        for number, (f, asked, said) in enumerate(ops)
        for type_, value in (("invoke", asked), ("ok", said))
    ]


def edn(value: Any) -> str:
    """As Clojure prints it; words are keywords and maps of accounts or keys have numbers."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{edn(k)} {edn(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + " ".join(map(edn, value)) + "]"
    if isinstance(value, str):
        return value if value.isdigit() else f":{value}"
    return "nil" if value is None else str(value)


def arrow(ops: list[Done], model: str, path: Path) -> None:
    """The same ops as our recorder writes them."""
    source = path.with_suffix(".json")
    source.write_text(json.dumps(events(ops)))
    history = import_history(source, MODELS[model][0])
    outcome = {OK: "ok", FAIL: "fail", INFO: "info"}
    with HistoryWriter(path) as writer:
        for i in range(len(history)):
            f, key, session = (history.name(column, i) for column in ("f", "key", "session"))
            value, value2, result = (int(column[i]) for column in (history.value, history.value2, history.result))
            values = history.values(i).tolist() if history.has_values(i) else None
            asks = f in ("enqueue", "add", "write", "cas", "inc")
            op = writer.invoke(int(history.process[i]), f, key, value if asks else None, value2, session)
            said = result if asks else value
            writer.complete(op, outcome[int(history.outcome[i])], said, values)


def write(ops: list[Done], form: str, model: str, folder: Path) -> Path:
    """The history in a file of the format `form`."""
    path = folder / {"edn": "h.edn", "json": "h.json", "json lines": "h.jsonl", "log": "jepsen.log"}.get(
        form, "h.arrows"
    )
    if form == "arrow":
        arrow(ops, model, path)
    elif form == "json":
        path.write_text(json.dumps(events(ops)))
    elif form == "json lines":
        path.write_text("".join(json.dumps(event) + "\n" for event in events(ops)))
    elif form == "edn":
        path.write_text("".join(edn(event) + "\n" for event in events(ops)))
    else:
        path.write_text(
            "".join(
                f"INFO  jepsen.util - {e['process']}\t:{e['type']}\t:{e['f']}\t{edn(e['value'])}\n" for e in events(ops)
            )
        )
    return path


@pytest.mark.parametrize("form", ["edn", "json", "json lines", "log", "arrow"])
@pytest.mark.parametrize("model", MODELS)
def test_the_verdict_does_not_depend_on_the_format(tmp_path: Path, model: str, form: str) -> None:
    """Goal: each model's right history passes, its wrong one fails with the harm named, in every format."""
    good, bad, harm = HISTORIES[model]
    for ops, code in ((good, 0), (bad, 1)):
        path = write(ops, form, model, tmp_path)
        done = CliRunner().invoke(command, [str(path), "--model", model, "--json"], standalone_mode=False)
        assert done.return_value == code or getattr(done.exception, "code", None) == code, done.output
        found = json.loads(done.stdout)
        assert found["verdict"] == ("PASS" if code == 0 else "FAIL")
        assert code == 0 or harm in json.dumps(found).lower(), found
        path.unlink()
