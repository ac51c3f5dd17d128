"""Kill whatever drives a fault at a random moment, again and again: nothing of it is left after a sweep.

STEADYSET_RANDOM_KILLS sets how many (default 5), STEADYSET_SEED the first seed (default 0); a failure names its seed.
With `-n 3` three lanes go on at a time on one cluster, each with a workload of its own: then they must not undo each
other's faults either.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from steadyset.chaos.agent.volumes import left_files
from steadyset.chaos.blast import VARIABLE
from steadyset.chaos.cordon import our_cordons
from steadyset.chaos.fault import UNDO_SLACK_S
from steadyset.chaos.inside import pod_processes, start_time, stopped
from steadyset.chaos.kube import Kube, uid_of
from steadyset.chaos.ledger import HostLedger, Record
from steadyset.chaos.sweep import sweep
from steadyset.chaos.volumes import mounts_of, volume_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.rundir import RunDir
from steadyset.wait import pause, wait_for

KILLS = int(os.environ.get("STEADYSET_RANDOM_KILLS", "5"))
SEED = int(os.environ.get("STEADYSET_SEED", "0"))
FAULTS = ("node-cordon", "pod-freeze", "network-partition", "volume-fill", "network-loss")
TTL_S = 3.0  # short, so that many kills take minutes; what is shown does not depend on it
STORY_DEADLINE_S = 90.0
MOMENT_POLL_S = 0.005
# When the kill comes: so long after this has happened, by how much being drawn. The machine may be slow or fast.
MOMENTS = {"started": 3.0, "written": 0.4, "bitten": 2.5, "released": 0.6}
SCRIPT = """
import sys
from pathlib import Path
from steadyset.chaos.faults import fault_named
from steadyset.chaos.runner import inject
from steadyset.clusterinfo import load_cluster_info
from steadyset.rundir import RunDir
cluster, run, fault, target, namespace, ttl_s = sys.argv[1:]
info, folder = load_cluster_info(cluster), RunDir(Path(run))
with inject(info, folder, "random", fault_named(fault), target, namespace=namespace, ttl_s=float(ttl_s)):
    (Path(run) / "bitten").touch()
    sys.stdin.read()
"""


def records_of(ledger: HostLedger, namespace: str) -> list[Record]:
    """This lane's records."""
    return [record for record in ledger.records() if record.namespace == namespace]


def driving(run: str, ledger: HostLedger, namespace: str) -> dict[str, list[int]]:
    """Pids of the runner, of Chaos Toolkit and of the watchdog of this run, by role."""
    watched = [str(ledger.path(record.id)) for record in records_of(ledger, namespace)]
    found: dict[str, list[int]] = {"runner": [], "chaos": [], "watchdog": []}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            argv = (entry / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if ("vigil.py" in argv or "chaos.watchdog" in argv) and any(path in argv for path in watched):
            found["watchdog"].append(int(entry.name))
        elif run in argv:
            found["chaos" if "chaostoolkit" in argv else "runner"].append(int(entry.name))
    return found


def wait_moment(moment: str, runner: subprocess.Popen[str], run: Path, ledger: HostLedger, namespace: str) -> None:
    """Until that has happened, or the runner has ended without it; "released" lets go of the hold."""
    bitten = (run / "bitten").exists
    reached = {
        "started": lambda: True,
        "written": lambda: bool(records_of(ledger, namespace)),
        "bitten": bitten,
        "released": bitten,
    }[moment]
    wait_for(
        lambda: reached() or runner.poll() is not None,
        what=moment,
        deadline_name="STORY_DEADLINE_S",
        deadline_s=STORY_DEADLINE_S,
        poll_s=MOMENT_POLL_S,
    )
    if moment == "released":
        assert runner.stdin is not None
        runner.stdin.close()


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED, SEED + KILLS))
def test_nothing_is_left_after_a_kill_at_a_random_moment(
    cluster: ClusterInfo,
    kube: Kube,
    ready: str,
    run_dir: RunDir,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """Any subset of runner, Chaos Toolkit and watchdog dies; then the lease runs out, then a sweep."""
    monkeypatch.setenv(f"{VARIABLE}MAX_NODES", "all")  # lanes beside this one may have closed another node
    draw = random.Random(seed)
    fault, target, moment = draw.choice(FAULTS), f"member-{draw.randrange(3)}", draw.choice(list(MOMENTS))
    ledger = HostLedger(cluster)
    argv = [sys.executable, "-c", SCRIPT, cluster.path, str(run_dir.path), fault, target, ready, str(TTL_S)]
    with (run_dir.path / "runner.log").open("w") as log:
        runner = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)
    wait_moment(moment, runner, run_dir.path, ledger, ready)
    pause(draw.uniform(0.0, MOMENTS[moment]))
    doomed = ["runner", *[role for role in ("chaos", "watchdog") if draw.random() < 0.7]]
    draw.shuffle(doomed)
    written = len(records_of(ledger, ready))
    for role in doomed:
        for pid in driving(str(run_dir.path), ledger, ready)[role]:
            if start_time(pid):
                os.kill(pid, signal.SIGKILL)
    runner.wait()
    story = f"seed {seed}: {fault} on {target}, {moment}, killed {', '.join(doomed)}, {written} in the ledger"
    record_property("story", story)
    wait_for(
        lambda: not driving(str(run_dir.path), ledger, ready)["chaos"],
        what="Chaos Toolkit ended",
        deadline_name="STORY_DEADLINE_S",
        deadline_s=STORY_DEADLINE_S,
        describe=lambda: story,
    )
    end = time.monotonic() + TTL_S + UNDO_SLACK_S
    while records_of(ledger, ready) and time.monotonic() < end:
        pause(MOMENT_POLL_S * 20)
    swept = sweep(cluster)
    assert swept.is_clean(), (story, swept)
    assert not any(f" {ready}/" in line for line in swept.alive) and records_of(ledger, ready) == [], story
    for number in range(3):
        pod = kube.need_pod(ready, f"member-{number}")
        assert stopped([[p["pid"], p["start"]] for p in pod_processes(uid_of(pod))]) == [], story
        for mount in mounts_of(cluster, volume_of(kube, pod)):
            left = mount.reach.call(left_files)  # of the whole node, other lanes' live faults included
            assert [path for path in left if uid_of(pod) in path] == [], story
    for node in kube.items("/api/v1/nodes"):
        assert "unschedulable" not in node["spec"] or our_cordons(node), story  # by another lane's live fault
