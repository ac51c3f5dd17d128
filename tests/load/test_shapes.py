"""Shapes, several worker processes and Locust's own pages: real Locust processes against real probes on loopback."""

from __future__ import annotations

import csv
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steadyset.checkers import make_checker
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, UsageError
from steadyset.history import OK, load_history
from steadyset.load.runner import LoadRun
from steadyset.load.shape import SHAPES, SOAK_S, LoadOptions, users_at
from steadyset.wait import wait_for

PROGRESS_S = 40.0
PAGE_S = 10.0


@pytest.mark.parametrize(
    ("shape", "seconds", "users"),
    [
        ("steady", 0, 20), ("steady", 500, 20), ("soak", 0, 20),
        ("ramp", 0, 4), ("ramp", 30, 12), ("ramp", 60, 20), ("ramp", 600, 20),
        ("spike", 0, 4), ("spike", 19.9, 4), ("spike", 20, 20), ("spike", 29.9, 20), ("spike", 30, 4),
    ],
)  # fmt: skip
def test_how_many_users_when(shape: str, seconds: float, users: int) -> None:
    """Never fewer than keep a session to each member, never more than asked for."""
    assert users_at(shape, seconds, 20, 4) == users
    assert users_at(shape, seconds, 3, 4) == 3


def test_options_out_of_range_are_refused() -> None:
    """With what is expected; a soak lasts by itself, and any load as long as it is told."""
    assert {LoadOptions(shape=shape).least_s for shape in SHAPES} == {0.0, SOAK_S}
    assert LoadOptions(seconds=7).least_s == 7
    assert str(LoadOptions()) == ""
    assert str(LoadOptions(shape="ramp", workers=2, web_ui=8089)) == ", ramp, 2 workers, http://127.0.0.1:8089"
    wrong: list[dict[str, Any]] = [
        {"shape": "wave"}, {"workers": 0}, {"workers": 99}, {"web_ui": 70000}, {"seconds": -1},
        {"workers": 2, "in_cluster": 2},
    ]  # fmt: skip
    for given in wrong:
        with pytest.raises(UsageError):
            LoadOptions(**given)


def acknowledged(folder: Path, more: int = 100) -> None:
    """Wait until that many ops were acknowledged."""
    wait_for(
        lambda: (load_history(folder).outcome == OK).sum() >= more,
        what=f"{more} acknowledged ops",
        deadline_name="PROGRESS_S",
        deadline_s=PROGRESS_S,
    )


def test_several_workers_make_one_history(here: ClusterInfo, probes: Any, tmp_path: Path) -> None:
    """Values and processes are unique over all of them, each member has its sessions, and everything is read back."""
    folder = tmp_path / "history"
    with LoadRun(here, "probe_append", folder, probes.params(), users=6, options=LoadOptions(workers=2)) as load:
        acknowledged(folder)
        load.read_back()
    assert {path.name for path in folder.glob("*.arrows")} == {"locust-1.arrows", "locust-2.arrows", "final-1.arrows"}
    history = load_history(folder)
    assert history.complete
    assert make_checker("set-durability", {"acknowledged_min": 50}).check(history).verdict == "PASS"
    adds = history.value[np.flatnonzero(history.is_f("add"))]
    assert len(adds) == len(np.unique(adds))
    assert set(adds % 2) == {0, 1}
    routes = {history.name("session", i).partition("#")[0] for i in range(len(history))}
    assert {f"{kind}:probe-{n}" for kind in ("direct", "service") for n in range(3)} <= routes
    rows = list(csv.DictReader((folder / "locust_stats.csv").open()))
    (total,) = [row for row in rows if row["Name"] == "Aggregated"]
    assert int(total["Request Count"]) > 50
    page = (folder / "locust.html").read_text()
    assert "Locust" in page
    assert f'"num_requests": {int(total["Request Count"])}' in page


def test_a_worker_that_dies_is_an_error(here: ClusterInfo, probes: Any, tmp_path: Path) -> None:
    """Half of a load is not the load; no process is left."""
    load = LoadRun(here, "probe_append", tmp_path / "history", probes.params(), options=LoadOptions(workers=2))
    with pytest.raises(InstrumentError, match="died with exit code -9"), load:
        pids = [process.pid for process in load._processes().values()]
        os.kill(load._workers["locust-2"].pid, signal.SIGKILL)
        load._workers["locust-2"].wait()
        load.check()
    assert len(pids) == 3
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_ramp_by_locusts_own_account(here: ClusterInfo, probes: Any, tmp_path: Path) -> None:
    """Few users at first, more later, and a load that lasts as long as it was told to."""
    folder = tmp_path / "history"
    began = time.monotonic()
    options = LoadOptions(shape="ramp", seconds=12)
    with LoadRun(here, "probe_append", folder, probes.params(), users=30, options=options) as load:
        load.read_back()
    assert time.monotonic() - began >= 12
    rows = [row for row in csv.DictReader((folder / "locust_stats_history.csv").open()) if row["Name"] == "Aggregated"]
    users = [int(row["User Count"]) for row in rows]
    assert min(filter(None, users)) <= 6
    assert 7 <= max(users) <= 14
    history = load_history(folder)
    first = (history.start - history.start.min()) < 2_000_000_000
    assert len(np.unique(history.process[first])) < len(np.unique(history.process))


def test_locusts_own_pages(here: ClusterInfo, probes: Any, tmp_path: Path) -> None:
    """On loopback, with the load running by itself; a port that somebody has is refused before anything starts."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = LoadRun(here, "probe_append", tmp_path / "no", probes.params(), options=LoadOptions(web_ui=port))
        with pytest.raises(UsageError, match=f"--load-web-ui {port}"), refused:
            pass
    folder = tmp_path / "history"
    with LoadRun(here, "probe_append", folder, probes.params(), options=LoadOptions(web_ui=port)) as load:
        acknowledged(folder)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PAGE_S) as page:
            assert b"Locust" in page.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=PAGE_S) as figures:
            assert b'"user_count": 6' in figures.read().replace(b'":6', b'": 6')
        load.read_back()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PAGE_S)
    assert load_history(folder).complete


SPIKE = """
from steadyset.load.user import Places
places = Places(1, 3)
first = [places.take() for _ in range(4)]
for index in (first[2], first[0]):
    places.leave(index)
again = [places.take() for _ in range(3)]
print(json.dumps([first, again, [places.process() for _ in range(3)]]))
"""


def test_a_user_that_comes_takes_the_place_of_one_that_went(run_child: Callable[..., Any]) -> None:
    """The lowest first: those keep the sessions to the members. Process numbers are never used again."""
    assert run_child(SPIKE) == [[1, 4, 7, 10], [1, 7, 13], [1, 4, 7]]
