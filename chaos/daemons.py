"""The daemons of an embedded cluster on this machine: API server, etcd, kubelets, container runtimes."""

from __future__ import annotations

from pathlib import Path

from steadyset.chaos.inside import need_node_exec, start_time
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError

NODE_DAEMONS = ("kubelet", "containerd", "kube-proxy")
CONTROL_PLANE = ("kube-apiserver", "etcd", "kube-scheduler", "kube-controller-manager")


def daemon_processes(info: ClusterInfo, name: str) -> list[list[int]]:
    """[pid, start] of the daemon and, where it was started through nsenter, of its child. UsageError when it is off.

    Source: the provider keeps each daemon's pid in `pids/<name>` beside the cluster file.
    """
    need_node_exec(info)
    path = Path(info.path).parent / "pids" / name
    try:
        pid = int(path.read_text())
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        inner = Path(f"/proc/{pid}/comm").read_text().strip() == "nsenter"
    except (FileNotFoundError, ValueError):
        raise UsageError(f"daemon {name} of cluster {info.name} does not run", do="steadyset cluster status") from None
    pids = [int(child) for child in children] if inner else [pid]
    return [[p, start_time(p)] for p in pids]
