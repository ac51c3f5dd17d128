"""A node as a machine: switched by the provider, and asked over the network whether it answers."""

from __future__ import annotations

from steadyset.chaos.act import Act, begin
from steadyset.chaos.fault import TTL_S, Fault
from steadyset.chaos.kube import Json, Kube
from steadyset.chaos.ledger import Record
from steadyset.chaos.machine import node_machine
from steadyset.chaos.netpath import OutsideLine, Place
from steadyset.chaos.phases import Activity, Undo
from steadyset.chaos.reach import Here
from steadyset.chaos.targets import Victim, node_ready
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, InvalidError, UsageError

KUBELET_PORT = 10250
SILENCE_S = 3.0  # a node that says nothing for so long is silent


def switch_action(fault: Fault, verbs: tuple[str, ...], doc: str) -> Activity:
    """The action `inject` of a fault that switches nodes (`verbs` of `machine.VERBS`, one after the other)."""

    def inject(
        cluster: str,
        target: str,
        namespace: str = "default",
        ttl_s: float = TTL_S,
        deadlines: dict[str, float] | None = None,
    ) -> Json:
        act = begin(fault, cluster, namespace, target, ttl_s=ttl_s, deadlines=deadlines)
        need_answers(act)
        with act.injecting({"nodes": [v.name for v in act.victims]}):
            for victim in act.victims:
                for verb in verbs:
                    node_machine(act.info, verb, victim.name)
        return act.report()

    inject.__doc__, inject.__module__ = doc, fault.module
    return inject


def switch_undo(verb: str, doc: str) -> Undo:
    """The undo of such a fault; nothing happens to a node that is so already."""

    def undo(info: ClusterInfo, kube: Kube, record: Record) -> list[str]:
        for node in record.undo["nodes"]:
            node_machine(info, verb, node)
        return [f"node {node}: {verb}" for node in record.undo["nodes"]]

    undo.__doc__ = doc
    return undo


def need_answers(act: Act) -> None:
    """Note each node's boot. InvalidError when one is silent already, UsageError where nobody can ask."""
    if not act.info.client_netns:
        raise UsageError("this cluster has no client namespace to ask the node from")
    for victim in act.victims:
        victim.seen["boot"] = _boot(victim.obj)
        if not answers(act, victim.name):
            raise InvalidError(f"node {victim.name} is silent already: silencing it would prove nothing")


def answers(act: Act, node: str) -> bool:
    """Whether the kubelet says anything; a frozen node's kernel accepts the connection, and nobody answers on it."""
    kubelet = Place(name="kubelet", address=act.info.node(node).address, port=KUBELET_PORT)
    try:
        clients = Place(name="clients", address="", net=f"name:{act.info.client_netns}", reach=Here())
        line = OutsideLine(clients, kubelet)
    except InstrumentError:
        return False
    try:
        return line.open_connection(SILENCE_S).passes
    finally:
        line.close()


def _boot(node: Json) -> str:
    return str(node["status"]["nodeInfo"]["bootID"])


def silent(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the node's kubelet gives no answer to a request over the network."""
    if answers(act, victim.name):
        return None
    return [f"node {victim.name}: no answer from its kubelet's port {KUBELET_PORT}"]


def rebooted(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the node reports another boot than before."""
    before, now = victim.seen["boot"], _boot(act.kube.node(victim.name))
    return None if now == before else [f"node {victim.name}: boot {before[:8]} -> {now[:8]}"]


def answers_again(act: Act, victim: Victim) -> list[str] | None:
    """Wait until the kubelet answers and the node is Ready."""
    if not answers(act, victim.name) or not node_ready(act.kube, victim.name):
        return None
    again = rebooted(act, victim) or ["the same boot"]
    return [f"node {victim.name} answers and is Ready ({again[0].rpartition(': ')[2]})"]


def see_node(act: Act, victim: Victim) -> str:
    """For errors."""
    return f"kubelet answers: {answers(act, victim.name)}; node Ready: {node_ready(act.kube, victim.name)}"
