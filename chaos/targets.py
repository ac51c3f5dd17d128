"""What a fault is aimed at."""

from __future__ import annotations

from steadyset.chaos.kube import Kube
from steadyset.errors import UsageError

NODE_PREFIX = "node/"


def node_of(kube: Kube, namespace: str, target: str) -> str:
    """The node that `node/NAME` names, or the node of pod `target`. UsageError when there is none."""
    if target.startswith(NODE_PREFIX):
        return str(kube.node(target.removeprefix(NODE_PREFIX))["metadata"]["name"])
    node = kube.need_pod(namespace, target)["spec"].get("nodeName", "")
    if not node:
        raise UsageError(f"pod {target} is on no node yet", do="wait until it is scheduled")
    return str(node)


def node_ready(kube: Kube, name: str) -> bool:
    """Whether the node has condition Ready."""
    conditions = kube.node(name).get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
