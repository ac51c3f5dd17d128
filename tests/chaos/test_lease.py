"""What is left when everything that could heal a fault is killed: nothing, within the lease's time-to-live + 5 s."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steadyset.chaos.agent import networks, probes
from steadyset.chaos.agent.networks import our_tables
from steadyset.chaos.agent.node import Node
from steadyset.chaos.agent.volumes import left_files
from steadyset.chaos.cases import Case, first_case
from steadyset.chaos.cordon import our_cordons
from steadyset.chaos.daemons import daemon_processes, switch_daemon
from steadyset.chaos.fault import TTL_S, UNDO_SLACK_S, Fault, Lease
from steadyset.chaos.faults import FAULTS
from steadyset.chaos.inside import stopped
from steadyset.chaos.kube import Kube, is_ready, uid_of
from steadyset.chaos.ledger import ClusterLedger, HostLedger, Record, new_record
from steadyset.chaos.reach import reach_of_pod
from steadyset.chaos.sweep import sweep
from steadyset.chaos.targets import node_ready
from steadyset.chaos.watchdog import START_DEADLINE_S, Watchdog
from steadyset.clusterinfo import ClusterInfo, save_cluster_info
from steadyset.errors import InstrumentError, UsageError
from steadyset.fixtures.clusters.embedded.cluster import Cluster
from steadyset.rundir import RunDir
from steadyset.wait import wait_for

RUNNER = """
import json
import sys
from pathlib import Path
from steadyset.chaos.faults import fault_named
from steadyset.chaos.runner import inject
from steadyset.clusterinfo import load_cluster_info
from steadyset.errors import InstrumentError
from steadyset.rundir import RunDir
cluster, run, fault, target, namespace, params = sys.argv[1:]
info, run_dir = load_cluster_info(cluster), RunDir(Path(run))
with inject(info, run_dir, "lease", fault_named(fault), target, namespace=namespace, **json.loads(params)):
    print("bitten", flush=True)
    sys.stdin.read()
"""

HEAL_DEADLINE_S = 90.0
SHORT_TTL_S = 5.0  # a time-to-live that is waited for many times
MEMBER_PORT = 8080  # of workload.yaml
PATH_TIMEOUT_S = 0.5


class Killed:
    """A runner in a process of its own, to be killed while it holds a fault."""

    def __init__(
        self,
        cluster: ClusterInfo,
        run_dir: RunDir,
        fault: str,
        target: str,
        namespace: str,
        params: dict[str, Any] | None = None,
    ) -> None:
        argv = [sys.executable, "-c", RUNNER, cluster.path, str(run_dir.path), fault, target, namespace]
        argv.append(json.dumps(params or {}))
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "bitten"

    def child(self) -> int:
        """Pid of its `chaos run`."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def kill(self, also_child: bool) -> None:
        """SIGKILL the runner, and Chaos Toolkit with it."""
        if also_child:
            os.kill(self.child(), signal.SIGKILL)
        self.process.kill()
        self.process.wait()


@pytest.mark.cluster
@pytest.mark.parametrize("also_child", [False, True], ids=["runner", "runner-and-chaos"])
@pytest.mark.slow
def test_killed_runner_leaves_no_cordon(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir, also_child: bool
) -> None:
    """The runner's death releases the hold at once; with Chaos Toolkit dead too, the watchdog undoes in time."""
    node = kube.need_pod(ready, "member-2")["spec"]["nodeName"]
    runner = Killed(cluster, run_dir, "node-drain", "member-2", ready)
    assert our_cordons(kube.node(node))
    runner.kill(also_child)
    killed = time.monotonic()
    wait_for(
        lambda: not our_cordons(kube.node(node)),
        what="node uncordoned",
        deadline_name="TTL + slack",
        deadline_s=TTL_S + UNDO_SLACK_S,
    )
    assert not also_child or time.monotonic() - killed > 1.0
    assert "unschedulable" not in kube.node(node)["spec"]
    wait_for(
        lambda: not HostLedger(cluster).records(), what="ledger empty", deadline_name="ledger", deadline_s=UNDO_SLACK_S
    )
    assert sweep(cluster).is_clean()


def kill_while_held(cluster: ClusterInfo, run_dir: RunDir, case: Case, namespace: str) -> list[Record]:
    """Kill runner and Chaos Toolkit while the fault is held; the fault's records as they were."""
    lacking = [c for c in case.fault.capabilities if not cluster.can(c)]
    if lacking:
        pytest.skip(f"not tested: {case.fault} needs {', '.join(lacking)}")
    leased = "ttl_s" in inspect.signature(case.fault.load().inject).parameters
    params = case.params | ({"ttl_s": SHORT_TTL_S} if leased else {})
    runner = Killed(cluster, run_dir, case.fault_name, case.target, namespace, params)
    records = [r for r in HostLedger(cluster).records() if r.namespace == namespace]
    runner.kill(also_child=True)
    assert records or case.fault.lease is Lease.ONE_SHOT
    return records


def wait_undo_issued(cluster: ClusterInfo, record: Record, killed: float) -> Path:
    """Within the time-to-live and the slack after the kill; the watchdog's log."""
    log = HostLedger(cluster).folder / f"{record.id}.log"
    wait_for(
        lambda: "undoing" in log.read_text(),
        what="the undo is issued",
        deadline_name="TTL + slack",
        deadline_s=record.ttl_s + UNDO_SLACK_S,
    )
    assert time.monotonic() - killed < record.ttl_s + UNDO_SLACK_S
    return log


def wait_undone(cluster: ClusterInfo, record: Record, deadline_s: float) -> None:
    """The ledger is empty, and a sweep finds everything as it was found."""
    log = HostLedger(cluster).folder / f"{record.id}.log"
    wait_for(
        lambda: record.id not in [r.id for r in HostLedger(cluster).records()],
        what="its record is gone",
        deadline_name="undone",
        deadline_s=deadline_s,
        describe=log.read_text,
    )


def wait_recovered(cluster: ClusterInfo, kube: Kube, namespace: str, deadline_s: float) -> None:
    """Three members and all nodes are Ready again, whatever the fault did to them."""

    def recovered() -> bool:
        try:
            ready = [is_ready(p) for p in kube.pods(namespace, labelSelector="app=member")]
            return ready == [True] * 3 and all(node_ready(kube, n.name) for n in cluster.nodes)
        except (InstrumentError, UsageError):
            return False

    wait_for(recovered, what="members and nodes Ready", deadline_name="heal_s", deadline_s=deadline_s)


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_every_lease_ends_by_itself(
    cluster: ClusterInfo,
    kube: Kube,
    ready: str,
    run_dir: RunDir,
    fault: Fault,
    record_property: Callable[[str, object], None],
) -> None:
    """Runner and Chaos Toolkit are killed while the fault is held: undone by its watchdog, nothing left to sweep."""
    case = first_case(fault)
    records = kill_while_held(cluster, run_dir, case, ready)
    killed = time.monotonic()
    for record in records:
        wait_undo_issued(cluster, record, killed)
        issued_s = time.monotonic() - killed
        wait_undone(cluster, record, HEAL_DEADLINE_S)
        record_property("undo_issued_s", round(issued_s, 1))
    wait_recovered(cluster, kube, ready, fault.deadlines["heal_s"])
    record_property("case", str(case))
    record_property("recovered_s", round(time.monotonic() - killed, 1))
    swept = sweep(cluster)
    assert swept.is_clean() and swept.undone == [], swept


def runs(cluster: ClusterInfo, daemon: str) -> bool:
    """Whether the daemon runs."""
    try:
        return bool(daemon_processes(cluster, daemon))
    except UsageError:
        return False


# What is undone while the API server is away, and how this machine shows it; others are undone once it is back.
HERE: dict[str, Callable[[ClusterInfo, Record], bool]] = {
    "pod-freeze": lambda info, record: not stopped(record.undo["victims"][0]["processes"]),
    "daemon-pause": lambda info, record: not stopped(record.undo["processes"]),
    "daemon-stop": lambda info, record: all(runs(info, name) for name in record.undo["daemons"]),
    "node-freeze": lambda info, record: not Cluster.get(info.name).node(record.undo["nodes"][0]).frozen(),
    "node-power-off": lambda info, record: Cluster.get(info.name).node(record.undo["nodes"][0]).init_pid() > 0,
    "volume-fill": lambda info, record: not left_files(Node(info.node(record.undo["filled"][0][1]).pid)),
    "network-partition": lambda info, record: (
        not any(
            our_tables(Node(info.node(home["node"]).pid), f"pod:{home['uid']}") for home in record.undo["pods"].values()
        )
    ),
}
API_AWAY = [f for f in FAULTS if hasattr(f.load(), "undo") and f.name not in ("daemon-restart", "node-reboot")]


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("fault", API_AWAY, ids=str)
def test_every_lease_ends_though_the_api_server_is_away(
    cluster: ClusterInfo,
    kube: Kube,
    ready: str,
    run_dir: RunDir,
    fault: Fault,
    record_property: Callable[[str, object], None],
) -> None:
    """The undo is issued in time; what needs only this machine is undone before the API server is back."""
    case = first_case(fault)
    [record] = kill_while_held(cluster, run_dir, case, ready)
    killed = time.monotonic()
    switch_daemon(cluster, "stop", "kube-apiserver")
    try:
        wait_undo_issued(cluster, record, killed)
        record_property("case", str(case))
        issued_s, when = time.monotonic() - killed, "before" if fault.name in HERE else "once"
        record_property("api_away", f"y (issued after {issued_s:.1f} s, undone {when} it is back)")
        if fault.name in HERE:
            wait_for(
                lambda: HERE[fault.name](cluster, record),
                what="undone without the API server",
                deadline_name="TTL + slack",
                deadline_s=TTL_S + UNDO_SLACK_S,
            )
        assert HostLedger(cluster).records(), "the cluster's copy of the record cannot have been removed"
    finally:
        switch_daemon(cluster, "start", "kube-apiserver")
    wait_undone(cluster, record, HEAL_DEADLINE_S)
    wait_recovered(cluster, kube, ready, fault.deadlines["heal_s"])
    swept = sweep(cluster)
    assert swept.is_clean() and swept.undone == [], swept
    restart_clients(cluster)


def restart_clients(cluster: ClusterInfo) -> None:
    """So that the next outage finds them as the first did: a watch that fails twice within two minutes is tried again
    up to a minute later (the back-off of client-go's reflector), and for so long nobody acts on anything."""
    for name in ("kube-controller-manager", "kube-scheduler", "csi-attacher", "csi-provisioner"):
        switch_daemon(cluster, "restart", name)
    for node in cluster.nodes:
        switch_daemon(cluster, "restart", f"{node.name}-kubelet")


@pytest.mark.cluster
@pytest.mark.slow
def test_interrupted_runner_has_healed_when_it_ends(
    cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir
) -> None:
    """Ctrl-C in the test: the fault is undone and its heal proven before the process ends."""
    node = kube.need_pod(ready, "member-0")["spec"]["nodeName"]
    runner = Killed(cluster, run_dir, "node-drain", "member-0", ready)
    assert our_cordons(kube.node(node))
    runner.process.send_signal(signal.SIGINT)
    assert runner.process.wait(HEAL_DEADLINE_S) != 0
    assert "unschedulable" not in kube.node(node)["spec"]
    assert HostLedger(cluster).records() == []


@pytest.mark.cluster
@pytest.mark.slow
def test_killed_runner_leaves_no_cut(cluster: ClusterInfo, kube: Kube, ready: str, run_dir: RunDir) -> None:
    """Runner, Chaos Toolkit and watchdog are all killed: the kernel opens the path, and a sweep takes the table."""
    # Without the plane of DNS: a drain before this may have moved its pods.
    runner = Killed(cluster, run_dir, "network-partition", "member-1", ready, {"planes": ["peers"]})
    record = HostLedger(cluster).records()[0]
    watchdogs = [p for p in _pids() if record.id in _cmdline(p) and "vigil.py" in _cmdline(p)]
    assert len(watchdogs) == 1
    os.kill(watchdogs[0], signal.SIGKILL)
    runner.kill(also_child=True)
    assert [record.id] == [line.split()[0] for line in sweep(cluster).alive]
    pod, other = kube.need_pod(ready, "member-1"), kube.need_pod(ready, "member-0")
    path = f"pod:{uid_of(pod)}", other["status"]["podIP"], MEMBER_PORT, PATH_TIMEOUT_S
    assert not reach_of_pod(cluster, pod).call(probes.reaches, *path)
    wait_for(
        lambda: reach_of_pod(cluster, pod).call(probes.reaches, *path),
        what="the path is open",
        deadline_name="TTL + slack",
        deadline_s=TTL_S + UNDO_SLACK_S,
    )
    wait_for(record.is_expired, what="lease over", deadline_name="TTL", deadline_s=TTL_S + UNDO_SLACK_S)
    swept = sweep(cluster, dry_run=True)
    assert [line.rpartition(": ")[2] for line in swept.undone] == ["would be undone"]
    swept = sweep(cluster)
    assert swept.is_clean() and any("rules removed from member-1" in line for line in swept.undone)
    pod = kube.need_pod(ready, "member-1")
    assert reach_of_pod(cluster, pod).call(networks.our_tables, f"pod:{uid_of(pod)}") == []


def _pids() -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]


def _cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("host", ["elsewhere", ""], ids=["another-machine", "another-ledger-of-this-one"])
def test_another_runners_live_fault_is_left_alone(cluster: ClusterInfo, kube: Kube, ready: str, host: str) -> None:
    """A record of another ledger that is renewed stays; once nobody renews it, it is an orphan.

    The copy's own times do not matter, though its host be this one: it falls behind while the API server is away.
    """
    ledger = ClusterLedger(cluster, kube, ready)
    record = new_record("node-drain", ready, "member-0", 2.5, {"nodes": ["node-1"]})
    record.host = host or record.host
    record.expires_ns = time.monotonic_ns()
    ledger.write(record)
    renewing = subprocess.Popen([sys.executable, "-c", RENEWER, cluster.path, record.id], stdin=subprocess.PIPE)
    try:
        assert [record.id] == [line.split()[0] for line in sweep(cluster).alive]
    finally:
        renewing.kill()
        renewing.wait()
    swept = sweep(cluster)
    assert swept.alive == [] and len(swept.undone) == 1
    assert ledger.records() == []


RENEWER = """
import sys
from steadyset.chaos.kube import Kube
from steadyset.chaos.ledger import ClusterLedger
from steadyset.clusterinfo import load_cluster_info
from steadyset.wait import pause
info = load_cluster_info(sys.argv[1])
ledger = ClusterLedger(info, Kube(info), "")
[record] = [r for r, _ in ledger.records() if r.id == sys.argv[2]]
while True:
    record.renewals += 1
    ledger.renew(record)
    pause(0.5)
"""


def test_records_of_another_boot_have_expired() -> None:
    """Monotonic times mean nothing after a reboot."""
    record = new_record("node-drain", "ns", "pod", 60, {})
    assert record.is_ours() and not record.is_expired()
    record.boot_id = "another"
    assert record.is_expired()


def test_renewal_moves_the_end_and_fails_once_the_record_is_gone(tmp_path: Path) -> None:
    """Gone means undone by the watchdog: the fault must not go on as if it held."""
    ledger = HostLedger(
        ClusterInfo(name="t", provider="kubeconfig", kubeconfig="", path=str(tmp_path / "cluster.json"))
    )
    record = new_record("node-drain", "ns", "pod", 60, {"node": "n"})
    ledger.write(record)
    end = record.expires_ns
    assert ledger.renew(record)
    [read] = ledger.records()
    assert read.expires_ns > end and read.renewals == 1 and read.undo == {"node": "n"}
    ledger.remove(record.id)
    assert not ledger.renew(record)
    assert ledger.records() == []


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    """Rather than forgotten."""
    ledger = HostLedger(
        ClusterInfo(name="t", provider="kubeconfig", kubeconfig="", path=str(tmp_path / "cluster.json"))
    )
    ledger.folder.mkdir()
    (ledger.folder / "node-drain-1.json").write_bytes(b'{"id": ')
    with pytest.raises(InstrumentError, match="node-drain-1"):
        ledger.records()


def test_a_watchdog_that_is_not_needed_leaves_without_a_trace(tmp_path: Path) -> None:
    """It is started before it is known whether the fault will be injected."""
    info = ClusterInfo(name="t", provider="kubeconfig", kubeconfig="", path=str(tmp_path / "cluster.json"))
    save_cluster_info(info, tmp_path / "cluster.json")
    watchdog = Watchdog(info, "node-drain-12345678")
    watchdog.dismiss()
    wait_left(HostLedger(info))


def wait_left(ledger: HostLedger) -> None:
    """Until a watchdog has left: neither a record nor a log is there."""
    wait_for(
        lambda: list(ledger.folder.iterdir()) == [],
        what="it has left",
        deadline_name="leave",
        deadline_s=START_DEADLINE_S,
    )


def test_a_watchdog_watches_what_was_written_meanwhile(tmp_path: Path) -> None:
    """And leaves once the record is gone."""
    info = ClusterInfo(name="t", provider="kubeconfig", kubeconfig="", path=str(tmp_path / "cluster.json"))
    save_cluster_info(info, tmp_path / "cluster.json")
    ledger, record = HostLedger(info), new_record("node-drain", "ns", "pod", 60, {})
    watchdog = Watchdog(info, record.id)
    ledger.write(record)
    watchdog.watch()
    assert ledger.records() == [record]
    ledger.remove(record.id)
    wait_left(ledger)


def test_a_watchdog_is_ready_before_the_lease_is_over(tmp_path: Path) -> None:
    """A renewal is overdue: it loads what undoes, and waits on; what is healed then needs no undo and leaves no log."""
    info = ClusterInfo(name="t", provider="kubeconfig", kubeconfig="", path=str(tmp_path / "cluster.json"))
    save_cluster_info(info, tmp_path / "cluster.json")
    ledger, record = HostLedger(info), new_record("node-drain", "ns", "pod", 60, {})
    ledger.write(record)
    watchdog = Watchdog(info, record.id)
    watchdog.watch()
    pid = watchdog._process.pid
    assert "vigil.py" in _cmdline(pid)
    record.expires_ns = time.monotonic_ns() + int(0.4 * record.ttl_s * 1e9)
    ledger.write(record)
    wait_for(
        lambda: "steadyset.chaos.watchdog" in _cmdline(pid),
        what="it loads what undoes",
        deadline_name="overdue",
        deadline_s=START_DEADLINE_S,
    )
    ledger.remove(record.id)
    wait_left(ledger)
