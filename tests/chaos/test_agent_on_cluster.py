"""The embedded cluster as somebody else's, with the agent in it: faults work by a kubeconfig and the agent alone.

The runner gets no capability of the kernel and a PID namespace of its own, so it could not reach a node if it tried.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from steadyset.chaos.agent import disks, freezer, memory, networks, processes, volumes
from steadyset.chaos.fault import TTL_S, UNDO_SLACK_S
from steadyset.chaos.kube import Kube, container_ids, uid_of
from steadyset.chaos.ledger import HostLedger
from steadyset.chaos.netpath import Place, reaches
from steadyset.chaos.nft import has_elements
from steadyset.chaos.reach import NAMESPACE, Reach, agents_of, reach_of, reach_of_pod
from steadyset.chaos.sweep import sweep
from steadyset.chaos.volumes import Mount, mount_of, volume_of
from steadyset.clusterinfo import AGENT_CAPABILITIES, ClusterInfo
from steadyset.errors import InstrumentError, UsageError
from steadyset.fixtures import agent
from steadyset.fixtures.clusters import kubeconfig
from steadyset.fixtures.clusters.embedded.processes import descendants
from steadyset.fixtures.preload import preload
from steadyset.rundir import FaultSpan, RunDir
from steadyset.wait import wait_for

pytestmark = pytest.mark.cluster

RUNNER = """
import sys
from pathlib import Path
import msgspec
from steadyset.chaos.faults import fault_named
from steadyset.chaos.runner import inject
from steadyset.clusterinfo import load_cluster_info
from steadyset.rundir import RunDir
cluster, run, fault, target, namespace, params = sys.argv[1:]
params = msgspec.json.decode(params)
info = load_cluster_info(cluster)
with inject(info, RunDir(Path(run)), "agent", fault_named(fault), target, namespace=namespace, **params) as span:
    print(msgspec.json.encode(span).decode(), flush=True)
    sys.stdin.read()
print(msgspec.json.encode(span).decode(), flush=True)
"""
POWERLESS = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]
POWERLESS += ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
END_DEADLINE_S = 120.0
READY_DEADLINE_S = 60.0


def quiet(what: str, done: float, total: float) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def foreign(cluster: ClusterInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterInfo]:
    """The cluster by its kubeconfig, with the agent installed for as long as these tests take."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    preload(cluster, [agent.IMAGE], lambda line: None)
    agent.install(kubeconfig.look_at(cluster.kubeconfig), quiet)
    yield kubeconfig.open_cluster(cluster.kubeconfig, confirm_uid=cluster.uid)
    assert agent.remove(kubeconfig.look_at(cluster.kubeconfig), quiet)
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


class Runner:
    """A runner without any power over this machine, in a process of its own."""

    def __init__(
        self, info: ClusterInfo, run_dir: RunDir, fault: str, target: str, namespace: str, params: dict[str, Any]
    ) -> None:
        argv = [*POWERLESS, sys.executable, "-c", RUNNER, info.path, str(run_dir.path), fault, target, namespace]
        argv.append(msgspec.json.encode(params).decode())
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.bitten = self.span()

    def span(self) -> FaultSpan:
        """The next span that it prints."""
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()[-2000:]
        return msgspec.json.decode(line, type=FaultSpan)

    def heal(self) -> FaultSpan:
        """Release the hold; the span once the heal is proven."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        span = self.span()
        assert self.process.wait(END_DEADLINE_S) == 0
        return span

    def kill(self) -> None:
        """With it dies everything in its PID namespace: Chaos Toolkit, and the watchdog on the runner's machine.

        All are stopped first: the kernel closes a dying runner's pipes before it kills the others, and Chaos Toolkit
        may be quick enough to heal.
        """
        for pid in descendants(self.process.pid):
            os.kill(pid, signal.SIGSTOP)
        self.process.kill()
        self.process.wait()


CASES: list[tuple[str, str, dict[str, Any], str]] = [
    ("network-partition", "member-0", {}, "packet member-0 -> member-1: cut"),
    ("pod-freeze", "member-1", {}, "processes stopped"),
    ("pod-freeze", "member-1", {"how": "freezer"}, "cgroups frozen"),
    ("pod-kill", "member-2", {"mode": "sigkill"}, "containers"),
    ("volume-fill", "member-0", {}, "ENOSPC"),
    ("volume-detach", "member-1", {}, "EIO"),
    ("volume-yank", "member-2", {}, "EIO"),
    ("network-loss", "member-0", {"percent": 40.0}, "packets lost"),
]


@pytest.mark.parametrize(
    ("fault", "target", "params", "evidence"),
    [pytest.param(*case, marks=[] if i in (0, 1) else [pytest.mark.slow]) for i, case in enumerate(CASES)],
    ids=["-".join([case[0], *map(str, case[2].values())]) for case in CASES],
)
def test_a_kubeconfig_and_the_agent_are_enough(
    foreign: ClusterInfo,
    ready: str,
    run_dir: RunDir,
    fault: str,
    target: str,
    params: dict[str, Any],
    evidence: str,
) -> None:
    """It bites and heals, proven through the agent; nothing is left, neither of the fault nor of its lease."""
    runner = Runner(foreign, run_dir, fault, target, ready, params)
    assert any(evidence in line for line in runner.bitten.bite), runner.bitten.bite
    span = runner.heal()
    assert span.error == "" and span.healing
    assert 0 < span.inject_ns < span.bitten_ns < span.heal_ns < span.healed_ns
    assert HostLedger(foreign).records() == []
    assert all(s.answers and s.leases == [] for s in agent.status(foreign))
    assert sweep(foreign, namespace=ready).is_clean()


def test_what_the_agent_adds_is_declared(foreign: ClusterInfo, cluster: ClusterInfo) -> None:
    """Once it answers on every schedulable node; nothing of the machine is."""
    assert foreign.provider == "kubeconfig"
    assert set(AGENT_CAPABILITIES) <= set(foreign.capabilities)
    assert not {"node-exec", "node-power", "node-freeze"} & set(foreign.capabilities)


def test_only_the_installation_commands_it(foreign: ClusterInfo, kube: Kube, ready: str) -> None:
    """A caller that reaches the pod through the API server but does not know the token is refused."""
    stranger = type(agents_of(foreign))(foreign)
    stranger._token = b"guessed"
    with pytest.raises(InstrumentError, match="not signed"):
        stranger.call(foreign.nodes[0].name, "alive", [[]], {})


@pytest.mark.slow
def test_two_runners_do_not_disturb_each_other(foreign: ClusterInfo, ready: str, tmp_path: Path) -> None:
    """Both faults hold at the same time on the same pods; healing one leaves the other as it is."""
    dirs = [RunDir.create(tmp_path, {}, name) for name in ("one", "two")]
    one = Runner(foreign, dirs[0], "network-partition", "member-0", ready, {"planes": ["peers"]})
    two = Runner(foreign, dirs[1], "pod-freeze", "member-1", ready, {"how": "signals"})
    assert one.heal().error == ""
    in_force = [lease for s in agent.status(foreign) for lease in s.leases]
    assert len(in_force) == 1 and in_force[0].startswith("pod-freeze")
    assert two.heal().error == ""


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "params"), [("network-partition", {}), ("pod-freeze", {})], ids=["cut", "freeze"])
def test_an_agent_that_is_started_anew_loses_no_bite(
    cluster: ClusterInfo,
    foreign: ClusterInfo,
    kube: Kube,
    ready: str,
    run_dir: RunDir,
    fault: str,
    params: dict[str, Any],
) -> None:
    """Its container is killed while the fault is held; the kubelet starts it again, and the lease goes on."""
    runner = Runner(foreign, run_dir, fault, "member-0", ready, params)
    for pod in kube.pods(NAMESPACE):
        reach_of_pod(cluster, pod).call(processes.kill_containers, container_ids(pod), int(signal.SIGKILL))
    everything_ready(foreign)
    began = time.monotonic()
    wait_for(
        lambda: time.monotonic() - began > TTL_S + 1,
        what="longer than a lease",
        deadline_name="TTL + slack",
        deadline_s=TTL_S + UNDO_SLACK_S,
    )
    span = runner.heal()
    assert span.error == "" and span.healing
    assert sweep(foreign, namespace=ready).is_clean()


# -- what is left when everything that could heal a fault dies ------------------------------------------------------
def member_reach(cluster: ClusterInfo, kube: Kube, namespace: str, name: str) -> tuple[Reach, dict[str, Any]]:
    """The member's node as this machine reaches it, agent or not."""
    pod = kube.need_pod(namespace, name)
    return reach_of_pod(cluster, pod), pod


def runs(cluster: ClusterInfo, reach: Reach, pod: dict[str, Any]) -> bool:
    """Whether no process of the pod stands still."""
    found = reach.call(processes.container_processes, uid_of(pod), container_ids(pod))
    cgroups = reach.call(freezer.container_cgroups, container_ids(pod))
    still = reach.call(processes.stopped, [[p["pid"], p["start"]] for p in found])
    return not still and not reach.call(freezer.frozen, cgroups)


def is_open(cluster: ClusterInfo, reach: Reach, pod: dict[str, Any], peer: dict[str, Any]) -> bool:
    """Whether the peer can be reached from the pod."""
    here = Place(name="target", address=pod["status"]["podIP"], net=f"pod:{uid_of(pod)}", reach=reach)
    return reaches(here, Place(name="peer", address=peer["status"]["podIP"], port=8080)).passes


def has_space(cluster: ClusterInfo, reach: Reach, pod: dict[str, Any]) -> bool:
    """Whether no file of ours fills a volume of the node."""
    return reach.call(volumes.left_files) == []


def passes(cluster: ClusterInfo, reach: Reach, pod: dict[str, Any]) -> bool:
    """Whether no rule of ours drops anything in the pod's namespace."""
    net = f"pod:{uid_of(pod)}"
    return not any(has_elements(reach, net, table) for table in reach.call(networks.our_tables, net))


def is_fast(mount: Mount, pod: dict[str, Any]) -> bool:
    """Whether the pod's container writes a little to its volume at once, as the fault's own proof measures it."""
    [main] = mount.reach.call(memory.mains, container_ids(pod))
    return mount.reach.call(disks.write_time_s, mount.path, main["cgroup"], LITTLE) < LITTLE_S


def kill_agents(cluster: ClusterInfo, kube: Kube, stack: ExitStack) -> None:
    """SIGKILL to the agents' main processes, and their pods deleted with no grace: nothing in their cgroup survives."""
    for pod in kube.pods(NAMESPACE):
        reach = reach_of_pod(cluster, pod)
        reach.call(processes.kill_containers, container_ids(pod), int(signal.SIGKILL))
        kube.delete_pod(NAMESPACE, pod["metadata"]["name"], uid_of(pod), 0)


def cut_agents_off(cluster: ClusterInfo, kube: Kube, stack: ExitStack) -> None:
    """No packet between the agents and the API server."""
    address = cluster.api_server.partition(":")[0]
    script = (
        "add table inet test_cut\n"
        "add chain inet test_cut in { type filter hook prerouting priority -300; }\n"
        f"add rule inet test_cut in ip saddr {address} drop\n"
    )
    for pod in kube.pods(NAMESPACE):
        reach, net = reach_of_pod(cluster, pod), f"pod:{uid_of(pod)}"
        reach.call(networks.nft, net, script)
        stack.callback(partial(uncut, reach, net))


def uncut(reach: Reach, net: str) -> None:
    """An agent's pod that was replaced took the rules along."""
    with suppress(InstrumentError):
        reach.call(networks.nft, net, "delete table inet test_cut\n")


def stop_api_server(cluster: ClusterInfo, kube: Kube, stack: ExitStack) -> None:
    """It hangs, and is let go on at the end."""
    pid = int((Path(cluster.path).parent / "pids" / "kube-apiserver").read_text())
    os.kill(pid, signal.SIGSTOP)
    stack.callback(os.kill, pid, signal.SIGCONT)


Break = Callable[[ClusterInfo, Kube, ExitStack], None]
BREAKS: dict[str, list[Break]] = {
    "runner": [],
    "agent": [kill_agents],
    "cut-off": [cut_agents_off],
    "api-server": [stop_api_server],
    "everything": [cut_agents_off, kill_agents, stop_api_server],
}
HELD: list[tuple[str, dict[str, Any]]] = [
    ("network-partition", {"planes": ["peers"]}),
    ("pod-freeze", {}),
    ("pod-freeze", {"how": "freezer"}),
    ("volume-fill", {}),
]
# Others with the same kinds of leases: only when everything dies.
MORE: list[tuple[str, dict[str, Any]]] = [
    ("network-loss", {"percent": 40.0}),
    ("network-bandwidth", {}),
    ("volume-slow", {}),
]
ENDS = [(*held, broken) for held in HELD for broken in BREAKS] + [(*held, "everything") for held in MORE]
LITTLE, LITTLE_S = 128 * 1024, 0.5  # a second's worth of what volume-slow lets pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "params", "broken"), ENDS, ids=["-".join([f, *map(str, p.values()), b]) for f, p, b in ENDS]
)
def test_every_lease_ends_whatever_dies(
    cluster: ClusterInfo,
    foreign: ClusterInfo,
    kube: Kube,
    ready: str,
    run_dir: RunDir,
    fault: str,
    params: dict[str, Any],
    broken: str,
) -> None:
    """The runner's machine dies (runner, Chaos Toolkit, watchdog), and then what `broken` says: over in TTL + 5 s."""
    reach, pod = member_reach(cluster, kube, ready, "member-1")
    peer = kube.need_pod(ready, "member-0")
    mount = mount_of(cluster, pod, volume_of(kube, pod))
    over: dict[str, Callable[[], bool]] = {
        "network-partition": lambda: is_open(cluster, reach, pod, peer),
        "pod-freeze": lambda: runs(cluster, reach, pod),
        "volume-fill": lambda: has_space(cluster, reach, pod),
        "network-loss": lambda: passes(cluster, reach, pod),
        "network-bandwidth": lambda: passes(cluster, reach, pod),
        "volume-slow": lambda: is_fast(mount, pod),
    }
    runner = Runner(foreign, run_dir, fault, "member-1", ready, params)
    assert not over[fault]()
    runner.kill()
    killed = time.monotonic()
    with ExitStack() as stack:
        for step in BREAKS[broken]:
            step(cluster, kube, stack)
        assert not over[fault](), "it was over before its lease was"
        wait_for(
            over[fault],
            what=f"{fault} is over",
            deadline_name="TTL + slack",
            deadline_s=TTL_S + UNDO_SLACK_S - (time.monotonic() - killed),
        )
    everything_ready(foreign)

    def swept() -> bool:
        """The runner's last renewal may have reached the record after the agent: then it counts as alive."""
        found = sweep(foreign, namespace=ready)
        assert found.is_clean(), found
        return found.alive == []

    wait_for(swept, what="its record is undone, too", deadline_name="TTL + slack", deadline_s=TTL_S + UNDO_SLACK_S)
    assert HostLedger(foreign).records() == []
    assert all(s.leases == [] for s in agent.status(foreign))


def everything_ready(foreign: ClusterInfo) -> None:
    """Until the API server answers and an agent on each node does."""

    def ready() -> bool:
        try:
            return all(s.answers for s in agent.status(foreign))
        except (InstrumentError, UsageError):
            return False

    wait_for(ready, what="agents answer again", deadline_name="agents", deadline_s=READY_DEADLINE_S)
    assert reach_of(foreign, foreign.nodes[0].name).remote
