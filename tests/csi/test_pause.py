"""The sandbox's first process: it reaps orphans and ends on a signal."""

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
REAP_DEADLINE_S = 5.0
ORPHANS = 5

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a PID namespace"),
]


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`, zombies included."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def pause(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """pause as PID 1 of a namespace: its unshare process, and its pid seen from here."""
    binary = tmp_path / "pause"
    argv = [go_binary(), "build", "-trimpath", "-ldflags=-s -w", "-o", str(binary), "./pause"]
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    subprocess.run(argv, cwd=HERE / "parts", env=env, check=True, timeout=BUILD_DEADLINE_S)
    with subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", str(binary)]) as unshare:
        try:

            def started() -> int | None:
                found = children(unshare.pid)
                return found[0] if found and Path(f"/proc/{found[0]}/exe").readlink() == binary else None

            yield (
                unshare,
                wait_for(
                    started,
                    what="pause runs",
                    deadline_name="REAP_DEADLINE_S",
                    deadline_s=REAP_DEADLINE_S,
                    poll_s=0.01,
                ),
            )
        finally:
            unshare.kill()


def test_reaps_orphans_and_ends_on_sigterm(pause: tuple[subprocess.Popen[bytes], int]) -> None:
    """No zombie stays behind, and SIGTERM ends it with 0, which unshare passes on."""
    unshare, pid = pause
    orphans = f"for i in $(seq {ORPHANS}); do sleep 0.3 & done"
    subprocess.run(["nsenter", f"--target={pid}", "--pid", "sh", "-c", orphans], check=True)
    assert len(children(pid)) == ORPHANS
    wait_for(
        lambda: not children(pid),
        what="pause has reaped its orphans",
        deadline_name="REAP_DEADLINE_S",
        deadline_s=REAP_DEADLINE_S,
        describe=lambda: f"children {children(pid)}",
    )
    os.kill(pid, signal.SIGTERM)
    assert unshare.wait(REAP_DEADLINE_S) == 0
