"""What runs inside the nodes of an embedded cluster, as this machine's kernel shows it.

The nodes are namespaces of this machine, so a pod's processes, network namespace and mounts are all below /proc
here. Needs root and the capability `node-exec`.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from steadyset.chaos.kube import container_ids, uid_of
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, UsageError

CLONE_NEWNET = 0x40000000
CGROUPS = Path("/sys/fs/cgroup")
SIOCGIFADDR = 0x8915  # ioctl: the IPv4 address of an interface
TICKS_S = os.sysconf("SC_CLK_TCK")
T = TypeVar("T")


class Process(msgspec.Struct, kw_only=True, frozen=True):
    """A process of a pod. `start` (clock ticks since boot) tells it from a later one with the same pid."""

    pid: int
    start: int
    parent: int
    cgroup: str
    controller: str  # the cgroup hierarchy of that path; "" on cgroup v2
    name: str
    inner_pid: int  # its pid in its own PID namespace: 1 for a container's main process

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, unless the pid belongs to another process by now."""
        if start_time(self.pid) == self.start:
            os.kill(self.pid, number)


def address_in(netns: int) -> str:
    """The first IPv4 address, other than loopback's, in that network namespace; "" when it has none yet."""
    return in_netns(netns, _first_address)


def _first_address() -> str:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an address
                request = struct.pack("256s", name.encode())
                address = socket.inet_ntoa(fcntl.ioctl(sock, SIOCGIFADDR, request)[20:24])
                if not address.startswith("127."):
                    return address
    return ""


def start_time(pid: int) -> int:
    """When that process started, in clock ticks since boot; 0 when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def processes_with(cgroup_part: str) -> list[Process]:
    """Every process one of whose cgroup paths holds `cgroup_part` (a pod UID or a container ID), oldest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        process = _process(int(entry.name), cgroup_part)
        if process is not None:
            found.append(process)
    return sorted(found, key=lambda p: (p.start, p.pid))


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
        controller=path.split(":", 2)[1].removeprefix("name="),
        name=status["Name"],
        inner_pid=int(status["NSpid"].split()[-1]),
    )


def pod_processes(pod_uid: str) -> list[Process]:
    """Every process of the pod, its sandbox's pause process included; the systemd spelling of the UID counts too."""
    return processes_with(pod_uid) or processes_with(pod_uid.replace("-", "_"))


class PodFinder:
    """Finds the processes of pods that are just being started, by their cgroups: far cheaper than all of /proc.

    `sample` is a process of another pod of the same cluster: its cgroup path says where pods' cgroups are made.
    """

    def __init__(self, sample: Process) -> None:
        nodes = Path(sample.cgroup.partition("/kubepods")[0]).parent
        self._root = CGROUPS / sample.controller / nodes.relative_to("/")
        self._folders: dict[str, Path] = {}

    def processes(self, pod_uid: str) -> list[Process]:
        """Every process of the pod, oldest first; none before its cgroup is there."""
        folder = self._folders.get(pod_uid)
        if folder is None or not folder.exists():
            found = [*self._root.glob(f"*/kubepods/pod{pod_uid}"), *self._root.glob(f"*/kubepods/*/pod{pod_uid}")]
            if not found:
                return []
            folder = self._folders[pod_uid] = found[0]
        processes = []
        for procs in folder.glob("**/cgroup.procs"):
            with suppress(OSError):  # a cgroup can go while it is read
                pids = [int(pid) for pid in procs.read_text().split()]
                processes += [p for p in (_process(pid, pod_uid) for pid in pids) if p is not None]
        return sorted(processes, key=lambda p: (p.start, p.pid))


def container_inits(info: ClusterInfo, pod: dict[str, Any]) -> list[Process]:
    """The main process of each started container of the pod. UsageError without node-exec, or when none runs."""
    need_node_exec(info)
    inits = []
    for container in container_ids(pod):
        own = processes_with(container)
        pids = {p.pid for p in own}
        inits.extend([p for p in own if p.inner_pid == 1] or [p for p in own if p.parent not in pids][:1])
    if not inits:
        name = pod["metadata"]["name"]
        raise UsageError(
            f"no process of pod {name} (UID {uid_of(pod)}) runs on this machine", do="steadyset cluster status"
        )
    return inits


def need_node_exec(info: ClusterInfo) -> None:
    """UsageError when the nodes' insides cannot be reached."""
    if not info.can("node-exec"):
        raise UsageError(
            f"cluster {info.name} ({info.provider}) gives no access to its nodes",
            expected="capability node-exec",
            do="use the embedded cluster, or a mode that needs only the API",
        )


def open_netns(pid: int) -> int:
    """A file descriptor of that process's network namespace; it outlives the process. InstrumentError when gone."""
    try:
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        raise InstrumentError(f"process {pid} ended before its network namespace could be opened") from None


def pod_namespaces(pod_uid: str) -> list[int]:
    """File descriptors of the distinct network namespaces of a pod's processes; the caller closes them.

    A container's process is still in the node's namespace for a moment when it starts.
    """
    found: dict[int, int] = {}
    for process in pod_processes(pod_uid):
        with suppress(InstrumentError):
            netns = open_netns(process.pid)
            if found.setdefault(os.fstat(netns).st_ino, netns) != netns:
                os.close(netns)
    return list(found.values())


def in_netns(netns: int, function: Callable[[], T]) -> T:
    """Run `function` in a thread of its own inside the network namespace; sockets it opens belong there for ever."""
    results: list[T] = []
    errors: list[BaseException] = []

    def enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            if libc.setns(netns, CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise InstrumentError(f"cannot enter the network namespace: {os.strerror(number)}", do="run as root")
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=enter, name="in-netns")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def signal_all(processes: list[list[int]], number: int) -> None:
    """Send a signal to each [pid, start] that still is that process."""
    for pid, start in processes:
        if start_time(pid) == start:
            os.kill(pid, number)


def stopped(processes: list[list[int]]) -> list[int]:
    """Pids of those [pid, start] that are stopped by a signal."""
    found = []
    for pid, start in processes:
        with suppress(FileNotFoundError, ProcessLookupError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state in ("T", "t") and start_time(pid) == start:
                found.append(pid)
    return found
