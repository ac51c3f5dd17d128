"""`down` leaves nothing behind, also after a SIGKILL of `up` at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from steadyset.fixtures.clusters.embedded import cluster, leftovers
from steadyset.wait import pause

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root")]

NAME = "leavetest"
UP = [sys.executable, "-m", "steadyset", "cluster", "up", "--name", NAME, "--nodes", "2"]
UP_TAKES_S = 7.0  # kills are spread over this long
SEED = 20260101


def snapshot():
    """What is on the machine, less what other clusters on it do meanwhile."""
    others = [c.layout for c in cluster.Cluster.all() if c.spec.name != NAME]
    return leftovers.without(leftovers.snapshot(), others)


@pytest.fixture
def before():
    """What is on the machine while the cluster does not exist."""
    cluster.down(NAME)
    return snapshot()


def test_up_and_down_leave_nothing(before):
    """Goal: a whole life of a cluster ends with the machine as it was. Control: while it is up, it shows."""
    subprocess.run(UP, check=True)
    during = snapshot() - before
    kinds = {entry.split()[0] for entry in during}
    assert {"process", "netns", "link", "route", "cgroup"} <= kinds
    assert cluster.down(NAME) is True
    assert snapshot() - before == set()


@pytest.mark.parametrize("attempt", range(3))
def test_down_after_a_killed_up_leaves_nothing(before, attempt):
    """Goal: SIGKILL of `up` at a random moment, then `down`: the machine is as it was."""
    delay_s = random.Random(SEED + attempt).uniform(0.5, UP_TAKES_S)
    child = subprocess.Popen(UP, start_new_session=True)
    end = time.monotonic() + delay_s
    while time.monotonic() < end and child.poll() is None:
        pause(0.05)
    with suppress(ProcessLookupError):  # it was quick, and is done: then `down` follows a whole `up`
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    cluster.down(NAME)
    assert snapshot() - before == set()
