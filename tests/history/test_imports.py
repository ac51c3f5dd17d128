"""Foreign histories: what is read from each format, and errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steadyset.errors import UsageError
from steadyset.history import FAIL, INFO, NIL, OK
from steadyset.history.edn import EdnError, read_forms, read_one
from steadyset.history.imports import import_history

EVENTS = [
    {"type": "invoke", "f": "write", "value": 3, "process": 0, "time": 100},
    {"type": "invoke", "f": "cas", "value": [3, 4], "process": 1, "time": 110},
    {"type": "info", "f": "start-partition", "process": "nemesis", "time": 115},
    {"type": "ok", "f": "write", "value": 3, "process": 0, "time": 120},
    {"type": "fail", "f": "cas", "value": [3, 4], "process": 1, "time": 130},
    {"type": "invoke", "f": "read", "value": None, "process": 0, "time": 140},
    {"type": "info", "f": "read", "value": None, "process": 0, "time": 150, "error": "timeout"},
    {"type": "invoke", "f": "read", "value": None, "process": 2, "time": 160},
    {"type": "ok", "f": "read", "value": 3, "process": 2, "time": 170},
]
EDN_LINES = """; a comment
{:type :invoke, :f :write, :value 3, :process 0, :time 100}
{:type :invoke :f :cas :value [3 4] :process 1 :time 110}
{:type :info, :f :start-partition, :process :nemesis, :time 115, :value #{"n1" "n2"}}
{:type :ok, :f :write, :value 3, :process 0, :time 120}
#jepsen.history.Op{:type :fail, :f :cas, :value [3 4], :process 1, :time 130}
{:type :invoke, :f :read, :value nil, :process 0, :time 140}
{:type :info, :f :read, :value nil, :process 0, :time 150, :error "timeout"}
{:type :invoke, :f :read, :value nil, :process 2, :time 160} #_ignored
{:type :ok, :f :read, :value 3, :process 2, :time 170, :extra #inst "2026-01-01"}
"""
LOG = """INFO  jepsen.core - Worker 1 starting
INFO  jepsen.util - 0\t:invoke\t:write\t3
INFO  jepsen.util - 1\t:invoke\t:cas\t[3 4]
INFO  jepsen.util - :nemesis\t:info\t:start\t"cut off"
INFO  jepsen.util - 0\t:ok\t:write\t3
INFO  jepsen.util - 1\t:fail\t:cas\t[3 4]
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 0\t:info\t:read\t:timed-out
INFO  jepsen.util - 2\t:invoke\t:read\tnil
INFO  jepsen.util - 2\t:ok\t:read\t3
"""
FORMATS = {
    "lines.json": "\n".join(map(json.dumps, EVENTS)),
    "array.json": json.dumps(EVENTS),
    "pretty.json": json.dumps(EVENTS, indent=1),
    "lines.edn": EDN_LINES,
    "vector.edn": f"[{EDN_LINES}]",
    "list.edn": f"({EDN_LINES})",
    "jepsen.log": LOG,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_ops(tmp_path: Path, name: str) -> None:
    """Goal: the same events in any format are the same ops."""
    path = tmp_path / name
    path.write_text(FORMATS[name])
    history = import_history(path, "register")
    assert history.outcome.tolist() == [OK, FAIL, INFO, OK]
    assert [history.name("f", i) for i in range(4)] == ["write", "cas", "read", "read"]
    assert history.value.tolist() == [3, 3, NIL, 3]
    assert history.value2.tolist() == [NIL, 4, NIL, NIL]
    assert (name != "jepsen.log") == history.times_known
    if history.times_known:
        assert history.start.tolist() == [100, 110, 140, 160]
        assert history.end[:2].tolist() == [120, 130]


def test_times_that_go_back_keep_the_order_of_events(tmp_path: Path) -> None:
    """Goal: the order of a foreign history is that of its events."""
    events = [
        {"type": "invoke", "f": "write", "value": 1, "process": 0, "time": 50},
        {"type": "ok", "f": "write", "value": 1, "process": 0, "time": 60},
        {"type": "invoke", "f": "write", "value": 2, "process": 1, "time": 55},
        {"type": "ok", "f": "write", "value": 2, "process": 1, "time": 70},
    ]
    path = tmp_path / "h.json"
    path.write_text(json.dumps(events))
    history = import_history(path, "register")
    assert history.start.tolist() == [50, 61] and history.end.tolist() == [60, 70]


W = "{:type :invoke, :f :write, :value 1, :process 0, :time 5}\n"
BAD = [
    ("truncated", W + "{:type :ok, :f :write, :val", 2, "never closed|cut short|every key"),
    ("truncated vector", "[" + W + "{:type :ok, :f :write, :value 1, :process 0}\n", 1, "never closed"),
    ("two open", W + W, 2, "is open"),
    ("never invoked", "{:type :ok, :f :write, :value 1, :process 0}\n", 1, "without having invoked"),
    ("ends first", W + "{:type :ok, :f :write, :value 1, :process 0, :time 4}\n", 2, "before it starts"),
    ("unknown type", W + "{:type :okay, :f :write, :value 1, :process 0}\n", 2, "unknown type"),
    ("unknown f", W + "{:type :invoke, :f :frob, :value 1, :process 1}\n", 2, "unknown function frob"),
    ("other f", W + "{:type :ok, :f :read, :value 1, :process 0}\n", 2, "invoked write"),
    ("bad cas", "{:type :invoke, :f :cas, :value 1, :process 1}\n", 1, "cas needs"),
    ("no process", W + "{:type :ok, :f :write, :value 1}\n", 2, "no process"),
    ("no map", W + "42\n", 2, "not an event"),
    ("bad time", '{:type :invoke, :f :write, :value 1, :process 0, :time "now"}\n', 1, "time"),
    ("stray bracket", W + "}\n", 2, "closes nothing"),
    ("json cut", '{"type": "invoke", "f": "write", "value": 1, "process": 0}\n{"type": "ok", "f"', 2, "not JSON"),
    ("array cut", '[{"type": "invoke", "f": "read", "process": 0},\n{"type": "ok"', 2, "not JSON"),
    ("log cut", "INFO  jepsen.util - 0\t:invoke\t:write\t3\nINFO  jepsen.util - 0\t:ok\t:wri", 2, "no value|cut short"),
    (
        "log value cut",
        "INFO  jepsen.util - 0\t:invoke\t:cas\t[3 4]\nINFO  jepsen.util - 0\t:ok\t:cas\t[3 \n",
        2,
        "closed|closes",
    ),
    ("log type", "INFO  jepsen.util - 0\t:invok\t:write\t3\n", 1, "unknown type"),
    ("log shape", "INFO  jepsen.util - 0\t:invoke\t:write\t3\nINFO  jepsen.util - 0 ok\n", 2, "not an event"),
    ("no history", "hello\nworld\n", 1, "not a history"),
    ("nothing", "", 1, "not a history|no client op"),
    ("only nemesis", "{:type :info, :f :kill, :process :nemesis}\n", 1, "no client op"),
]


@pytest.mark.parametrize(("name", "text", "line", "what"), BAD, ids=[case[0] for case in BAD])
def test_bad_input_names_the_line(tmp_path: Path, name: str, text: str, line: int, what: str) -> None:
    """Goal: what cannot be judged is an error naming the line, never a verdict."""
    path = tmp_path / f"{name}.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match=what) as caught:
        import_history(path, "register")
    assert f"line {line}:" in str(caught.value)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    """Goal: bytes that are no text, and files that are not there, are errors."""
    path = tmp_path / "x"
    path.write_bytes(b"{:type :invoke\n\xff\xfe}")
    with pytest.raises(UsageError, match="line 2: not UTF-8"):
        import_history(path, "register")
    with pytest.raises(UsageError, match="cannot read"):
        import_history(tmp_path / "absent", "register")


def test_edn_values() -> None:
    """Goal: every kind of EDN value is read."""
    text = r'{:a [1 -2 3N 1.5 2e3 1.5M], "b\n\"" (nil true false sym), :c #{1}, [1 2] \newline, :d #_ 5 #x/y {:z \a}}'
    forms = [form for _, form in read_forms(text)]
    assert forms == [
        {
            "a": [1, -2, 3, 1.5, 2000.0, 1.5],
            'b\n"': [None, True, False, "sym"],
            "c": [1],
            (1, 2): "newline",
            "d": {"z": "a"},
        }
    ]
    assert read_one("#jepsen.independent/tuple [1 2]") == (1, 2)
    for bad in ("[1", "{1}", "1 2", "", '"abc', "#_"):
        with pytest.raises(EdnError):
            read_one(bad)


def test_independent_keys_and_kafka(tmp_path: Path) -> None:
    """Goal: independent tuples give keys; Kafka's sends and polls give offsets."""
    path = tmp_path / "h.edn"
    tuple_ = "#jepsen.independent/tuple"
    path.write_text(
        f"{{:type :invoke :f :write :value {tuple_} [7 1] :process 0}}\n"
        f"{{:type :ok :f :write :value {tuple_} [7 1] :process 0}}\n"
        f"{{:type :invoke :f :read :value {tuple_} [7 nil] :process 0}}\n"
        f"{{:type :ok :f :read :value {tuple_} [7 1] :process 0}}"
    )
    history = import_history(path, "register")
    assert [history.name("key", i) for i in range(2)] == ["7", "7"] and history.value.tolist() == [1, 1]
    path.write_text(
        "{:type :invoke :f :send :value [[:send 0 5]] :process 0}\n"
        "{:type :ok :f :send :value [[:send 0 [3 5]]] :process 0}\n"
        "{:type :invoke :f :poll :value [[:poll]] :process 1}\n"
        "{:type :ok :f :poll :value [[:poll {0 [[3 5]]}]] :process 1}"
    )
    history = import_history(path, "log")
    assert [history.name("f", i) for i in range(2)] == ["enqueue", "poll"]
    assert history.result[0] == 3 and history.values(1).tolist() == [3, 5]


@pytest.mark.parametrize("name", ["lines.json", "lines.edn", "jepsen.log"])
def test_every_cut_is_an_error_or_ends_a_line(tmp_path: Path, name: str) -> None:
    """Goal: a file cut within a line is an error; one cut after a line is the shorter history."""
    whole = FORMATS[name].replace(" #_ignored", "").rstrip("\n") + "\n"
    path = tmp_path / name
    errors = 0
    for length in range(len(whole)):
        path.write_text(whole[:length])
        try:
            history = import_history(path, "register")
        except UsageError as error:
            assert "line " in str(error)
            errors += 1
            continue
        tail = whole[length : length + 1]
        assert whole[length - 1] in "\n}" or tail in "\n #,", f"cut at {length} gave {len(history)} ops"
    assert errors > len(whole) // 2


def test_a_reason_in_place_of_a_value_is_an_error_text(tmp_path: Path) -> None:
    """Goal: `:fail :cas :timed-out` says nothing about the register: no constraint comes from it."""
    path = tmp_path / "h.log"
    path.write_text("INFO  jepsen.util - 0\t:invoke\t:cas\t[1 2]\nINFO  jepsen.util - 0\t:fail\t:cas\t:timed-out\n")
    history = import_history(path, "register")
    assert (history.outcome[0], history.name("error", 0)) == (FAIL, "timed-out")
