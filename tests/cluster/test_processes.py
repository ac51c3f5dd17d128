"""When a process of a cluster counts as ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadyset.chaos.agent.processes import start_time
from steadyset.fixtures.clusters.embedded.processes import alive, end
from steadyset.wait import wait_for

HEADLESS = """
import ctypes, signal, threading
threading.Thread(target=signal.pause).start()
ctypes.CDLL(None).pthread_exit(None)
"""
DEADLINE_S = 10.0


@pytest.fixture
def headless() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose first thread has ended, and another has not."""
    with subprocess.Popen([sys.executable, "-c", HEADLESS]) as process:
        wait_for(
            lambda: state(process.pid) == "Z",
            what="first thread ends",
            deadline_name="DEADLINE_S",
            deadline_s=DEADLINE_S,
        )
        yield process
        process.kill()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_runs_until_its_last_thread_has_ended(headless: subprocess.Popen[bytes]) -> None:
    """It holds its port until then: an API server started anew too early found its own in use."""
    assert alive(headless.pid)
    assert start_time(headless.pid) > 0
    end([headless.pid], graceful=False)
    assert not alive(headless.pid)


def test_a_zombie_has_ended() -> None:
    """All its threads have; nobody has asked for its exit code yet."""
    with subprocess.Popen(["sleep", "100"]) as process:
        process.send_signal(signal.SIGKILL)
        wait_for(lambda: not alive(process.pid), what="ended", deadline_name="DEADLINE_S", deadline_s=DEADLINE_S)
        assert state(process.pid) == "Z"
        assert start_time(process.pid) == 0
