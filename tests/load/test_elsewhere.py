"""Workers elsewhere: what they recorded by this machine's clock, and what is uncertain about that.

The remote side is the real one, `steadyset.load.worker` as a process of this machine, with a clock that is off.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steadyset.checkers import make_checker
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError
from steadyset.fixtures.loadjob import Clock, clock_of, joined
from steadyset.history import HistoryWriter, load_history
from steadyset.history.elsewhere import bring_here
from steadyset.load import worker as worker_module
from steadyset.load.recorder import PARAMS_VARIABLE, write_private
from steadyset.load.runner import LoadRun
from steadyset.load.shape import LoadOptions
from steadyset.wait import wait_for

ANSWER_S = 30.0
REQUEST_S = 40.0
AHEAD_NS = 3_600_000_000_000  # the other machine has been up for an hour longer


def sample(folder: Path, *, close: bool = True) -> bytes:
    """A history of two ops, whole or cut off."""
    writer = HistoryWriter(folder / "g.arrows", generator="g")
    for value in (1, 2):
        writer.complete(writer.invoke(0, "add", "k", value), "ok", server="s", epoch=1)
        writer.flush()
    if close:
        writer.close()
    return (folder / "g.arrows").read_bytes()


def test_times_are_brought_here_and_widened(tmp_path: Path) -> None:
    """Every op begins and ends by this machine's clock, as uncertain as was measured; names and values stay."""
    raw = sample(tmp_path)
    there = load_history(tmp_path / "g.arrows")
    assert bring_here(raw, tmp_path / "here.arrows", ahead_ns=AHEAD_NS, uncertainty_ns=500)
    here = load_history(tmp_path / "here.arrows")
    assert (here.start == there.start - AHEAD_NS - 500).all()
    assert (here.end == there.end - AHEAD_NS + 500).all()
    assert [here.name("key", i) for i in range(2)] == ["k", "k"]
    assert list(here.value) == [1, 2]
    assert here.complete
    assert here.generators[0].clock_uncertainty_ns == 500


@pytest.mark.parametrize("cut", [1, 8, 100, 400])
def test_what_was_cut_off_is_no_whole_history(cut: int, tmp_path: Path) -> None:
    """Whatever byte it was cut at: the batches before it, and no end marker."""
    raw = sample(tmp_path)[:-cut]
    assert not bring_here(raw, tmp_path / "here.arrows", ahead_ns=0, uncertainty_ns=0)
    here = load_history(tmp_path / "here.arrows")
    assert not here.complete
    assert len(here) <= 2
    assert not bring_here(b"", tmp_path / "none.arrows", ahead_ns=0, uncertainty_ns=0)
    assert not (tmp_path / "none.arrows").exists()


def test_the_quickest_answer_says_most_of_a_clock() -> None:
    """Half of its round trip is how much it may be wrong; drift over the load is added."""
    slow, quick = (0, 9_000, 10_000), (20_000, 25_100, 20_200)
    assert clock_of([slow, quick]) == Clock(5_000, 100)
    assert joined(Clock(5_000, 100), Clock(5_000, 80)) == Clock(5_000, 100)
    assert joined(Clock(5_000, 100), Clock(5_400, 80)) == Clock(5_200, 300)
    for true in (4_900, 5_000, 5_300, 5_480):
        clock = joined(Clock(5_000, 100), Clock(5_400, 80))
        assert abs(true - clock.ahead_ns) <= clock.uncertainty_ns


class LocalRemote:
    """A `load.remote.Remote` of worker processes on this machine, whose clocks are said to be an hour ahead."""

    def __init__(self, count: int, folder: Path) -> None:
        self.count, self.private = count, folder
        self.children: list[subprocess.Popen[bytes]] = []
        self.folder = Path()

    def begin(self, params: dict[str, Any], folder: Path) -> None:
        self.folder = folder
        self.private.mkdir()
        given = write_private(self.private / "given.json", {**params, "shards": self.count, "token": "sesame"})
        for n in range(self.count):
            own = self.private / str(n)
            own.mkdir()
            self.children.append(
                subprocess.Popen(
                    [sys.executable, "-m", "steadyset.load.worker"],
                    env={
                        **os.environ,
                        PARAMS_VARIABLE: str(given),
                        "STEADYSET_LOAD_FOLDER": str(own),
                        "STEADYSET_LOAD_PORT": str(worker_module.PORT + n),
                        "JOB_COMPLETION_INDEX": str(n),
                    },
                )
            )
        for n in range(self.count):
            wait_for(lambda n=n: self._up(n), what=f"worker {n}", deadline_name="ANSWER_S", deadline_s=ANSWER_S)

    def ask(self, n: int, what: str, token: str = "sesame") -> bytes:
        url = f"http://127.0.0.1:{worker_module.PORT + n}/{token}/{what}"
        with urllib.request.urlopen(url, timeout=REQUEST_S) as answer:
            return bytes(answer.read())

    def _up(self, n: int) -> bool:
        try:
            return bool(self.ask(n, "clock"))
        except OSError:
            return False

    def states(self) -> list[dict[str, Any]]:
        return [json.loads(self.ask(n, "state")) for n in range(self.count)]

    def started(self) -> bool:
        return all(state["started"] for state in self.states())

    def ready(self) -> bool:
        return any(state["ready"] for state in self.states())

    def pull(self) -> None:
        for n in range(self.count):
            path = self.folder / f"cluster-{n + 1}.arrows"
            bring_here(self.ask(n, "history?from=0"), path, ahead_ns=-AHEAD_NS, uncertainty_ns=1000)

    def stop(self) -> None:
        for n in range(self.count):
            state = json.loads(self.ask(n, "stop"))
            assert state["exit"] == 0, state["log"]
        self.pull()

    def close(self) -> None:
        for n, child in enumerate(self.children):
            if child.poll() is None:
                self.ask(n, "end")
            assert child.wait(ANSWER_S) == 0


def test_a_load_whose_workers_are_elsewhere(here: ClusterInfo, probes: Any, tmp_path: Path) -> None:
    """One history of all of them, drained and whole, in the times of this machine; nobody without the token is told."""
    folder, remote = tmp_path / "history", LocalRemote(2, tmp_path / "private")
    options = LoadOptions(in_cluster=2)
    began = time.monotonic_ns()
    with LoadRun(here, "probe_append", folder, probes.params(), users=6, options=options, remote=remote) as load:
        with pytest.raises(urllib.error.HTTPError):
            remote.ask(0, "history", token="guess")

        def recorded() -> bool:
            load.refresh()
            return bool(list(folder.glob("cluster-*"))) and len(load_history(folder)) > 100

        wait_for(recorded, what="100 ops", deadline_name="ANSWER_S", deadline_s=ANSWER_S)
        load.read_back()
    assert {path.name for path in folder.glob("*.arrows")} == {
        "cluster-1.arrows",
        "cluster-2.arrows",
        "final-1.arrows",
    }
    history = load_history(folder)
    assert history.complete
    assert {g.name: g.clock_uncertainty_ns for g in history.generators}["cluster-2"] == 1000
    adds = history.value[np.flatnonzero(history.is_f("add"))]
    assert len(adds) == len(np.unique(adds))
    elsewhere = load_history(folder / "cluster-1.arrows")
    assert elsewhere.start.min() > began + AHEAD_NS - 2000
    assert make_checker("set-durability", {"acknowledged_min": 50}).check(elsewhere).observed["acknowledged"] > 20
    secret = [path.name for path in folder.iterdir() if b"correct-horse" in path.read_bytes()]
    assert secret == []


def test_workers_in_the_cluster_need_somebody_who_runs_them(here: ClusterInfo, tmp_path: Path) -> None:
    """Neither is ignored."""
    with pytest.raises(UsageError, match="need who runs them"):
        LoadRun(here, "probe_append", tmp_path, {}, options=LoadOptions(in_cluster=2))
    with pytest.raises(UsageError, match="need who runs them"):
        LoadRun(here, "probe_append", tmp_path, {}, remote=LocalRemote(1, tmp_path))
