"""keep starts a program again when it ends, and takes it along when it ends itself."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadyset.fixtures.clusters.embedded.components import HERE
from steadyset.fixtures.golang import go_binary
from steadyset.wait import wait_for

BUILD_DEADLINE_S = 120.0
STEP_DEADLINE_S = 5.0


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keep program."""
    binary = tmp_path_factory.mktemp("keep") / "keep"
    argv = [go_binary(), "build", "-trimpath", "-ldflags=-s -w", "-o", str(binary), "./keep"]
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    subprocess.run(argv, cwd=HERE / "parts", env=env, check=True, timeout=BUILD_DEADLINE_S)
    return binary


@pytest.fixture
def kept(keep: Path) -> Iterator[subprocess.Popen[bytes]]:
    """keep with a program that does not end by itself."""
    with subprocess.Popen([str(keep), "sleep", "1000"], stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def program(keep_pid: int, unlike: int = 0) -> int:
    """The pid of the program that keep runs, once it runs one other than `unlike`."""

    def found() -> int | None:
        tasks = Path(f"/proc/{keep_pid}/task").glob("*/children")
        pids = [int(pid) for task in tasks for pid in task.read_text().split()]
        return next((pid for pid in pids if pid != unlike and running(pid)), None)

    return wait_for(found, what="the program runs", deadline_name="STEP_DEADLINE_S", deadline_s=STEP_DEADLINE_S)


def running(pid: int) -> bool:
    """Whether the process exists, has become the program, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep\0")
    except FileNotFoundError:
        return False


def wait_gone(pid: int) -> None:
    wait_for(
        lambda: not running(pid),
        what="the program has ended",
        deadline_name="STEP_DEADLINE_S",
        deadline_s=STEP_DEADLINE_S,
    )


def test_starts_again(kept: subprocess.Popen[bytes]) -> None:
    """A program that was killed is back."""
    first = program(kept.pid)
    os.kill(first, signal.SIGKILL)
    assert program(kept.pid, unlike=first) != first
    assert kept.poll() is None


@pytest.mark.parametrize(("received", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_takes_the_program_along(kept: subprocess.Popen[bytes], received: signal.Signals, code: int) -> None:
    """However keep ends, the program does not stay behind."""
    pid = program(kept.pid)
    kept.send_signal(received)
    assert kept.wait(STEP_DEADLINE_S) == code
    wait_gone(pid)


def test_program_that_cannot_start(keep: Path) -> None:
    """Without a program there is a usage error; one that is missing is tried again, and said."""
    assert subprocess.run([str(keep)], stderr=subprocess.PIPE, check=False).returncode == 2
    with subprocess.Popen([str(keep), "/no/such/program"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = [process.stderr.readline() for _ in range(2)]
        process.terminate()
        assert process.wait(STEP_DEADLINE_S) == 0
    assert all("no such file or directory" in line for line in lines), lines
