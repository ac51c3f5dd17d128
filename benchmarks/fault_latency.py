"""From the call to the first dropped packet on the last member of a partition, and from its heal to the first packet.

    python benchmarks/fault_latency.py [--rounds 30] [--name faultlatency] [--only "agent: inject"]

One member of three is cut from the others and let go again, in turn by: steadyset from this machine (embedded path),
steadyset by a kubeconfig and the agent, `kubectl exec` of nft into a privileged pod on each node (as existing tools do
it), and a NetworkPolicy object. A process of its own sends a datagram every millisecond over every cut path, in both
directions, and notes which arrive. The last member counts: the time is that of the slowest path.

`cut` is the order alone, with everything prepared; `inject` is the whole activity as Chaos Toolkit calls it: targets
looked up, paths proven open before, the undo written ahead, the watchdog started, then the cut. `chaos run` is the same
activity in a Chaos Toolkit process of its own, as a test or `steadyset chaos run` starts it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from steadyset.chaos import warm
from steadyset.chaos.act import resume
from steadyset.chaos.agent import networks, processes
from steadyset.chaos.agent.node import Node
from steadyset.chaos.cut import Cut, members_of
from steadyset.chaos.faults import network_partition
from steadyset.chaos.kube import Kube, is_ready, uid_of
from steadyset.chaos.nft import cut_script, delete_script
from steadyset.chaos.partition import isolate
from steadyset.chaos.reach import at_once, reach_of_pod
from steadyset.chaos.runner import inject
from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures import agent
from steadyset.fixtures.clusters import embedded, kubeconfig
from steadyset.fixtures.preload import preload
from steadyset.fixtures.stacks.probe import Probe
from steadyset.rundir import RunDir
from steadyset.wait import pause, wait_for

NAMESPACE = "steadyset-latency"
TICK_S = 0.001
TTL_S = 10.0
SEEN_DEADLINE_S = 10.0  # until a cut, or its heal, is seen on every path
NOT_SEEN_S = 3.0  # a NetworkPolicy that has dropped nothing by then is not enforced
SETTLE_S = 0.3  # the paths are open for so long between two rounds
READY_DEADLINE_S = 60.0
RUNS_MAX = 15  # rounds of `chaos run`, which takes seconds each
HOST_FOLDERS = ("bin", "sbin", "usr", "lib", "lib64", "etc")


class Direction(NamedTuple):
    """One direction between two members."""

    one: str
    other: str


# -- the meter -------------------------------------------------------------------------------------------------------
def meter(pids: dict[str, int], paths: list[Direction], pipe: Connection) -> None:
    """Send a datagram over each path every tick; answer when the first was lost, or arrived, since a moment."""
    sockets: dict[tuple[int, str], socket.socket] = {}
    for number, path in enumerate(paths):
        for role, member in (("out", path.one), ("in", path.other)):
            with networks.opened(Node(os.getpid()), f"pid:{pids[member]}") as fd:
                sock = networks.within(fd, partial(socket.socket, socket.AF_INET, socket.SOCK_DGRAM))
                sock.bind((networks.within(fd, networks.first_address), 0))
            sock.setblocking(False)
            sockets[number, role] = sock
    sent: list[list[int]] = [[] for _ in paths]
    arrived: list[bytearray] = [bytearray() for _ in paths]
    while True:
        for number in range(len(paths)):
            sent[number].append(time.monotonic_ns())
            arrived[number].append(0)
            with suppress(OSError):  # a drop on output is EPERM here
                target = sockets[number, "in"].getsockname()
                sockets[number, "out"].sendto(len(sent[number]).to_bytes(4, "big"), target)
        for number in range(len(paths)):
            with suppress(BlockingIOError):
                while True:
                    arrived[number][int.from_bytes(sockets[number, "in"].recv(16), "big") - 1] = 1
        if pipe.poll(TICK_S):
            try:
                wanted, since_ns = pipe.recv()
            except EOFError:
                return
            pipe.send([_first(sent[n], arrived[n], since_ns, wanted) for n in range(len(paths))])


def _first(sent: list[int], arrived: bytearray, since_ns: int, wanted: int) -> int:
    """When the first datagram of the unbroken run up to now was sent that arrived (1), or did not (0); 0 for none."""
    first = 0
    for index in range(len(sent) - 5, -1, -1):  # the last few may be on their way
        if arrived[index] != wanted or sent[index] < since_ns:
            break
        first = sent[index]
    return first


class Meter:
    """The measuring process."""

    def __init__(self, pids: dict[str, int], paths: list[Direction]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(target=meter, args=(pids, paths, child), daemon=True)
        self._process.start()
        child.close()
        self._ask(1, 0)  # once it runs,
        self.last(1, 0)  # and everything that it sends arrives

    def _ask(self, wanted: int, since_ns: int) -> list[int]:
        self._pipe.send((wanted, since_ns))
        found: list[int] = self._pipe.recv()
        return found

    def last(self, wanted: int, since_ns: int, deadline_s: float = SEEN_DEADLINE_S) -> float:
        """Milliseconds from `since_ns` until the last path dropped (0) or passed (1) packets."""
        what = "passes again" if wanted else "is cut"
        wait_for(
            lambda: all(self._ask(wanted, since_ns)),
            what=f"every path {what}",
            deadline_name="seen",
            deadline_s=deadline_s,
            poll_s=0.02,
        )
        return (max(self._ask(wanted, since_ns)) - since_ns) / 1e6

    def close(self) -> None:
        """End it."""
        self._pipe.close()
        self._process.join(SEEN_DEADLINE_S)


# -- the ways to cut -------------------------------------------------------------------------------------------------
class Way(NamedTuple):
    """A way to cut and to let go; `after` tidies up when a round's clocks have stopped."""

    name: str
    cut: Callable[[], None]
    heal: Callable[[], None]
    after: Callable[[], None] = lambda: None


def steadyset_cut(info: ClusterInfo, name: str, target: str, names: list[str]) -> Way:
    """The order alone: the rules of a prepared partition."""
    kube = Kube(info)
    members = members_of(info, [kube.need_pod(NAMESPACE, n) for n in names])
    cut = Cut(info, NAMESPACE, members, isolate(names, target).cuts, {})
    table = "steadyset_latency"
    heal = [partial(m.reach.call, networks.remove_table, m.net, table) for m in members]
    return Way(f"{name}: cut", lambda: cut.apply(table, TTL_S), lambda: _ignore(at_once(heal)))


def steadyset_inject(info: ClusterInfo, name: str, target: str) -> Way:
    """The whole activity."""
    return Way(
        f"{name}: inject",
        lambda: _ignore(network_partition.inject(info.path, target, NAMESPACE, planes=["peers"])),
        lambda: _ignore(network_partition.heal(info.path, target, NAMESPACE)),
        partial(_close_proofs, target),
    )


def _close_proofs(target: str) -> None:
    resume(network_partition.FAULT, NAMESPACE, target).memory["proofs"].close()


def _ignore(_result: Any) -> None:
    """A result that nobody needs."""


def kubectl_exec(info: ClusterInfo, kube: Kube, target: str, names: list[str]) -> Way:
    """nft by `kubectl exec` into a privileged pod of each member's node, all at the same time."""
    cuts, addresses, commands = isolate(names, target).cuts, {}, {}
    pods = {n: kube.need_pod(NAMESPACE, n) for n in names}
    for name, pod in pods.items():
        addresses[name] = pod["status"]["podIP"]
    for name, pod in pods.items():
        node_pid = _node_pid(info, pod)
        argv = [f"{info.bin_dir}/kubectl", "--kubeconfig", info.kubeconfig, "-n", "default", "exec", "-i"]
        argv += [f"latency-{pod['spec']['nodeName']}", "--", "nsenter", "-t", str(node_pid), "-n", "nft", "-f", "-"]
        commands[name] = argv
    table = "steadyset_latency"

    def run(scripts: dict[str, str]) -> None:
        children = [(subprocess.Popen(commands[n], stdin=subprocess.PIPE), s) for n, s in scripts.items()]
        for child, script in children:
            child.communicate(script.encode())
        if any(child.returncode for child, _ in children):
            raise SystemExit("kubectl exec failed")

    def rules(name: str) -> str:
        sources = {addresses[a] for a, b in cuts if b == name}
        targets = {addresses[b] for a, b in cuts if a == name}
        return cut_script(table, sources, targets, TTL_S)

    return Way(
        "kubectl exec + nft",
        lambda: run({n: rules(n) for n in names}),
        lambda: run({n: delete_script(table) for n in names}),
    )


def _node_pid(info: ClusterInfo, pod: dict[str, Any]) -> int:
    """The pid of the pod's first process as its node numbers it."""
    first = reach_of_pod(info, pod).call(processes.pod_processes, uid_of(pod))[0]["pid"]
    line = next(x for x in Path(f"/proc/{first}/status").read_text().splitlines() if x.startswith("NSpid:"))
    return int(line.split()[2])


@contextmanager
def privileged_pods(info: ClusterInfo, kube: Kube) -> Iterator[None]:
    """A privileged pod with the node's own nsenter and nft on each node, as chaos tools have one."""
    names = [f"latency-{node.name}" for node in info.nodes]
    for node, name in zip(info.nodes, names, strict=True):
        kube.request("POST", "/api/v1/namespaces/default/pods", _privileged(name, node.name))
    try:
        wait_for(
            lambda: all(is_ready(kube.pod("default", name)) for name in names),
            what="privileged pods Ready",
            deadline_name="ready",
            deadline_s=READY_DEADLINE_S,
        )
        yield
    finally:
        for name in names:
            kube.request("DELETE", f"/api/v1/namespaces/default/pods/{name}")


def _privileged(name: str, node: str) -> dict[str, Any]:
    mounts = [{"name": f, "mountPath": f"/{f}", "readOnly": True} for f in HOST_FOLDERS]
    return {
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "hostPID": True,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "main",
                    "image": "steadyset.local/pause:1",
                    "securityContext": {"privileged": True},
                    "volumeMounts": mounts,
                }
            ],
            "volumes": [{"name": f, "hostPath": {"path": f"/{f}"}} for f in HOST_FOLDERS],
        },
    }


def network_policy(kube: Kube, target: str) -> Way:
    """A NetworkPolicy that lets nothing in or out of the target."""
    path = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies"
    label = {"statefulset.kubernetes.io/pod-name": target}
    spec = {"podSelector": {"matchLabels": label}, "policyTypes": ["Ingress", "Egress"]}
    body = {"metadata": {"name": "latency"}, "spec": spec}
    return Way(
        "NetworkPolicy",
        lambda: _ignore(kube.request("POST", path, body)),
        lambda: _ignore(kube.request("DELETE", f"{path}/latency")),
    )


# -- the rounds ------------------------------------------------------------------------------------------------------
class Figures(NamedTuple):
    """What one way measured, in ms."""

    cut: list[float]
    heal: list[float]


def measure(way: Way, meter_: Meter, rounds: int) -> Figures:
    """Cut and let go so often."""
    figures = Figures([], [])
    for _ in range(rounds):
        pause(SETTLE_S)
        began = time.monotonic_ns()
        way.cut()
        figures.cut.append(meter_.last(0, began))
        pause(SETTLE_S)
        began = time.monotonic_ns()
        way.heal()
        figures.heal.append(meter_.last(1, began))
        way.after()
    return figures


def measure_policy(way: Way, meter_: Meter, rounds: int) -> tuple[list[float], list[float]] | Figures:
    """The same, or (API calls alone, in ms) where the first policy drops nothing."""
    way.cut()
    try:
        meter_.last(0, time.monotonic_ns(), NOT_SEEN_S)
    except Exception:
        way.heal()
    else:
        way.heal()
        return measure(way, meter_, rounds)
    costs: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        for call, into in zip((way.cut, way.heal), costs, strict=True):
            began = time.monotonic_ns()
            call()
            into.append((time.monotonic_ns() - began) / 1e6)
    return costs


def compare_policy(
    kube: Kube, target: str, meter_: Meter, rounds: int
) -> tuple[str, tuple[list[float], list[float]] | Figures]:
    """Measure it and say so; its name in the results, and the figures."""
    policy = measure_policy(network_policy(kube, target), meter_, rounds)
    name = "NetworkPolicy" if isinstance(policy, Figures) else "NetworkPolicy (API calls)"
    say(f"{name:<28} {spread(policy[0])}   {spread(policy[1])}")
    if not isinstance(policy, Figures):
        say(f"{'':<28} not enforced here: this cluster's network (CNI bridge) has no policy engine: no packet was")
        say(f"{'':<28} dropped within {NOT_SEEN_S:g} s; the figures are what the two API requests cost")
    return name, policy


def measure_runs(name: str, info: ClusterInfo, meter_: Meter, target: str, rounds: int) -> tuple[str, Figures]:
    """The same activity, called by a `chaos run` for each round; the calls' times are from its journal."""
    figures, folder = Figures([], []), RunDir.create(Path(os.environ["XDG_STATE_HOME"]), {}, "latency")
    for number in range(rounds):
        pause(SETTLE_S)
        began = time.monotonic_ns()
        fault = network_partition.FAULT
        with inject(info, folder, f"{number}", fault, target, namespace=NAMESPACE, planes=["peers"]) as span:
            dropped = began + 1e6 * meter_.last(0, began)
            released = time.monotonic_ns()
        passed = released + 1e6 * meter_.last(1, released)
        outputs = [run["output"] for run in json.loads((folder.path / span.journal).read_bytes())["run"]]
        figures.cut.append((dropped - outputs[0]["called_ns"]) / 1e6)
        figures.heal.append((passed - span.heal_ns) / 1e6)
    return f"{name}: chaos run", figures


def spread(values: list[float]) -> str:
    """min / median / p99 / max."""
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return f"{ordered[0]:7.1f} {statistics.median(ordered):7.1f} {p99:7.1f} {ordered[-1]:7.1f}"


def say(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--name", default="faultlatency", help="embedded cluster, brought up when it is not")
    parser.add_argument("--only", default="", help="only the ways whose name has this in it, and no NetworkPolicy")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON, too")
    options = parser.parse_args()
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="steadyset-latency-")
    info = embedded.ensure_up(options.name)
    kube, stack = Kube(info), Probe()
    preload(info, ["probe", agent.IMAGE], lambda line: None)
    stack.deploy(info, NAMESPACE, "")
    results: dict[str, Any] = {}
    try:
        looked_at = kubeconfig.look_at(info.kubeconfig)
        agent.install(looked_at, lambda what, done, total: None)
        foreign = kubeconfig.open_cluster(info.kubeconfig, confirm_uid=info.uid)
        names = stack.members()
        target = names[0]
        pids = {
            n: reach_of_pod(info, p).call(processes.pod_processes, uid_of(p))[0]["pid"]
            for n in names
            for p in [kube.need_pod(NAMESPACE, n)]
        }
        paths = [Direction(a, b) for a, b in sorted(isolate(names, target).cuts)]
        meter_ = Meter(pids, paths)
        say(f"{'':<28} {'cut: ms to the last first drop':<34} heal: ms to the last first packet")
        heads = " ".join(f"{head:>7}" for head in ("min", "median", "p99", "max"))
        say(f"{'way':<28} {heads}   {heads}")
        with privileged_pods(info, kube):
            ways = [
                steadyset_cut(info, "embedded", target, names),
                steadyset_cut(foreign, "agent", target, names),
                steadyset_inject(info, "embedded", target),
                steadyset_inject(foreign, "agent", target),
                kubectl_exec(info, kube, target, names),
            ]
            ways = [way for way in ways if options.only in way.name]
            measured = [partial(lambda w: (w.name, measure(w, meter_, options.rounds)), way) for way in ways]
            runs = min(options.rounds, RUNS_MAX)
            measured += [
                partial(measure_runs, where, cluster, meter_, target, runs)
                for where, cluster in (("embedded", info), ("agent", foreign))
                if options.only in f"{where}: chaos run"
            ]
            for cluster in (info, foreign):
                warm.before_experiment_control({}, cluster.path)  # as every `chaos run` of ours begins
            for each in measured:
                way_name, figures = each()
                results[way_name] = figures._asdict()
                say(f"{way_name:<28} {spread(figures.cut)}   {spread(figures.heal)}")
        if not options.only:
            name, policy = compare_policy(kube, target, meter_, options.rounds)
            results[name] = {"cut": policy[0], "heal": policy[1]}
        meter_.close()
    finally:
        agent.remove(kubeconfig.look_at(info.kubeconfig), lambda what, done, total: None)
        stack.undeploy()
    say(
        f"{options.rounds} rounds each; Kubernetes {info.version}, {os.cpu_count()} cpus, load {os.getloadavg()[0]:.1f}"
    )
    if options.json:
        say(json.dumps(results))


if __name__ == "__main__":
    main()
