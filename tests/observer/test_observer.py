"""The observer against a local server that cuts, compacts and refuses: nothing is lost silently."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from steadyset.clusterinfo import ClusterInfo, save_cluster_info
from steadyset.errors import DeadlineError, InstrumentError
from steadyset.observer import Observer
from steadyset.observer.__main__ import observe
from steadyset.observer.kinds import KINDS
from steadyset.trace import Trace, load_trace
from steadyset.wait import wait_for

_spec = importlib.util.spec_from_file_location("replay", Path(__file__).with_name("replay.py"))
assert _spec and _spec.loader
replay = importlib.util.module_from_spec(_spec)
sys.modules["replay"] = replay
_spec.loader.exec_module(replay)

SEEN_S = 30.0  # on a machine that is busy with other things


@pytest.fixture
def server() -> Iterator[Any]:
    with replay.ReplayServer() as server:
        yield server


@pytest.fixture
def info(server: Any, tmp_path: Path) -> ClusterInfo:
    info = ClusterInfo(name="c", provider="kubeconfig", kubeconfig=str(server.kubeconfig(tmp_path / "kc")))
    save_cluster_info(info, tmp_path / "cluster.json")
    return info


class Here:
    """The observer's own loop in this process: the same code without the start of a child."""

    def __init__(self, info: ClusterInfo, path: Path, *, namespace: str) -> None:
        self.stopping = threading.Event()
        self.path = path
        self.codes: list[int] = []
        args = (info, path, namespace, self.stopping)
        self.thread = threading.Thread(target=lambda: self.codes.append(observe(*args)))

    def __enter__(self) -> Here:
        self.thread.start()
        return self

    def wait_synced(self) -> None:
        until(self.path, lambda t: len(t.listed) + len(t.notes("not-observed")) == len(KINDS), "every kind listed")

    def __exit__(self, *exc: object) -> None:
        self.stopping.set()
        self.thread.join(SEEN_S)
        assert self.codes == [0]


def until(path: Path, condition: Callable[[Trace], object], what: str) -> Trace:
    """The trace once `condition` holds for it."""
    return wait_for(
        lambda: path.exists() and (t := load_trace(path)) and condition(t) and t,  # type: ignore[return-value]
        what=what, deadline_name="SEEN_S", deadline_s=SEEN_S, poll_s=0.05,
        describe=lambda: "\n".join(f"{r.e} {r.k} {r.name} {r.rv} {r.inferred}" for r in load_trace(path).records),
    )  # fmt: skip


def events(trace: Trace, kind: str = "Pod") -> list[tuple[str, str, bool]]:
    return [(r.e, r.name, r.inferred) for r in trace.of(kind)]


def test_lists_watches_and_ends_in_good_order(server: Any, info: ClusterInfo, tmp_path: Path) -> None:
    """SYNC for what was there, then each event once with its version and content; SIGTERM vouches for the end."""
    server.put("Pod", "a", status={"phase": "Running"})
    path = tmp_path / "trace"
    with Observer(info, path, namespace="n") as observer:
        observer.wait_synced()
        server.put("Pod", "b")
        server.put("Pod", "b", status={"phase": "Running"})
        rv = server.put("PersistentVolume", "pv", ns="")
        server.delete("Pod", "a")
        until(path, lambda t: len(t.of("Pod")) == 4 and t.of("PersistentVolume"), "five events")
    trace = load_trace(path)
    expected = [("SYNC", "a", False), ("ADDED", "b", False), ("MODIFIED", "b", False), ("DELETED", "a", False)]
    assert expected == events(trace)
    assert {k.name for k in KINDS} == trace.listed
    assert str(rv) == trace.of("PersistentVolume")[0].rv
    assert trace.of("Pod")[0].obj["metadata"] == {
        "name": "a",
        "namespace": "n",
        "uid": "uid-a",
        "resourceVersion": "101",
    }
    assert trace.of("Pod")[2].obj["status"]["phase"] == "Running"
    assert trace.complete and not trace.gaps(lossless=True) and not trace.problems


def test_secrets_are_never_asked_for(server: Any, info: ClusterInfo, tmp_path: Path) -> None:
    """No request names secrets, nor anything outside the table of kinds."""
    with Here(info, tmp_path / "trace", namespace="n") as observer:
        observer.wait_synced()
    assert set(replay.PLURALS.values()) == {r.partition("?")[0].rsplit("/", 1)[1] for r in server.requests}


def test_large_lists_come_in_pages(server: Any, info: ClusterInfo, tmp_path: Path) -> None:
    """Every object of a list longer than one page is there, once."""
    for i in range(1201):
        server.put("Pod", f"p{i:04}")
    with Here(info, tmp_path / "trace", namespace="n") as observer:
        observer.wait_synced()
    assert [("SYNC", f"p{i:04}", False) for i in range(1201)] == events(load_trace(tmp_path / "trace"))


def test_a_cut_connection_loses_no_event_and_leaves_a_lossless_gap(
    server: Any, info: ClusterInfo, tmp_path: Path
) -> None:
    """Events of the blind window are delivered late by the resumed watch; the gap says so, with its length."""
    path = tmp_path / "trace"
    with Here(info, path, namespace="n") as observer:
        observer.wait_synced()
        server.put("Pod", "a")
        until(path, lambda t: t.of("Pod"), "first event")
        server.stop_answering(True)
        server.put("Pod", "b")
        server.put("Pod", "b", status={"phase": "Running"})
        server.delete("Pod", "b")
        server.put("Pod", "c")
        server.stop_answering(False)
        until(path, lambda t: len(t.gaps(lossless=True)) == len(KINDS), "every gap closed")
    trace = load_trace(path)
    expected = [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b"), ("ADDED", "c")]
    assert [(e, n, False) for e, n in expected] == events(trace)
    assert trace.gaps() == []
    (gap,) = trace.gaps("Pod", lossless=True)
    assert gap.from_ns < gap.until_ns and gap.reason


def test_compaction_is_a_lossy_gap_with_inferred_changes(server: Any, info: ClusterInfo, tmp_path: Path) -> None:
    """After 410 the difference of two lists stands behind a GAP: deletion, replacement and change are each inferred."""
    path = tmp_path / "trace"
    for name in ("same", "gone", "changed", "replaced"):
        server.put("Pod", name)
    with Here(info, path, namespace="n") as observer:
        observer.wait_synced()
        server.stop_answering(True)
        server.delete("Pod", "gone")
        server.put("Pod", "changed", status={"phase": "Running"})
        server.delete("Pod", "replaced")
        server.put("Pod", "replaced", uid="second")
        server.put("Pod", "brief")
        server.delete("Pod", "brief")
        server.compact()
        server.stop_answering(False)
        until(path, lambda t: t.gaps("Pod"), "lossy gap")
        server.put("Pod", "after")
        until(path, lambda t: t.of("Pod", name="after"), "event after the gap")
    trace = load_trace(path)
    expected = [
        ("DELETED", "gone", True), ("DELETED", "replaced", True), ("MODIFIED", "changed", True),
        ("ADDED", "replaced", True), ("ADDED", "after", False),
    ]  # fmt: skip
    assert expected == events(trace)[4:]
    (gap,) = trace.gaps("Pod")
    assert "410" in gap.reason or "503" in gap.reason or gap.reason
    assert all(r.t >= gap.until_ns for r in trace.of("Pod") if r.inferred)


def test_a_server_that_swallows_an_event_is_found_out(server: Any, info: ClusterInfo, tmp_path: Path) -> None:
    """When the resumed watch passes the list without showing all of it, the gap is lossy and the rest inferred."""
    path = tmp_path / "trace"
    with Here(info, path, namespace="n") as observer:
        observer.wait_synced()
        server.stop_answering(True)
        server.put("Pod", "swallowed")
        server.log["pods"].clear()  # the history forgets it, but claims to reach back far enough
        server.stop_answering(False)
        server.put("Pod", "next")
        wait_for(
            lambda: any("pods" in r and "watch" in r for r in server.requests[-40:]),
            what="a new watch", deadline_name="SEEN_S", deadline_s=SEEN_S,
        )  # fmt: skip
        until(path, lambda t: t.of("Pod", name="next"), "next event")
        server.put("Pod", "last")
        until(path, lambda t: t.of("Pod", name="swallowed"), "the swallowed object")
    trace = load_trace(path)
    assert ("ADDED", "swallowed", True) in events(trace)
    assert len(trace.gaps("Pod")) == 1


def test_a_gap_that_never_ends_is_recorded_as_open(server: Any, info: ClusterInfo, tmp_path: Path) -> None:
    """A server that is down when the observer stops leaves an open gap for every kind."""
    path = tmp_path / "trace"
    with Here(info, path, namespace="n") as observer:
        observer.wait_synced()
        asked = len(server.requests)
        server.stop_answering(True)
        wait_for(
            lambda: len(set(server.requests[asked:])) >= len(KINDS),
            what="retries",
            deadline_name="SEEN_S",
            deadline_s=SEEN_S,
        )
    gaps = load_trace(path).gaps()
    assert {k.name for k in KINDS} == {g.kind for g in gaps if g.open}


def test_kinds_without_permission_are_named_not_fatal(server: Any, info: ClusterInfo, tmp_path: Path) -> None:
    """403 on one kind: the others are observed, and the trace says why this one is not."""
    server.refused["nodes"] = 403
    path = tmp_path / "trace"
    with Here(info, path, namespace="n") as observer:
        observer.wait_synced()
    trace = load_trace(path)
    assert "403" in trace.unobserved("Node")
    assert trace.unobserved("Pod") == ""


def test_a_killed_observer_is_an_error_and_its_trace_is_readable(
    server: Any, info: ClusterInfo, tmp_path: Path
) -> None:
    """SIGKILL of the child: the context raises, the trace holds what was seen and is not complete."""
    path = tmp_path / "trace"
    server.put("Pod", "a")
    with pytest.raises(InstrumentError, match="signal 9"), Observer(info, path, namespace="n") as observer:
        observer.wait_synced()
        assert observer._child is not None
        os.kill(observer._child.pid, signal.SIGKILL)
        observer._child.wait()
        with pytest.raises(InstrumentError, match="died"):
            observer.snapshot()
    trace = load_trace(path)
    assert events(trace) == [("SYNC", "a", False)]
    assert not trace.complete


def test_wait_synced_says_what_is_wrong(server: Any, info: ClusterInfo, tmp_path: Path) -> None:
    """A server that answers nothing useful: the deadline's message carries the child's last words."""
    server.down = True
    with (
        Observer(info, tmp_path / "trace", namespace="n") as observer,
        pytest.raises(DeadlineError, match=r"Pod|Unavailable"),
    ):
        wait_for(observer.last_words, what="the child's words", deadline_name="SEEN_S", deadline_s=SEEN_S)
        observer.wait_synced(0.5)


def test_a_snapshot_vouches_for_a_running_trace(server: Any, info: ClusterInfo, tmp_path: Path) -> None:
    """`observer.trace` can be judged while the observer runs."""
    with Observer(info, tmp_path / "trace", namespace="n") as observer:
        observer.wait_synced()
        server.put("Pod", "a")
        trace = observer.trace
        assert trace.complete
        assert events(trace) == [("ADDED", "a", False)]


def test_a_missing_cluster_file_is_a_clear_error(info: ClusterInfo, tmp_path: Path) -> None:
    """The child's message reaches the caller."""
    info.path = str(tmp_path / "nothing.json")
    with (
        pytest.raises(InstrumentError, match=r"no cluster file at .*nothing.json"),
        Observer(info, tmp_path / "trace", namespace="n") as observer,
    ):
        observer.wait_synced()
