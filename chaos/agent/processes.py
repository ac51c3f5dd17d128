"""The processes of a node's pods, found by their cgroups, whatever the container runtime and the cgroup version."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from .node import Node, VerbError, pod_folders


class Process(TypedDict):
    """A process of a pod. `start` (clock ticks since boot) tells it from a later one with the same pid."""

    pid: int
    start: int
    parent: int
    cgroup: str
    name: str
    inner_pid: int  # its pid in its own PID namespace: 1 for a container's main process


def start_time(pid: int) -> int:
    """When that process started, in clock ticks since boot; 0 when there is none, or it has ended and is not reaped.

    One whose first thread has ended still holds its sockets and files until the last has.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    ended = fields[0] in ("Z", "X") and int(fields[17]) <= 1  # state, num_threads (proc(5))
    return 0 if ended else int(fields[19])


def pod_processes(node: Node, pod_uid: str) -> list[Process]:
    """Every process of the pod, its sandbox's pause process included, oldest first."""
    found = starting_processes(node, pod_uid)
    return found or processes_with(pod_uid) or processes_with(pod_uid.replace("-", "_"))


def starting_processes(node: Node, pod_uid: str) -> list[Process]:
    """The same by the pod's cgroup alone: far cheaper than all of /proc, and nothing before the cgroup is there."""
    pids: set[int] = set()
    for folder in pod_folders(node, pod_uid):
        for procs in folder.glob("**/cgroup.procs"):
            with suppress(OSError):  # a cgroup can go while it is read
                pids.update(int(pid) for pid in procs.read_text().split())
    slice_uid = pod_uid.replace("-", "_")
    found = [_process(pid, pod_uid) or _process(pid, slice_uid) for pid in pids if pid]
    return _oldest_first([p for p in found if p is not None])


def processes_with(cgroup_part: str) -> list[Process]:
    """Every process one of whose cgroup paths holds `cgroup_part` (a pod UID or a container ID), oldest first."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return _oldest_first([p for p in (_process(pid, cgroup_part) for pid in pids) if p is not None])


def _oldest_first(processes: list[Process]) -> list[Process]:
    return sorted(processes, key=lambda p: (p["start"], p["pid"]))


def _process(pid: int, cgroup_part: str) -> Process | None:
    try:
        cgroup = Path(f"/proc/{pid}/cgroup").read_text()
        path = next((line for line in cgroup.splitlines() if cgroup_part in line), None)
        if path is None:
            return None
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
    except (FileNotFoundError, ProcessLookupError):
        return None
    if status["State"].startswith(("Z", "X")):
        return None
    return Process(
        pid=pid,
        start=start_time(pid),
        parent=int(status["PPid"]),
        cgroup=path.split(":", 2)[2],
        name=status["Name"],
        inner_pid=int(status["NSpid"].split()[-1]),
    )


def container_inits(node: Node, container_ids: list[str]) -> list[Process]:
    """The main process of each of these containers that runs here."""
    inits: list[Process] = []
    for container in container_ids:
        own = processes_with(container)
        pids = {p["pid"] for p in own}
        inits.extend([p for p in own if p["inner_pid"] == 1] or [p for p in own if p["parent"] not in pids][:1])
    return inits


def container_processes(node: Node, pod_uid: str, container_ids: list[str]) -> list[Process]:
    """Every process of these containers of the pod: its sandbox's are left out."""
    cgroups = {p["cgroup"] for p in container_inits(node, container_ids)}
    return [p for p in pod_processes(node, pod_uid) if p["cgroup"] in cgroups]


def signal_all(node: Node, processes: list[list[int]], number: int) -> int:
    """Send a signal to each [pid, start] that still is that process; to how many it was sent."""
    sent = 0
    for pid, start in processes:
        if start_time(pid) == start:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                sent += 1
    return sent


def stopped(node: Node, processes: list[list[int]]) -> list[int]:
    """Pids of those [pid, start] that are stopped by a signal."""
    found = []
    for pid, start in processes:
        with suppress(FileNotFoundError, ProcessLookupError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state in ("T", "t") and start_time(pid) == start:
                found.append(pid)
    return found


def alive(node: Node, processes: list[list[int]]) -> list[int]:
    """Pids of those [pid, start] that are still there."""
    return [pid for pid, start in processes if start_time(pid) == start]


def kill_containers(node: Node, container_ids: list[str], number: int = signal.SIGKILL) -> int:
    """Send a signal to the main process of each of these containers; VerbError when none of them runs here."""
    inits = container_inits(node, container_ids)
    if not inits:
        raise VerbError(f"no process of container {', '.join(container_ids) or '(none)'} runs on this node")
    return signal_all(node, [[p["pid"], p["start"]] for p in inits], number)
