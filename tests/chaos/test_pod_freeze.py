"""When a pod counts as frozen, though its processes come and go until they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from steadyset.chaos.act import Act
from steadyset.chaos.agent import processes
from steadyset.chaos.agent.node import Node
from steadyset.chaos.faults import pod_freeze
from steadyset.chaos.targets import Victim
from steadyset.wait import wait_for

NODE = Node(os.getpid())
SLACK_S = 5.0
ACT = cast("Act", SimpleNamespace(info=None))


class Here:
    """A reach of this machine."""

    def call(self, verb: Callable[..., Any], *given: Any) -> Any:
        return verb(NODE, *given)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[int]]]:
    """[pid, start] of two processes."""
    monkeypatch.setattr(pod_freeze, "reach_of_pod", lambda info, pod: Here())
    with ExitStack() as stack:
        found = []
        for _ in range(2):
            process = subprocess.Popen(["sleep", "60"])
            stack.callback(process.wait)
            stack.callback(process.kill)
            found.append([process.pid, processes.start_time(process.pid)])
        yield found


def frozen(started: list[list[int]]) -> list[str] | None:
    seen = {"cgroups": [], "processes": started, "names": ["sleep"]}
    return pod_freeze._frozen(ACT, cast("Victim", SimpleNamespace(obj={}, name="web-0", seen=seen)))


def test_a_process_that_has_ended_is_not_waited_for(started: list[list[int]]) -> None:
    """It was listed and ended before the signal came; whoever stopped it would wait for ever."""
    (one, _), (other, _) = started
    os.kill(one, signal.SIGSTOP)
    wait_for(lambda: processes.stopped(NODE, started), what="stopped", deadline_name="stop", deadline_s=SLACK_S)
    assert frozen(started) is None  # the other one runs
    os.kill(other, signal.SIGKILL)  # and stays as a zombie, as below a parent that is stopped
    wait_for(lambda: frozen(started), what="frozen", deadline_name="end", deadline_s=SLACK_S)


def test_nothing_left_to_freeze_is_no_bite(started: list[list[int]]) -> None:
    """Were all to have ended, nothing would stand still."""
    for pid, _ in started:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not processes.alive(NODE, started), what="ended", deadline_name="end", deadline_s=SLACK_S)
    assert frozen(started) is None
