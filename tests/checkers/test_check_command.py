"""`steadyset check`: exit codes, JSON, the picture, errors that name the line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from steadyset.cli.check import MODELS
from steadyset.history import HistoryWriter

STALE = """{:type :invoke, :f :write, :value 1, :process 0, :time 1000000000}
{:type :ok, :f :write, :value 1, :process 0, :time 2000000000}
{:type :invoke, :f :read, :process 1, :time 3000000000}
{:type :ok, :f :read, :value %s, :process 1, :time 4000000000}
"""


def _check(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "steadyset", "check", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_exit_codes_and_json(tmp_path: Path) -> None:
    """Goal: 0 for PASS, 1 for FAIL with a witness and its picture, and stdout is nothing but JSON."""
    path, picture = tmp_path / "h.edn", tmp_path / "w.svg"
    path.write_text(STALE % 1)
    good = _check(path, "--model", "register", "--json")
    assert (good.returncode, json.loads(good.stdout)["verdict"]) == (0, "PASS")
    path.write_text(STALE % "nil")
    bad = _check(path, "--model", "cas-register", "--json", "--svg", picture)
    judged = json.loads(bad.stdout)
    assert (bad.returncode, judged["verdict"], bad.stderr) == (1, "FAIL", "")
    assert any("write 1" in line for line in judged["witness"])
    text = "".join(ElementTree.parse(picture).getroot().itertext())
    assert "write 1" in text and "read nil" in text


def test_unknown_and_bad_input(tmp_path: Path) -> None:
    """Goal: 3 when nothing was shown, 2 for bad input (naming the line), an absent file, an unknown model."""
    path = tmp_path / "h.edn"
    path.write_text("{:type :invoke, :f :read, :process 1}\n")
    assert _check(path, "--model", "register").returncode == 3
    path.write_text(STALE % 1 + "{:type")
    cut = _check(path, "--model", "register")
    assert cut.returncode == 2 and "line 5" in cut.stderr and cut.stdout == ""
    assert _check(tmp_path / "absent", "--model", "register").returncode == 2
    assert _check(path, "--model", "nope").returncode == 2


def test_outputs_that_cannot_be_written_are_refused_first(tmp_path: Path) -> None:
    """Goal: a folder that is not there and a suffix of no format are usage errors, before anything is judged."""
    path = tmp_path / "h.edn"
    path.write_text(STALE % 1)
    for output in (["--svg", tmp_path / "none" / "w.svg"], ["--export", tmp_path / "h.txt"]):
        refused = _check(path, "--model", "register", *output)
        assert (refused.returncode, refused.stdout) == (2, "") and "cannot" in refused.stderr


def test_unknown_outcomes_are_explained(tmp_path: Path) -> None:
    """Goal: how many ops of unknown outcome there were, and which evidence explains how many of them."""
    path = tmp_path / "h.edn"
    unknown = "{:type :invoke, :f :write, :value %d, :process %d}\n"
    path.write_text(unknown % (7, 8) + unknown % (9, 9) + STALE % 7)
    told = _check(path, "--model", "register")
    assert "unknown outcomes: 2, 50.0% resolved: 1 by reads" in told.stdout


def test_a_recording_of_something_else_is_refused(tmp_path: Path) -> None:
    """Goal: an Arrow history without one op of the model, or with lists that are none of its, is an error."""
    with HistoryWriter(tmp_path / "g.arrows") as writer:
        writer.complete(writer.invoke(0, "add", "k", 1), "ok")
        writer.invoke(0, "txn", "", values=[0, 1])
    assert "no op of this model" in _check(tmp_path, "--model", "bank").stderr
    assert "carries no txn" in _check(tmp_path, "--model", "list-append").stderr


def test_arrow_histories(tmp_path: Path) -> None:
    """Goal: our own recordings are judged by the same command."""
    with HistoryWriter(tmp_path / "g.arrows") as writer:
        writer.complete(writer.invoke(0, "add", "k", 1), "ok")
        writer.complete(writer.invoke(0, "read-all", "k", session="final"), "ok", values=[1])
    assert _check(tmp_path, "--model", "set").returncode == 0
    assert _check(tmp_path / "g.arrows", "--model", "set-full").returncode == 0


ONE_OF_EACH = {
    "register": [("write", 1, 1), ("read", None, 1)],
    "cas-register": [("write", 1, 1), ("cas", [1, 2], [1, 2]), ("read", None, 2)],
    "mutex": [("acquire", None, None), ("release", None, None)],
    "set": [("add", 1, 1), ("read", None, [1])],
    "set-full": [("add", 1, 1), ("read", None, [1])],
    "queue": [("enqueue", 1, 1), ("enqueue", 2, 2), ("dequeue", None, 1), ("drain", None, [2])],
    "log": [("enqueue", 1, 1), ("enqueue", 2, 2), ("dequeue", None, 1), ("drain", None, [2])],
    "counter": [("add", 2, 2), ("read", None, 2)],
    "list-append": [("txn", [["append", 1, 5]], [["append", 1, 5]]), ("txn", [["r", 1, None]], [["r", 1, [5]]])],
    "bank": [("transfer", {"from": 0, "to": 1, "amount": 3}, None), ("read", None, {"0": 7, "1": 3})],
}


@pytest.mark.parametrize("model", MODELS)
def test_every_model_judges_its_history(tmp_path: Path, model: str) -> None:
    """Goal: each model's own functions are understood."""
    from steadyset.cli.check import judge_file

    events = []
    for f, asked, answered in ONE_OF_EACH[model]:
        value = asked if f == "transfer" else answered
        events.append({"type": "invoke", "f": f, "value": asked, "process": 0})
        events.append({"type": "ok", "f": f, "value": value, "process": 0})
    path = tmp_path / "h.json"
    path.write_text(json.dumps(events))
    assert judge_file(path, model)[1].verdict == "PASS"
