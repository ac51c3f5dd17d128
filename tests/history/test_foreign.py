"""What other people's files look like: Jepsen's and elle-cli's variants, and what must be refused with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from steadyset.cli.check import judge_file
from steadyset.errors import UsageError

Row = tuple[str, str, str, int]


def edn(rows: list[Row], before: str = "{", after: str = "}", fields: str = ":time {0}, :index {0}") -> str:
    """Rows of type, f, value, process as Jepsen prints them."""
    return "".join(
        f"{before}:type :{type_}, :f :{f}, :value {value}, :process {process}, {fields.format(n)}{after}\n"
        for n, (type_, f, value, process) in enumerate(rows)
    )


def done(*ops: tuple[str, str, str, int]) -> list[Row]:
    """Ops (f, asked, said, process) one after the other."""
    return [row for f, asked, said, p in ops for row in (("invoke", f, asked, p), ("ok", f, said, p))]


GOOD = done(("write", "1", "1", 0), ("read", "nil", "1", 1))
STALE = done(("write", "1", "1", 0), ("write", "2", "2", 0), ("read", "nil", "1", 1))
EVENTS: list[dict[str, Any]] = [
    {"type": t, "f": f, "value": None if v == "nil" else int(v), "process": p} for t, f, v, p in GOOD
]
NEMESIS = '{:type :info, :f :start, :value {"n1" #{"n2"}}, :process :nemesis, :time 1}\n'
LOGGED = "".join(f"{p}\t:{t}\t:{f}\t{v}\n" for t, f, v, p in GOOD)
READABLE = {
    "plain": edn(GOOD),
    "no time, no index": edn(GOOD, fields=""),
    "vector": f"[{edn(GOOD)}]",
    "list": f"({edn(GOOD)})",
    "jepsen.history.Op": edn(GOOD, before="#jepsen.history.Op{"),
    "knossos.op.Op in a vector": f"[{edn(GOOD, before='#knossos.op.Op{')}]",
    "nemesis": NEMESIS + edn(GOOD) + NEMESIS,
    "nemesis that invokes": "{:type :invoke, :f :kill, :process :nemesis, :time 1.5}\n" + edn(GOOD),
    "byte-order mark": "\ufeff" + edn(GOOD),
    "carriage returns": edn(GOOD).replace("\n", "\r\n"),
    "strings": edn(GOOD).replace(" :write", ' "write"').replace(" :read", ' "read"').replace(" :ok", ' "ok"'),
    "no processes": edn(GOOD).replace(", :process 0", "").replace(", :process 1", ""),
    "nil times": edn(GOOD, fields=":time nil"),
    "JSON lines": "\n".join(map(json.dumps, EVENTS)),
    "JSON array": json.dumps(EVENTS, indent=2),
    "JSON objects over lines": "\n".join(json.dumps(event, indent=2) for event in EVENTS),
    "JSON keywords": json.dumps([{f":{k}": f":{v}" if k in "type f" else v for k, v in e.items()} for e in EVENTS]),
    "JSON named processes": json.dumps([{**e, "process": f"client-{e['process']}"} for e in EVENTS]),
    "JSON times as floats": json.dumps([{**e, "time": float(n)} for n, e in enumerate(EVENTS)]),
    "old log": "".join(f"INFO  jepsen.util - {line}\n" for line in LOGGED.splitlines()),
    "new log": "".join(f"2026-01-01 10:00\tINFO\t[jepsen worker 0] jepsen.util: {s}\n" for s in LOGGED.splitlines()),
    "history.txt": LOGGED,
    "history.txt with errors": LOGGED + "2\t:invoke\t:write\t9\n2\t:fail\t:write\t9\tconn refused (timeout)\n",
}


@pytest.mark.parametrize("name", READABLE)
def test_variants_are_read(tmp_path: Path, name: str) -> None:
    """Goal: each of these is the same good history."""
    path = tmp_path / "history"
    path.write_text(READABLE[name])
    history, judgement = judge_file(path, "register")
    assert judgement.verdict == "PASS", judgement.summary
    assert history.value[:2].tolist() == [1, 1]


TUPLES = {
    "register": (done(("write", "[3 1]", "[3 1]", 0), ("read", "[3 nil]", "[3 1]", 1)), "PASS"),
    "register two keys": (done(("write", "[3 1]", "[3 1]", 0), ("read", "[4 nil]", "[4 1]", 1)), "FAIL"),
    "cas-register": (done(("write", "[7 1]", "[7 1]", 0), ("cas", "[7 [1 2]]", "[7 [1 2]]", 1)), "PASS"),
    "mutex": (done(("acquire", "[1 nil]", "[1 nil]", 0), ("acquire", "[2 nil]", "[2 nil]", 1)), "PASS"),
    "set": (done(("add", "[0 1]", "[0 1]", 0), ("read", "[0 nil]", "[0 #{1}]", 0)), "PASS"),
    "set-full": (done(("add", "[0 1]", "[0 1]", 0), ("read", "[0 nil]", "[0 #{}]", 0)), "FAIL"),
    "set of vectors": (done(("add", "[0 1]", "[0 1]", 0), ("read", "nil", "[[0 1]]", 0)), "PASS"),
    "queue": (done(("enqueue", "[1 5]", "[1 5]", 0), ("dequeue", "[1 nil]", "[1 5]", 0)), "PASS"),
    "counter": (done(("add", "[1 5]", "[1 5]", 0), ("read", "[2 nil]", "[2 5]", 0)), "FAIL"),
}


@pytest.mark.parametrize("name", TUPLES)
def test_printed_independent_tuples(tmp_path: Path, name: str) -> None:
    """Goal: `[key value]` all over a file is a key and a value, as Jepsen prints its tuples; those of a set are not."""
    rows, verdict = TUPLES[name]
    path = tmp_path / "history.edn"
    path.write_text(edn(rows))
    assert judge_file(path, name.split(maxsplit=1)[0])[1].verdict == verdict


W = ("invoke", "write", "1", 0)
REFUSED = [
    ("register", edn([W, ("ok", "write", "2", 0)]), 2, "another write"),
    ("register", edn([W, ("ok", "write", "1", 0)], fields=":time -{0}"), 2, "before it starts"),
    ("register", edn([W], fields=":time 99999999999999999999"), 1, "time"),
    ("register", edn([("invoke", "write", "1", 2**31)]), 1, "process"),
    ("register", '{"type": "invoke", "f": "write", "value": NaN, "process": 0}\n', 1, "no JSON"),
    ("register", '{"history": [\n]}\n', 1, "unknown type"),
    ("register", "[" * 5000 + "]" * 5000, 1, "not an event"),
    ("register", "{:type :invoke :f :write :process 0 :value " + "[" * 5000 + "]" * 5000 + "}", 1, "one value"),
    ("set", "{:type :invoke :f :add :process 0 :value " + "[" * 5000 + "]" * 5000 + "}", 1, "too deeply"),
    ("register", '{"type": "invoke", "f": "write", "process": 0, "value": ' + "[" * 5000 + "]" * 5000, 1, "not JSON"),
    ("register", edn(done(("write", "9" * 6000, "9" * 6000, 0))), 1, "digits"),
    ("register", '{"type": "invoke", "process": 0, "value": 1}\n', 1, "no function"),
    ("register", "0\t:invoke\t:write\t1\nno event\n", 2, "not an event"),
    ("register", edn(done(("read", "nil", "[1 2]", 0))), 2, "one value"),
    ("register", edn(done(("write", "[1 5]", "[2 5]", 0))), 2, "another write"),
    ("counter", edn(done(("add", "9" * 30, "9" * 30, 0))), 1, "whole number"),
    ("bank", edn(done(("read", "nil", f"{{0 {'9' * 30}}}", 0))), 2, "whole number"),
    ("bank", edn(done(("read", "nil", "[1 2]", 0))), 2, "map of balances"),
    ("log", edn(done(("poll", "[[:poll]]", "[[:poll {0 5}]]", 0))), 2, "pairs"),
    ("list-append", edn(done(("txn", "[[:w :x 2]]", "[[:w :x 2]]", 0))), 2, "unknown micro-op"),
    ("list-append", edn(done(("txn", "[[:append 1 1]]", "[[:append 1 2]]", 0))), 2, "other micro-ops"),
    *((model, edn(GOOD), 1, "unknown function write") for model in ("mutex", "set", "queue", "log", "counter", "bank")),
    *((model, edn(done(("add", "1", "1", 0))), 1, "unknown function add") for model in ("register", "list-append")),
    *((model, "", 1, "not a history") for model in ("register", "mutex", "set-full", "queue", "log", "counter")),
]


@pytest.mark.parametrize(("model", "text", "line", "what"), REFUSED)
def test_refused_with_its_line(tmp_path: Path, model: str, text: str, line: int, what: str) -> None:
    """Goal: what cannot be judged by the model is an error that names the line, never a verdict or a traceback."""
    path = tmp_path / "history"
    path.write_text(text)
    with pytest.raises(UsageError, match=what) as caught:
        judge_file(path, model)
    assert f"line {line}:" in str(caught.value)


def test_nothing_is_passed_on_nothing(tmp_path: Path) -> None:
    """Goal: reads of no accounts, no final read, and writes nobody knows of prove nothing."""
    path = tmp_path / "history.edn"
    for model, rows in (
        ("bank", done(("read", "nil", "{}", 0))),
        ("set", done(("add", "1", "1", 0))),
        ("register", [W, ("info", "write", "1", 0)]),
        ("list-append", done(("txn", "[[:append 1 1]]", "[[:append 1 1]]", 0))),
    ):
        path.write_text(edn(rows))
        assert judge_file(path, model)[1].verdict == "INVALID", model


def test_a_transaction_that_reads_its_own_future(tmp_path: Path) -> None:
    """Goal: a read of what the same transaction appends only later is found (Elle's future read)."""
    path = tmp_path / "history.edn"
    path.write_text(edn(done(("txn", "[[:r 1 nil] [:append 1 1]]", "[[:r 1 [1]] [:append 1 1]]", 0))))
    judgement = judge_file(path, "list-append")[1]
    assert (judgement.verdict, judgement.data["kind"]) == ("FAIL", "internal")
