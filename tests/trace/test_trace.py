"""The trace file: crash-tolerant, append-only, and read back into lifetimes, gaps and node events."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from steadyset.errors import UsageError
from steadyset.trace import Record, TraceWriter, load_trace


def pod(name: str, uid: str, **status: object) -> dict[str, object]:
    return {"metadata": {"name": name, "uid": uid}, "status": status}


def test_records_come_back_as_written(tmp_path: Path) -> None:
    """Every field survives the file, and times default to now."""
    with TraceWriter(tmp_path / "t.jsonl") as w:
        w.write("ADDED", k="Pod", ns="n", name="a", uid="u", rv="7", obj=pod("a", "u"), t=5, w=6)
        w.write("NOTE", obj={"what": "x"})
    first, second = load_trace(tmp_path / "t.jsonl").records
    assert (
        first.t, first.w, first.e, first.k, first.ns, first.name, first.uid, first.rv, first.inferred,
    ) == (5, 6, "ADDED", "Pod", "n", "a", "u", "7", False)  # fmt: skip
    assert pod("a", "u") == first.obj
    assert second.t > 5 and second.w > 6


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_left_out_and_named(tmp_path: Path, cut: int) -> None:
    """Cut anywhere in the last record: every earlier record is read, and the loss is reported."""
    path = tmp_path / "t.jsonl"
    with TraceWriter(path) as w:
        for i in range(3):
            w.write("ADDED", k="Pod", name=f"p{i}", uid=str(i), obj={})
    path.write_bytes(path.read_bytes()[:-cut])
    trace = load_trace(path)
    names = [r.name for r in trace.records]
    if cut == 1:  # only the newline is missing: the record is whole
        assert names == ["p0", "p1", "p2"]
        assert trace.problems == []
    else:
        assert names == ["p0", "p1"]
        assert len(trace.problems) == 1 and "torn last line 3" in trace.problems[0]


def _sample(path: Path) -> bytes:
    """A small trace of every sort of record."""
    with TraceWriter(path) as w:
        w.note("listed", k="Pod")
        for i in range(4):
            w.write(
                "ADDED", k="Pod", ns="n", name=f"p{i}", uid=str(i), rv=str(i), obj=pod(f'p"\\{i} é', str(i), n=[1.5])
            )
        w.write("NODE", name="n1", obj={"what": "mounted", "node": "n1", "path": "/x"})
        w.gap("Pod", 1, 2, "reset", lossless=True)
        w.note("end")
    return path.read_bytes()


def _use(path: Path) -> list[Record]:
    """Everything a rule may ask of the trace."""
    trace = load_trace(path)
    assert [trace.gaps(), trace.notes(), trace.lifetimes("Pod"), trace.complete, trace.unobserved("Pod")]
    assert all(isinstance(r.obj, dict) for r in trace.records)
    return trace.records


def test_a_trace_cut_at_any_byte_keeps_every_whole_record(tmp_path: Path) -> None:
    """Goal: a writer killed at any byte leaves every complete record, and only a torn last line is missing."""
    whole = _sample(tmp_path / "t")
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        complete = sum(end <= length or end == length + 1 for end in ends)
        assert len(_use(tmp_path / "cut")) == complete, f"cut at {length}"


def test_a_damaged_byte_costs_at_most_its_own_records(tmp_path: Path) -> None:
    """Goal: whatever byte is damaged, to whatever value, every other record is read, and nothing raises later."""
    whole, rng = _sample(tmp_path / "t"), random.Random(20260101)
    lines = whole.count(b"\n")
    damaged = tmp_path / "damaged"
    for _ in range(3000):
        content, at = bytearray(whole), rng.randrange(len(whole))
        content[at] = rng.choice([0xFF, 0xC3, 0x80, ord('"'), ord("\\"), ord("{"), 0, ord("\n"), rng.randrange(256)])
        damaged.write_bytes(content)
        records = _use(damaged)
        assert len(records) >= lines - 2, f"byte {at}"  # a damaged line end joins two lines
        if len(records) < lines:
            assert load_trace(damaged).problems


def test_appending_after_a_crash_does_not_lose_the_first_new_record(tmp_path: Path) -> None:
    """A writer that opens a torn file starts a new line."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"t":1,"w":1,"e":"NOTE"}\n{"t":2,"w"')
    with TraceWriter(path) as w:
        w.write("ADDED", k="Pod", name="after", uid="u", obj={})
    trace = load_trace(path)
    assert [r.name for r in trace.records] == ["", "after"]
    assert [p[:17] for p in trace.problems] == ["unreadable line 2"]


def test_sigkill_at_any_moment_keeps_what_was_written(tmp_path: Path) -> None:
    """A writer killed in full flight leaves whole records, numbered without a hole."""
    path = tmp_path / "t.jsonl"
    code = (
        "import sys; from steadyset.trace import TraceWriter\n"
        f"w = TraceWriter({str(path)!r}); n = 0\n"
        "while True:\n"
        "    w.write('ADDED', k='Pod', name=str(n), uid=str(n), obj={'pad': 'x' * 300}); n += 1\n"
        "    if n == 2000: print('ready', flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    trace = load_trace(path)
    assert len(trace.records) >= 2000
    assert [str(i) for i in range(len(trace.records))] == [r.name for r in sorted(trace.records, key=lambda r: r.t)]
    assert len(trace.problems) <= 1


def test_lifetimes_are_by_uid(tmp_path: Path) -> None:
    """A name deleted and created again is two lifetimes; states answer for any moment."""
    with TraceWriter(tmp_path / "t") as w:
        w.write("SYNC", k="Pod", ns="n", name="a", uid="1", obj=pod("a", "1", phase="Running"), t=10)
        w.write("DELETED", k="Pod", ns="n", name="a", uid="1", obj=pod("a", "1", phase="Failed"), t=20)
        w.write("ADDED", k="Pod", ns="n", name="a", uid="2", obj=pod("a", "2", phase="Pending"), t=30)
        w.write("MODIFIED", k="Pod", ns="n", name="a", uid="2", obj=pod("a", "2", phase="Running"), t=40)
        w.write("DELETED", k="Pod", ns="other", name="a", uid="3", t=50, inferred=True)
    old, new = load_trace(tmp_path / "t").lifetimes("Pod", "n", "a")
    assert (old.uid, old.start_ns, old.end_ns, old.created_in_trace) == ("1", 10, 20, False)
    assert (new.uid, new.start_ns, new.end_ns, new.created_in_trace) == ("2", 30, None, True)
    assert old.last["status"]["phase"] == "Failed"
    assert [(s := new.at(t)) and s["status"]["phase"] for t in (29, 39, 40)] == [None, "Pending", "Running"]
    assert old.at(20) is None
    assert len(load_trace(tmp_path / "t").lifetimes("Pod")) == 3


def test_gaps_notes_and_completeness(tmp_path: Path) -> None:
    """Lossless gaps are told apart; a kind is observed once listed; only an end or a fresh snapshot vouches."""
    path = tmp_path / "t"
    with TraceWriter(path) as w:
        w.note("listed", k="Pod", count=0)
        w.note("not-observed", k="Lease", reason="403 Forbidden")
        w.gap("Pod", 100, 2_000_000_100, "410 Gone")
        w.gap("Pod", 1, 2, "reset", lossless=True)
        w.gap("NodeEvidence", 1, 2, "containerd", name="n1", open=True)
    trace = load_trace(path)
    assert [g.seconds for g in trace.gaps("Pod")] == [2.0]
    assert len(trace.gaps("Pod", lossless=True)) == 2
    assert [(g.name, g.open) for g in trace.gaps("NodeEvidence")] == [("n1", True)]
    assert tuple(map(trace.unobserved, ("Pod", "Lease", "Service"))) == ("", "403 Forbidden", "never listed")
    assert not trace.complete
    with TraceWriter(path) as w:
        w.note("snapshot")
    assert load_trace(path).complete
    with TraceWriter(path) as w:
        w.write("ADDED", k="Pod", name="late", uid="9", obj={}, t=load_trace(path).end_ns + 3_000_000_000)
    assert not load_trace(path).complete
    with TraceWriter(path) as w:
        w.note("end")
    assert load_trace(path).complete


def test_a_missing_trace_is_a_usage_error(tmp_path: Path) -> None:
    """The message names the path."""
    with pytest.raises(UsageError, match=r"no trace at .*nothing"):
        load_trace(tmp_path / "nothing")


def test_an_unknown_event_is_reported_not_believed(tmp_path: Path) -> None:
    """A line that is JSON but no record of ours is a problem, not a record."""
    path = tmp_path / "t"
    path.write_bytes(b'{"t":1,"w":1,"e":"BOGUS"}\n{"t":1,"w":1,"e":"NOTE"}\n')
    trace = load_trace(path)
    assert [r.e for r in trace.records] == ["NOTE"]
    assert "BOGUS" in trace.problems[0]
