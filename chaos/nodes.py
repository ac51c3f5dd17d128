"""Whether a node answers: a request to its kubelet's port over the network, from where load runs."""

from __future__ import annotations

from steadyset.chaos.act import Act
from steadyset.chaos.netpath import OutsideLine, Place
from steadyset.chaos.reach import Here
from steadyset.chaos.targets import node_of, node_ready
from steadyset.errors import InstrumentError, InvalidError, UsageError

KUBELET_PORT = 10250
SILENCE_S = 3.0  # a node that says nothing for so long is silent


def remember_node(act: Act) -> str:
    """Name of the target's node, noted in the act's memory. InvalidError when it is silent already."""
    node = node_of(act.kube, act.namespace, act.target)
    if not act.info.client_netns:
        raise UsageError("this cluster has no client namespace to ask the node from")
    boot = act.kube.node(node)["status"]["nodeInfo"]["bootID"]
    act.memory.update(node=node, boot=boot)
    if not _answers(act):
        raise InvalidError(f"node {node} is silent already: silencing it would prove nothing")
    return node


def _answers(act: Act) -> bool:
    """Whether the kubelet says anything; a frozen node's kernel accepts the connection, and nobody answers on it."""
    kubelet = Place(name="kubelet", address=act.info.node(act.memory["node"]).address, port=KUBELET_PORT)
    try:
        clients = Place(name="clients", address="", net=f"name:{act.info.client_netns}", reach=Here())
        line = OutsideLine(clients, kubelet)
    except InstrumentError:
        return False
    try:
        return line.open_connection(SILENCE_S).passes
    finally:
        line.close()


def silent(act: Act) -> list[str] | None:
    """Evidence that the node gives no answer."""
    return None if _answers(act) else [f"node {act.memory['node']}: no answer from its kubelet's port {KUBELET_PORT}"]


def answers_again(act: Act) -> list[str] | None:
    """Evidence that the node answers and is Ready."""
    node = act.memory["node"]
    if not _answers(act) or not node_ready(act.kube, node):
        return None
    boot = act.kube.node(node)["status"]["nodeInfo"]["bootID"]
    again = "the same boot" if boot == act.memory["boot"] else f"boot {act.memory['boot'][:8]} -> {boot[:8]}"
    return [f"node {node} answers and is Ready ({again})"]


def seen_of_node(act: Act) -> str:
    """For errors."""
    return f"kubelet answers: {_answers(act)}; node Ready: {node_ready(act.kube, act.memory['node'])}"
