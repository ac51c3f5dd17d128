"""Leases that a node's own timer ends, with this machine as the node: renewed, ended, run out, adopted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadyset.chaos.agent import leases, processes
from steadyset.chaos.agent.node import Node, VerbError
from steadyset.wait import pause, wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="leases lie in /run")
TTL_S = 1.0
LONG_TTL_S = 60.0
SLACK_S = 5.0
NODE = Node(os.getpid())


@pytest.fixture
def lease_id() -> Iterator[str]:
    """An ID of which nothing is left afterwards."""
    name = f"test-{os.getpid()}-{time.monotonic_ns()}"
    yield name
    leases.lease_end(NODE, name)


@pytest.fixture
def stopped_process() -> Iterator[list[int]]:
    """[pid, start] of a process that stands still."""
    process = subprocess.Popen(["sleep", "60"])
    found = [process.pid, processes.start_time(process.pid)]
    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lambda: processes.stopped(NODE, [found]), what="stopped", deadline_name="stop", deadline_s=SLACK_S)
    yield found
    process.kill()
    process.wait()


def begin(lease_id: str, process: list[int], ttl_s: float = TTL_S) -> None:
    leases.lease_begin(NODE, lease_id, ttl_s, "signal_all", [[process], int(signal.SIGCONT)])


def gone(lease_id: str) -> bool:
    return all(lease["id"] != lease_id for lease in leases.leases(NODE))


def test_a_lease_that_nobody_renews_is_undone(lease_id: str, stopped_process: list[int]) -> None:
    """Not before its time-to-live, and within the slack after it."""
    began = time.monotonic()
    begin(lease_id, stopped_process)
    wait_for(lambda: gone(lease_id), what="undone", deadline_name="TTL + slack", deadline_s=2 * SLACK_S)
    assert time.monotonic() - began >= TTL_S
    assert processes.stopped(NODE, [stopped_process]) == []


def test_a_renewed_lease_holds(lease_id: str, stopped_process: list[int]) -> None:
    """For longer than its time-to-live; ended without an undo, nothing is undone."""
    begin(lease_id, stopped_process)
    end = time.monotonic() + 2 * TTL_S
    while time.monotonic() < end:
        assert leases.lease_renew(NODE, lease_id)
        pause(TTL_S / 5)
    [lease] = [found for found in leases.leases(NODE) if found["id"] == lease_id]
    assert lease["renewals"] > 5
    assert leases.lease_end(NODE, lease_id)
    timer = lease["timer"]
    wait_for(lambda: not processes.alive(NODE, [timer]), what="timer leaves", deadline_name="leave", deadline_s=SLACK_S)
    assert processes.stopped(NODE, [stopped_process]) == [stopped_process[0]]
    assert not leases.lease_renew(NODE, lease_id)


def test_the_timer_is_no_child_of_whoever_began(lease_id: str, stopped_process: list[int]) -> None:
    """It has a session of its own and another parent, so that the agent's death does not reach it."""
    begin(lease_id, stopped_process, LONG_TTL_S)
    [lease] = [found for found in leases.leases(NODE) if found["id"] == lease_id]
    pid = lease["timer"][0]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[1]) != os.getpid()
    assert os.getsid(pid) != os.getsid(0)


def test_a_killed_timer_is_replaced_by_the_next_agent(lease_id: str, stopped_process: list[int]) -> None:
    """What an agent does when it starts: every lease without a timer gets one, which undoes what is over."""
    begin(lease_id, stopped_process, SLACK_S)
    [lease] = [found for found in leases.leases(NODE) if found["id"] == lease_id]
    os.kill(lease["timer"][0], signal.SIGKILL)
    wait_for(
        lambda: not processes.alive(NODE, [lease["timer"]]), what="killed", deadline_name="kill", deadline_s=SLACK_S
    )
    assert lease_id in leases.adopt_orphans(NODE)
    assert lease_id not in leases.adopt_orphans(NODE)
    wait_for(lambda: gone(lease_id), what="undone", deadline_name="TTL + slack", deadline_s=2 * SLACK_S)
    assert processes.stopped(NODE, [stopped_process]) == []


def test_two_runners_leases_do_not_meet(lease_id: str, stopped_process: list[int]) -> None:
    """Each has its ID; the end of one leaves the other."""
    other = f"{lease_id}-b"
    begin(lease_id, stopped_process, LONG_TTL_S)
    begin(other, stopped_process, LONG_TTL_S)
    leases.lease_end(NODE, other)
    assert not gone(lease_id) and gone(other)
    assert leases.lease_renew(NODE, lease_id)


@pytest.mark.parametrize(("name", "ttl_s", "why"), [("../x", 1.0, "no lease ID"), ("x", 0.0, "cannot be had")])
def test_bad_input(name: str, ttl_s: float, why: str) -> None:
    """Names that would be paths, leases without a time."""
    with pytest.raises(VerbError, match=why):
        leases.lease_begin(NODE, name, ttl_s, "signal_all", [])
