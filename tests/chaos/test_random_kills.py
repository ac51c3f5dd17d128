"""Kill whatever drives a fault at a random moment, again and again: nothing of it is left after a sweep.

STEADYSET_RANDOM_KILLS sets how many (default 5), STEADYSET_SEED the first seed (default 0); a failure names its seed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from steadyset.chaos.fault import RENEW_S, TTL_S, UNDO_SLACK_S
from steadyset.chaos.inside import pod_processes, start_time, stopped
from steadyset.chaos.kube import Kube, uid_of
from steadyset.chaos.ledger import HostLedger
from steadyset.chaos.sweep import sweep
from steadyset.chaos.volumes import mounts_of, volume_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.rundir import RunDir
from steadyset.wait import pause, wait_for

KILLS = int(os.environ.get("STEADYSET_RANDOM_KILLS", "5"))
SEED = int(os.environ.get("STEADYSET_SEED", "0"))
FAULTS = ("node-cordon", "pod-freeze", "network-partition", "volume-fill", "network-loss")
LATEST_S = 8.0  # the latest moment of a kill: starting, injecting, proving, holding are all before
STORY_DEADLINE_S = 90.0
SCRIPT = """
import sys
from pathlib import Path
from steadyset.chaos.faults import fault_named
from steadyset.chaos.runner import inject
from steadyset.clusterinfo import load_cluster_info
from steadyset.rundir import RunDir
cluster, run, fault, target, namespace = sys.argv[1:]
with inject(load_cluster_info(cluster), RunDir(Path(run)), "random", fault_named(fault), target, namespace=namespace):
    sys.stdin.read()
"""


def driving(run: str, ledger: HostLedger) -> dict[str, list[int]]:
    """Pids of the runner, of Chaos Toolkit and of the watchdog of this run, by role."""
    found: dict[str, list[int]] = {"runner": [], "chaos": [], "watchdog": []}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            argv = (entry / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "chaos.watchdog" in argv and str(ledger.folder) in argv:
            found["watchdog"].append(int(entry.name))
        elif run in argv:
            found["chaos" if "chaostoolkit" in argv else "runner"].append(int(entry.name))
    return found


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED, SEED + KILLS))
def test_nothing_is_left_after_a_kill_at_a_random_moment(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir, seed: int
) -> None:
    """Any subset of runner, Chaos Toolkit and watchdog dies; then the lease runs out, then a sweep."""
    draw = random.Random(seed)
    fault, target = draw.choice(FAULTS), f"member-{draw.randrange(3)}"
    ledger = HostLedger(cluster)
    argv = [sys.executable, "-c", SCRIPT, cluster.path, str(run_dir.path), fault, target, ready]
    runner = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pause(draw.uniform(0.2, LATEST_S))
    doomed = ["runner", *[role for role in ("chaos", "watchdog") if draw.random() < 0.7]]
    draw.shuffle(doomed)
    for role in doomed:
        for pid in driving(str(run_dir.path), ledger)[role]:
            if start_time(pid):
                os.kill(pid, signal.SIGKILL)
    runner.wait()
    wait_for(
        lambda: not driving(str(run_dir.path), ledger)["chaos"],
        what="Chaos Toolkit ended",
        deadline_name="story",
        deadline_s=STORY_DEADLINE_S,
    )
    end = time.monotonic() + TTL_S + UNDO_SLACK_S
    while ledger.records() and time.monotonic() < end:
        pause(RENEW_S / 4)
    swept = sweep(cluster)
    assert swept.is_clean(), (seed, fault, target, doomed, swept)
    assert swept.alive == [] and ledger.records() == []
    for number in range(3):
        pod = kube.need_pod(ready, f"member-{number}")
        assert stopped([[p.pid, p.start] for p in pod_processes(uid_of(pod))]) == []
        for mount in mounts_of(cluster, volume_of(kube, pod)):
            assert list(mount.glob(".steadyset-*")) == []
    for node in kube.items("/api/v1/nodes"):
        assert "unschedulable" not in node["spec"]
