"""Where a node's kernel can be worked: in this process, or in the agent on that node, called through the API server.

    reach = reach_of(info, node)
    reach.call(networks.nft, f"pod:{uid}", script)       # a verb of steadyset.chaos.agent, without its first parameter

Errors of `call`: InstrumentError when the verb could not be done; UnreachableError when the agent did not answer.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from steadyset.chaos.agent.leases import lease_begin, lease_end, lease_renew
from steadyset.chaos.agent.node import Node, VerbError
from steadyset.chaos.agent.server import PORT
from steadyset.chaos.agent.signing import HEADER, VALID_S, sign
from steadyset.chaos.agent.verbs import VERBS
from steadyset.chaos.kube import CONNECTIONS_MAX, Json, Kube, RefusedError, UnreachableError, is_ready
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, UsageError

NAMESPACE = "steadyset-agent"
LABELS = {"app.kubernetes.io/name": "steadyset-agent"}
TOKEN_SECRET = "steadyset-agent-token"
TOKEN_KEY = "token"

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
U = TypeVar("U")


class Reach(Protocol):
    """One node's kernel. `remote` is whether an agent works it, which then has to undo faults by itself."""

    node: str
    remote: bool

    def call(self, verb: Callable[Concatenate[Node, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do a verb there."""
        ...


class Here:
    """A node whose processes this machine's kernel runs: an embedded one, or (pid 0) this machine itself."""

    remote = False

    def __init__(self, node: str = "", pid: int = 0) -> None:
        self.node = node
        self._node = Node(pid or os.getpid())

    def call(self, verb: Callable[Concatenate[Node, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the verb in this process."""
        try:
            return verb(self._node, *args, **kwargs)
        except VerbError as error:
            raise InstrumentError(error.message, do=error.do) from None


class Agents:
    """The agents of one cluster, found by their label; each is asked once for the instance that calls must name."""

    def __init__(self, info: ClusterInfo) -> None:
        self.info, self.kube = info, Kube(info)
        self._lock = threading.Lock()
        self._pods: dict[str, str] = {}
        self._instances: dict[str, tuple[str, float]] = {}  # by pod: instance, its clock minus ours
        self._answered: set[str] = set()  # nodes whose agent has answered before: it may do so again
        self._token = b""

    def nodes(self) -> dict[str, str]:
        """Name of each node with a Ready agent, and of the agent's pod there."""
        selector = ",".join(f"{key}={value}" for key, value in LABELS.items())
        pods = [p for p in self.kube.pods(NAMESPACE, labelSelector=selector) if is_ready(p)]
        return {p["spec"]["nodeName"]: p["metadata"]["name"] for p in pods}

    def call(self, node: str, verb: str, args: Sequence[Any], kwargs: Json) -> Any:
        """Do a verb on that node."""
        timeout_s = VERBS[verb].timeout_s
        for _ in range(2):  # an agent that was started anew has another instance, or is another pod
            pod = self._pod(node)
            try:
                answer = self._call(pod, verb, args, kwargs, timeout_s)
            except RefusedError as error:
                if error.status != 404:
                    raise
                answer = {"stale": True}
            if not answer.get("stale"):
                self._answered.add(node)
                break
            self._forget(node, pod)
        else:
            raise UnreachableError(f"the agent of node {node} is being started anew")
        if "error" in answer:
            raise InstrumentError(f"node {node}: {answer['error']}", do=answer.get("do", ""))
        return answer["result"]

    def _call(self, pod: str, verb: str, args: Sequence[Any], kwargs: Json, timeout_s: float) -> Json:
        with self._lock:
            known = self._instances.get(pod)
        if known is None:
            hello = self.kube.request("GET", f"{_proxy(pod)}/hello")
            known = str(hello["instance"]), float(hello["now_s"]) - time.monotonic()
            with self._lock:
                self._instances[pod] = known
        instance, ahead_s = known
        call = {
            "instance": instance,
            "until_s": time.monotonic() + ahead_s + VALID_S,
            "nonce": secrets.token_hex(16),
            "verb": verb,
            "args": list(args),
            "kwargs": kwargs,
        }
        raw = json.dumps(call, separators=(",", ":"))
        headers = {HEADER: sign(self._read_token(), raw.encode())}
        return self.kube.post_bytes(f"{_proxy(pod)}/call", raw, headers, timeout_s)

    def _pod(self, node: str) -> str:
        with self._lock:
            pod = self._pods.get(node)
        if pod is None:
            found = self.nodes()
            with self._lock:
                self._pods = found
            pod = found.get(node)
        if pod is None and node in self._answered:
            raise UnreachableError(f"the agent of node {node} does not answer at the moment")
        if pod is None:
            raise UsageError(
                f"no agent of steadyset answers on node {node} of cluster {self.info.name}",
                expected=f"a Ready pod of the DaemonSet in namespace {NAMESPACE}",
                do="steadyset agent install --kubeconfig FILE",
            )
        return pod

    def _forget(self, node: str, pod: str) -> None:
        with self._lock:
            self._pods.pop(node, None)
            self._instances.pop(pod, None)

    def _read_token(self) -> bytes:
        if not self._token:
            secret = self.kube.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{TOKEN_SECRET}")
            if secret is None:
                raise UsageError(
                    f"cluster {self.info.name} has no agent of steadyset",
                    do="steadyset agent install --kubeconfig FILE",
                )
            self._token = base64.b64decode(secret["data"][TOKEN_KEY])
        return self._token


def _proxy(pod: str) -> str:
    return f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:{PORT}/proxy"


class ByAgent:
    """A node that is worked by its agent."""

    remote = True

    def __init__(self, agents: Agents, node: str) -> None:
        self._agents, self.node = agents, node

    def call(self, verb: Callable[Concatenate[Node, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Have the agent do the verb; its result is plain JSON, as every verb's is."""
        result: R = self._agents.call(self.node, verb.__name__, args, kwargs)
        return result


_AGENTS: dict[tuple[str, str], Agents] = {}


def reach_of(info: ClusterInfo, node: str) -> Reach:
    """How that node's kernel is worked. UsageError when the cluster has no such node, or no agent can be looked for."""
    if info.can("node-exec"):
        return Here(node, info.node(node).pid)
    return ByAgent(agents_of(info), node)


def has_reach(info: ClusterInfo, node: str) -> bool:
    """Whether that node's kernel can be worked at all; asks the cluster where agents are needed."""
    return any(reach.node == node for reach in all_reaches(info))


def all_reaches(info: ClusterInfo) -> list[Reach]:
    """Every node whose kernel can be worked, by name."""
    if info.can("node-exec"):
        return [Here(node.name, node.pid) for node in info.nodes if node.pid]
    agents = agents_of(info)
    try:
        return [ByAgent(agents, node) for node in sorted(agents.nodes())]
    except RefusedError:  # an account that may not look for agents has none
        return []


def agents_of(info: ClusterInfo) -> Agents:
    """The agents of that cluster, as this process knows them."""
    key = (info.kubeconfig, info.context)
    if key not in _AGENTS:
        _AGENTS[key] = Agents(info)
    return _AGENTS[key]


def reach_of_pod(info: ClusterInfo, pod: Json) -> Reach:
    """How the kernel of that pod's node is worked; UsageError while the pod is on no node."""
    node = pod["spec"].get("nodeName", "")
    if not node:
        raise UsageError(f"pod {pod['metadata']['name']} is on no node yet", do="wait until it is scheduled")
    return reach_of(info, node)


class NodeLease:
    """The lease that an agent keeps for a fault on its node; on a node that is worked from here there is none to keep.

    The machine's own watchdog undoes what is done from here.
    """

    def __init__(self, reach: Reach, record_id: str, ttl_s: float) -> None:
        self.reach, self.record_id, self.ttl_s = reach, record_id, ttl_s
        self._renewed_s = time.monotonic()

    def begin(self, verb: Callable[Concatenate[Node, P], R], *args: P.args, **kwargs: P.kwargs) -> None:
        """Before the fault: which verb, with which positional arguments, undoes it."""
        if self.reach.remote:
            self.reach.call(lease_begin, self.record_id, self.ttl_s, verb.__name__, list(args))
        self._renewed_s = time.monotonic()

    def renew(self) -> None:
        """InstrumentError when the fault was undone; an agent that does not answer may do so again in time."""
        if not self.reach.remote:
            return
        began = time.monotonic()
        try:
            held = self.reach.call(lease_renew, self.record_id)
        except UnreachableError:
            if began - self._renewed_s > self.ttl_s:
                raise
            return
        if not held:
            raise InstrumentError(f"the lease on node {self.reach.node} ran out and its timer undid the fault")
        self._renewed_s = began

    def end(self) -> None:
        """After the undo."""
        end_lease(self.reach, self.record_id)


def end_lease(reach: Reach, record_id: str) -> None:
    """Forget the agent's lease of a fault that was undone; nothing happens where there is none."""
    if reach.remote:
        reach.call(lease_end, record_id)


def at_once(functions: Sequence[Callable[[], T]]) -> list[T]:
    """Run functions at the same time, and return their results in order; the first error is raised when all ended."""
    if len(functions) == 1:
        return [functions[0]()]
    with ThreadPoolExecutor(max_workers=max(1, min(len(functions), CONNECTIONS_MAX))) as pool:
        return list(pool.map(lambda function: function(), functions))


def both(one: Callable[[], T], other: Callable[[], U]) -> tuple[T, U]:
    """Run two functions at the same time; when both fail, the error of `one` is raised."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        meanwhile = pool.submit(other)
        return one(), meanwhile.result()
