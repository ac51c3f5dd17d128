"""Load as a process of its own: it records what happened, ends when told, and says when it could not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from steadyset.checkers import make_checker
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import DeadlineError, InstrumentError, UsageError
from steadyset.history import OK, History, load_history
from steadyset.load.runner import LoadRun
from steadyset.wait import wait_for

PROGRESS_S = 20.0
END_S = 20.0
SHORT_S = 4.0


def until_written(folder: Path, more: int) -> None:
    """Wait until `more` further events have reached the file."""
    file = folder / "locust-1.arrows"
    start = len(load_history(file))
    wait_for(
        lambda: len(load_history(file)) >= start + more,
        what=f"{more} more ops",
        deadline_name="PROGRESS_S",
        deadline_s=PROGRESS_S,
    )


def verdicts(history: History) -> dict[str, str]:
    wanted: dict[str, dict[str, Any]] = {
        "set-durability": {"acknowledged_min": 50},
        "linearizable-register": {"initial": 0},
        "split-brain": {"by": "key"},
    }
    return {rule: str(make_checker(rule, params).check(history).verdict) for rule, params in wanted.items()}


def sessions(history: History, outcome: int) -> set[str]:
    return {history.name("session", i) for i in range(len(history)) if history.outcome[i] == outcome}


def test_a_killed_member_comes_back_with_everything(here: ClusterInfo, probes: Any, tmp_path: Path) -> None:
    """Kill a member under load and start it on its old volume: all claims hold, and both routes were used."""
    folder = tmp_path / "history"
    with LoadRun(here, "probe_append", folder, probes.params(), users=6) as load:
        until_written(folder, 100)
        probes.kill("probe-0")
        until_written(folder, 60)
        probes.restart("probe-0")
        until_written(folder, 100)
        load.read_back()
    history = load_history(folder)
    assert history.complete
    assert verdicts(history) == {"set-durability": "PASS", "linearizable-register": "PASS", "split-brain": "PASS"}
    assert {"direct:probe-0#1", "direct:probe-0#2", "service:probe-0", "final"} <= sessions(history, OK)
    servers = {history.name("server", i) for i in range(len(history)) if history.outcome[i] == OK}
    assert servers == {"probe-0", "probe-1", "probe-2"}
    assert (folder / "locust.html").is_file()


def test_a_member_that_lost_its_volume_is_found_out(here: ClusterInfo, probes: Any, tmp_path: Path) -> None:
    """The same with an emptied volume: the lost values are listed, by the same rules."""
    folder = tmp_path / "history"
    with LoadRun(here, "probe_append", folder, probes.params(), users=6) as load:
        until_written(folder, 100)
        probes.kill("probe-0")
        probes.restart("probe-0", emptied=True)
        until_written(folder, 60)
        load.read_back()
    judgement = make_checker("set-durability", {"acknowledged_min": 50}).check(load_history(folder))
    assert judgement.verdict == "FAIL"
    assert "lost" in judgement.summary


@pytest.mark.slow
def test_two_loads_on_one_store_do_not_see_each_other(here: ClusterInfo, probes: Any, tmp_path: Path) -> None:
    """Both count their values from 1; each reads back only its own."""
    for name in ("one", "two"):
        with LoadRun(here, "probe_append", tmp_path / name, probes.params(), users=6) as load:
            until_written(tmp_path / name, 100)
            load.read_back()
    assert verdicts(load_history(tmp_path / "two"))["set-durability"] == "PASS"


def test_secrets_stay_out_of_the_evidence(here: ClusterInfo, probes: Any, tmp_path: Path) -> None:
    """Parameters are kept with the history, what lies below "secrets" is not, and no private copy is left."""
    folder = tmp_path / "history"
    with LoadRun(here, "probe_append", folder, probes.params(), users=2) as load:
        private = load._folder_private()
        assert "correct-horse" in (private / "locust-1.json").read_text()
        assert (private / "locust-1.json").stat().st_mode & 0o077 == 0
    assert not private.exists()
    found = [path.name for path in folder.iterdir() if b"correct-horse" in path.read_bytes()]
    assert found == []
    assert "probe-0" in (folder / "locust-1.json").read_text()


def test_nobody_answers(here: ClusterInfo, probes: Any, tmp_path: Path) -> None:
    """Entering ends with the named deadline and what the ops were told, and no process is left."""
    for pod in list(probes.running):
        probes.kill(pod)
    load = LoadRun(here, "probe_append", tmp_path / "history", probes.params(), users=2, first_ack_s=SHORT_S)
    with pytest.raises(DeadlineError, match="first_ack_s = 4 s") as caught, load:
        pass
    assert "ops: not sent: ConnectionRefusedError" in caught.value.seen
    assert not Path(f"/proc/{load.pid}").exists()


def test_a_load_that_dies_is_an_error(here: ClusterInfo, probes: Any, tmp_path: Path) -> None:
    """SIGKILL of Locust: the run says so instead of judging half a history as whole; what was written is readable."""
    folder = tmp_path / "history"
    with (
        pytest.raises(InstrumentError, match="died with exit code -9"),
        LoadRun(here, "probe_append", folder, probes.params(), users=2) as load,
    ):
        until_written(folder, 20)
        os.kill(load.pid, signal.SIGKILL)
        wait_for(
            lambda: Path(f"/proc/{load.pid}/stat").read_text().split()[2] == "Z",
            what="Locust gone",
            deadline_name="END_S",
            deadline_s=END_S,
        )
    history = load_history(folder)
    assert not history.complete
    assert len(history) >= 20


def test_bad_parameters_end_the_load_with_their_reason(here: ClusterInfo, tmp_path: Path) -> None:
    """A workload that cannot be set up ends at once with the traceback, not after the deadline."""
    with (
        pytest.raises(InstrumentError, match="died with exit code") as caught,
        LoadRun(here, "postgresql_append", tmp_path / "history", {"namespace": "x"}, users=1),
    ):
        pass
    assert "KeyError: 'primary'" in caught.value.seen
    with pytest.raises(UsageError, match="no workload is called nope"):
        LoadRun(here, "nope", tmp_path, {}, users=1)


RUNNER = """
import json, sys
from pathlib import Path
from steadyset.clusterinfo import ClusterInfo
from steadyset.load import runner
from steadyset.wait import pause
class NoForwarder:
    def __init__(self, *_): pass
    def rewrite(self, params): return params
    def close(self): pass
runner.Forwarder = NoForwarder
info = ClusterInfo(name="here", provider="kubeconfig", kubeconfig="")
with runner.LoadRun(info, "probe_append", Path(sys.argv[1]), json.loads(sys.argv[2]), users=2) as load:
    print(load.pid, flush=True)
    pause(60)
"""


@pytest.mark.slow
def test_load_ends_when_its_runner_is_killed(probes: Any, tmp_path: Path) -> None:
    """Nobody is left to judge: Locust notices and ends by itself, its history complete."""
    import json

    argv = [sys.executable, "-c", RUNNER, str(tmp_path / "history"), json.dumps(probes.params())]
    owner = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    started = time.monotonic()
    wait_for(lambda: not _alive(pid), what="Locust gone", deadline_name="END_S", deadline_s=END_S)
    assert time.monotonic() - started < END_S
    assert load_history(tmp_path / "history").complete


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
