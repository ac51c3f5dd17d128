"""What runs inside the nodes of an embedded cluster, as this machine's kernel shows it: shorthands for verbs done here.

Needs root and the capability `node-exec`. What shall work on any cluster goes through `steadyset.chaos.reach`.
"""

from __future__ import annotations

from typing import Any

from steadyset.chaos.agent import processes
from steadyset.chaos.agent.node import Node
from steadyset.chaos.agent.processes import Process, start_time
from steadyset.chaos.kube import container_ids, uid_of
from steadyset.chaos.reach import Reach, reach_of_pod
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError

__all__ = [
    "container_inits",
    "need_node_exec",
    "need_processes",
    "pod_processes",
    "signal_all",
    "start_time",
    "stopped",
]

_HERE = Node(1)  # these verbs look at /proc of this machine alone


def pod_processes(pod_uid: str) -> list[Process]:
    """Every process of the pod, its sandbox's pause process included; the systemd spelling of the UID counts too."""
    return processes.pod_processes(_HERE, pod_uid)


def signal_all(found: list[list[int]], number: int) -> None:
    """Send a signal to each [pid, start] that still is that process."""
    processes.signal_all(_HERE, found, number)


def stopped(found: list[list[int]]) -> list[int]:
    """Pids of those [pid, start] that are stopped by a signal."""
    return processes.stopped(_HERE, found)


def container_inits(info: ClusterInfo, pod: dict[str, Any]) -> tuple[Reach, list[list[int]]]:
    """The main process [pid, start] of each started container of the pod, and how its node is worked."""
    reach = reach_of_pod(info, pod)
    return reach, need_processes(pod, reach.call(processes.container_inits, container_ids(pod)))


def need_processes(pod: dict[str, Any], found: list[Process]) -> list[list[int]]:
    """These processes as [pid, start]; UsageError when there are none."""
    if not found:
        name = pod["metadata"]["name"]
        raise UsageError(
            f"no process of pod {name} (UID {uid_of(pod)}) runs on its node", do="steadyset cluster status"
        )
    return [[p["pid"], p["start"]] for p in found]


def need_node_exec(info: ClusterInfo) -> None:
    """UsageError when the nodes' insides cannot be reached."""
    if not info.can("node-exec"):
        raise UsageError(
            f"cluster {info.name} ({info.provider}) gives no access to its nodes",
            expected="capability node-exec",
            do="use the embedded cluster, or a mode that needs only the API",
        )
