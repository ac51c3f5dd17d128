"""The recorder and the reader: what is written comes back, whatever happens to the writer."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from steadyset.errors import SteadysetError, UsageError
from steadyset.history import FAIL, FOREVER, INFO, NIL, OK, HistoryWriter, Op, history_of, load_history


def _write_sample(path: Path, clock_uncertainty_ns: int = 0) -> None:
    with HistoryWriter(path, generator=path.stem, clock_uncertainty_ns=clock_uncertainty_ns) as writer:
        a = writer.invoke(0, "add", "k1", 7)
        b = writer.invoke(1, "cas", "k2", 3, 4, session="direct")
        writer.complete(a, "ok", server="pod-0", epoch=2)
        writer.complete(b, "fail", value=9, server="pod-1", error="conflict")
        c = writer.invoke(0, "read-all", "k1", session="final")
        writer.complete(c, "ok", values=[7, 8])
        writer.invoke(1, "write", "k2", 5)


def test_round_trip_keeps_every_field(tmp_path: Path) -> None:
    """Goal: every column of an op survives the file; an op without completion is unknown and never ends."""
    _write_sample(tmp_path / "g.arrows")
    history = load_history(tmp_path)
    assert history.outcome.tolist() == [OK, FAIL, OK, INFO]
    assert history.value.tolist() == [7, 3, NIL, 5]
    assert history.value2.tolist() == [NIL, 4, NIL, NIL]
    assert history.result.tolist() == [NIL, 9, NIL, NIL]
    assert [history.name("f", i) for i in range(4)] == ["add", "cas", "read-all", "write"]
    assert [history.name("key", i) for i in range(4)] == ["k1", "k2", "k1", "k2"]
    assert [history.name("server", i) for i in range(4)] == ["pod-0", "pod-1", "", ""]
    assert [history.name("session", i) for i in range(4)] == ["", "direct", "final", ""]
    assert history.name("error", 1) == "conflict"
    assert history.epoch.tolist() == [2, -1, -1, -1]
    assert history.values(2).tolist() == [7, 8] and history.has_values(2)
    assert not history.has_values(0) and history.values(0).tolist() == []
    assert history.end[3] == FOREVER and (history.end[:3] >= history.start[:3]).all()
    assert history.complete and history.generators[0].name == "g"


@pytest.mark.parametrize("clock_uncertainty_ns", [0, 500])
def test_clock_uncertainty_widens_every_interval(tmp_path: Path, clock_uncertainty_ns: int) -> None:
    """Goal: an interval grows by the generator's uncertainty on both sides, an unknown end stays unknown."""
    import pyarrow as pa

    _write_sample(tmp_path / "g.arrows", clock_uncertainty_ns)
    events = pa.ipc.open_stream((tmp_path / "g.arrows").read_bytes()).read_all().to_pylist()
    times = [event["time"] for event in events if event["op"] == 0]
    history = load_history(tmp_path)
    assert times == [history.start[0] + clock_uncertainty_ns, history.end[0] - clock_uncertainty_ns]
    assert history.end[3] == FOREVER


def test_a_completion_may_name_the_session(tmp_path: Path) -> None:
    """Goal: what only the answer tells (a redelivery) replaces the session that was invoked, and nothing else does."""
    with HistoryWriter(tmp_path / "a.arrows") as writer:
        for session in ("", "direct:a redelivered"):
            writer.complete(writer.invoke(0, "dequeue", "q", session="direct:a"), "ok", value=1, session=session)
        writer.invoke(0, "dequeue", "q", session="direct:b")
    history = load_history(tmp_path)
    assert [history.name("session", i) for i in range(3)] == ["direct:a", "direct:a redelivered", "direct:b"]


def test_several_generators_keep_their_processes_apart(tmp_path: Path) -> None:
    """Goal: process 0 of one generator is not process 0 of the other, and names and lists are merged."""
    _write_sample(tmp_path / "a.arrows")
    with HistoryWriter(tmp_path / "b.arrows") as writer:
        writer.complete(writer.invoke(0, "read-all", "other"), "ok", values=[1])
    history = load_history(tmp_path)
    assert len(history) == 5
    assert len(set(history.process.tolist())) == 3
    assert history.name("key", 4) == "other" and history.values(4).tolist() == [1]
    assert history.values(2).tolist() == [7, 8]


def test_every_torn_length_is_readable(tmp_path: Path) -> None:
    """Goal: a file cut at any byte gives the ops of its complete batches, and says that it is incomplete."""
    path = tmp_path / "g.arrows"
    with HistoryWriter(path) as writer:
        for i in range(5):
            writer.complete(writer.invoke(0, "add", f"k{i}", i), "ok")
            writer.flush()
    whole = path.read_bytes()
    cut = tmp_path / "cut" / "g.arrows"
    cut.parent.mkdir()
    seen = set()
    for length in range(0, len(whole), 7):
        cut.write_bytes(whole[:length])
        history = load_history(cut)
        assert not history.complete
        assert list(range(len(history))) == history.value.tolist()
        seen.add(len(history))
    assert {0, 1, 2, 3, 4, 5} == seen
    assert load_history(path).complete


def test_a_damaged_byte_spares_the_batches_before_it(tmp_path: Path) -> None:
    """Goal: whatever byte is damaged, what comes before its batch is read, or the contradiction is named: no crash."""
    path, damaged = tmp_path / "g.arrows", tmp_path / "d.arrows"
    ends = []
    with HistoryWriter(path) as writer:
        for i in range(5):
            writer.complete(writer.invoke(0, "add", f"k{i}", i), "ok", values=[i], server=f"s{i}")
            writer.flush()
            ends.append(path.stat().st_size)
    whole, rng, seen = path.read_bytes(), random.Random(20260101), set()
    for _ in range(600):
        at = rng.randrange(len(whole))
        content = bytearray(whole)
        content[at] ^= 1 << rng.randrange(8)
        damaged.write_bytes(content)
        try:
            history = load_history(damaged)
        except UsageError as error:
            assert "d.arrows" in str(error)
            seen.add("error")
            continue
        if at >= ends[0]:
            intact = sum(end <= at for end in ends)
            assert len(history) >= intact, f"byte {at}"
            assert history.value[:intact].tolist() == list(range(intact))
            assert [history.name("key", i) for i in range(intact)] == [f"k{i}" for i in range(intact)]
        seen.add("whole" if history.complete else "part")
    assert seen == {"error", "whole", "part"}


def test_sigkill_keeps_complete_batches(tmp_path: Path) -> None:
    """Goal: a load process killed with SIGKILL leaves what it had flushed."""
    path = tmp_path / "g.arrows"
    code = (
        "import sys; from steadyset.history import HistoryWriter; w = HistoryWriter(sys.argv[1])\n"
        "for i in range(5000): w.complete(w.invoke(0, 'add', 'k', i), 'ok')\n"
        "print('written', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert child.stdout is not None
    assert b"written" in child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    history = load_history(tmp_path)
    assert not history.complete
    assert len(history) >= (10_000 - 4096) // 2 and list(range(len(history))) == history.value.tolist()


def test_an_op_that_is_open_reaches_the_file_once(tmp_path: Path) -> None:
    """Goal: every write has the invocations of the ops that are open, each in one write; values come with their op."""
    path = tmp_path / "o.arrows"
    with HistoryWriter(path) as writer:
        slow = writer.invoke(0, "txn", "", values=[1, 2])
        for value in range(3):
            done = writer.invoke(1, "read-all", f"k{value}", value)
            writer.flush()
            seen = load_history(path)
            assert (len(seen), seen.outcome[0], seen.outcome[value + 1]) == (value + 2, INFO, INFO)
            assert seen.values(0).tolist() == [1, 2]
            writer.complete(done, "ok", values=[value])
            writer.flush()
        writer.complete(slow, "ok", values=[3], server="a")
    history = load_history(path)
    assert (history.outcome == OK).all() and history.name("server", 0) == "a"
    assert [history.values(op).tolist() for op in range(4)] == [[3], [0], [1], [2]]


def test_events_may_stand_in_another_order(tmp_path: Path) -> None:
    """Goal: a file whose invocations are not in the order of their numbers is read by their numbers."""
    import pyarrow as pa

    with HistoryWriter(tmp_path / "t.arrows") as writer:
        for op in [writer.invoke(value, "add", "k", value) for value in range(3)]:
            writer.complete(op, "ok")
    events = pa.ipc.open_stream((tmp_path / "t.arrows").read_bytes()).read_all().combine_chunks()
    assert events["op"].to_pylist() == [0, 1, 2, 0, 1, 2] or events["op"].to_pylist() == [0, 0, 1, 1, 2, 2]
    other = events.take(sorted(range(6), key=lambda row: (events["type"][row].as_py(), -events["op"][row].as_py())))
    with pa.ipc.new_stream(str(tmp_path / "other.arrows"), other.schema) as stream:
        stream.write_table(other)
    history = load_history(tmp_path / "other.arrows")
    assert history.value.tolist() == history.process.tolist() == [0, 1, 2]
    assert (history.outcome == OK).all()


def test_greenlets_share_one_writer(tmp_path: Path) -> None:
    """Goal: after gevent's monkey patching many greenlets record into one writer without loss."""
    path = tmp_path / "g.arrows"
    code = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import gevent, sys; from steadyset.history import HistoryWriter; w = HistoryWriter(sys.argv[1])\n"
        "def user(p):\n"
        "    for i in range(300):\n"
        "        op = w.invoke(p, 'add', 'k', p * 300 + i); gevent.sleep(0); w.complete(op, 'ok')\n"
        "gevent.joinall([gevent.spawn(user, p) for p in range(20)], raise_error=True); w.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    history = load_history(path)
    assert list(range(6000)) == sorted(history.value.tolist())
    assert (history.outcome == OK).all() and history.complete


def test_bad_use_and_bad_files_are_errors(tmp_path: Path) -> None:
    """Goal: misuse and files that are no history give an error, never a history."""
    with pytest.raises(UsageError, match="no history"):
        load_history(tmp_path)
    with pytest.raises(UsageError, match="no history"):
        load_history(tmp_path / "absent.arrows")
    (tmp_path / "x.arrows").write_text("hello, this is no arrow")
    with pytest.raises(UsageError, match="is no history"):
        load_history(tmp_path)
    writer = HistoryWriter(tmp_path / "y.arrows")
    op = writer.invoke(0, "add", "k", 1)
    with pytest.raises(SteadysetError, match="cannot complete"):
        writer.complete(op, "maybe")
    writer.complete(op, "ok")
    with pytest.raises(SteadysetError, match="cannot complete"):
        writer.complete(op, "ok")
    writer.close()
    writer.close()
    with pytest.raises(SteadysetError, match="closed"):
        writer.invoke(0, "add", "k", 1)


def test_select_and_history_of() -> None:
    """Goal: a selection keeps lists and names."""
    history = history_of([Op("add", 1, 2, value=1), Op("read-all", 3, 4, values=[1], key="k")])
    part = history.select(np.array([1]))
    assert part.name("f", 0) == "read-all" and part.values(0).tolist() == [1] and part.name("key", 0) == "k"
