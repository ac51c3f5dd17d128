"""Node-side evidence: which containers run and which volumes are mounted on each node, by the kernel's own word.

Mounts: poll(2) on /proc/<pid>/mountinfo of the node's init wakes on every change of its mount namespace.
Containers: containerd's task folders name every container (inotify), and a pidfd of its first process tells its exit.
Neither asks containerd or the kubelet anything, so both go on while those are down, frozen or cut off. The end of a
node's init (power off) ends all its containers and mounts; a node that comes back is read anew from the cluster file.
"""

from __future__ import annotations

import os
import re
import select
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from steadyset.clusterinfo import ClusterInfo, NodeInfo, load_cluster_info
from steadyset.observer.inotify import CREATE, DELETE, MOVED_TO, Inotify
from steadyset.trace import NODE_EVIDENCE, NOTE_LISTED, TraceWriter

TASKS = "run/containerd/io.containerd.runtime.v2.task/k8s.io"
POLL_MS = 200  # how often a node that came back is looked for; events wake the loop at once
POD_MOUNT = re.compile(r".*/pods/([0-9a-f-]{36})/volumes/kubernetes\.io~csi/([^/]+)/mount$")
STAGE_MOUNT = re.compile(r".*/plugins/kubernetes\.io/csi/(?:[^/]+/[0-9a-f]+|pv/[^/]+)/globalmount$")
POD_UID = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})")
CRI = "io.kubernetes.cri."
INITIAL: dict[str, object] = {"initial": True}  # it was there before the observer looked
NOTE_BRIEF = "brief-container"  # it ended before it could be seen running
POWER_OFF = "the node's init ended"


@dataclass
class Container:
    """A running container; `pidfd` becomes readable when its first process has ended."""

    id: str
    pidfd: int
    facts: dict[str, object]


@dataclass
class NodeState:
    """One powered-on node."""

    name: str
    pid: int
    pidfd: int
    mountinfo: int
    mounts: dict[tuple[str, str], dict[str, object]] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    creating: dict[str, int] = field(default_factory=dict)  # task folder without init.pid yet -> its watch
    tasks_watch: int = -1

    @property
    def root(self) -> Path:
        """The node's file system as seen from here."""
        return Path(f"/proc/{self.pid}/root")


class _Spec(msgspec.Struct):
    annotations: dict[str, str] = {}
    linux: dict[str, msgspec.Raw] = {}


class NodeEvidence(threading.Thread):
    """Appends NODE records of every node in the cluster file until `stopping` is set."""

    def __init__(self, info: ClusterInfo, writer: TraceWriter, stopping: threading.Event) -> None:
        super().__init__(name="node-evidence", daemon=True)
        self.path, self.writer, self.stopping = info.path, writer, stopping
        self.expected = {node.name for node in info.nodes if node.pid}
        self.synced = threading.Event()
        self.crash: BaseException | None = None
        self.nodes: dict[str, NodeState] = {}
        self._inotify = Inotify()
        self._poll = select.poll()
        self._owner: dict[int, tuple[NodeState, str]] = {}  # polled fd -> node and container id ("" node, "m" mounts)
        self._watches: dict[int, tuple[NodeState, str]] = {}  # inotify watch -> node and container id ("" all tasks)

    def run(self) -> None:
        """Thread body; what is unexpected is kept in `crash` for the main thread, which ends the observer."""
        try:
            self._poll.register(self._inotify.fd, select.POLLIN)
            while not self.stopping.is_set():
                self._attach_nodes()
                self.synced.set()
                for fd, _ in self._poll.poll(POLL_MS):
                    self._ready(fd)
        except BaseException as error:
            if not self.stopping.is_set():
                self.crash = error
                raise

    def _ready(self, fd: int) -> None:
        if fd == self._inotify.fd:
            for watch, mask, name in self._inotify.read():
                self._task_folder(watch, mask, name)
            return
        owner = self._owner.get(fd)
        if owner is None:
            return  # closed by an earlier event of this round
        node, what = owner
        if what == "":
            self._node_off(node)
        elif what == "m":
            self._read_mounts(node)
        else:
            self._container_gone(node, what)

    # -- nodes
    def _attach_nodes(self) -> None:
        for info in load_cluster_info(self.path).nodes:
            if info.pid and info.name not in self.nodes:
                self._node_on(info)
        for node in self.nodes.values():
            if node.tasks_watch < 0:
                self._watch_tasks(node)

    def _node_on(self, info: NodeInfo) -> None:
        try:
            pidfd = os.pidfd_open(info.pid)
        except ProcessLookupError:
            return  # the file still names a node that has just ended
        try:
            mountinfo = os.open(f"/proc/{info.pid}/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(pidfd)
            return
        node = self.nodes[info.name] = NodeState(info.name, info.pid, pidfd, mountinfo)
        self._owner[pidfd] = (node, "")
        self._owner[mountinfo] = (node, "m")
        self._poll.register(pidfd, select.POLLIN)
        self._poll.register(mountinfo, select.POLLPRI | select.POLLERR)
        self._read_mounts(node, initial=True)
        self._watch_tasks(node, initial=True)
        self.writer.note(
            NOTE_LISTED,
            k=NODE_EVIDENCE,
            name=node.name,
            count=len(node.containers),
            mounts=len(node.mounts),
            initial=info.name in self.expected,
        )
        self.expected.discard(info.name)

    def _node_off(self, node: NodeState) -> None:
        """Everything of a node ends with its init. The open mountinfo would keep its mounts alive: close it first."""
        now = time.monotonic_ns()
        self._close(node.mountinfo)
        self._close(node.pidfd)
        for key in list(node.mounts):
            self._event(node, "unmounted", node.mounts.pop(key), t=now, more={"reason": POWER_OFF})
        for container in list(node.containers.values()):
            self._container_gone(node, container.id, {"reason": POWER_OFF})
        self._watches = {w: owner for w, owner in self._watches.items() if owner[0] is not node}
        del self.nodes[node.name]
        self.writer.note("node-off", k=NODE_EVIDENCE, name=node.name)

    def _close(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._owner.pop(fd, None)
        os.close(fd)

    def _event(
        self,
        node: NodeState,
        what: str,
        facts: dict[str, object],
        *,
        t: int = 0,
        more: dict[str, object] | None = None,
    ) -> None:
        self.writer.write(
            "NODE",
            k=NODE_EVIDENCE,
            name=node.name,
            obj={"what": what, "node": node.name, **facts, **(more or {})},
            t=t or time.monotonic_ns(),
        )

    # -- mounts
    def _read_mounts(self, node: NodeState, *, initial: bool = False) -> None:
        now = time.monotonic_ns()
        try:
            os.lseek(node.mountinfo, 0, os.SEEK_SET)
            chunks = []
            while chunk := os.read(node.mountinfo, 1 << 16):
                chunks.append(chunk)
        except OSError:
            return  # the node is going down; its pidfd says so
        seen: dict[tuple[str, str], dict[str, object]] = {}
        for line in b"".join(chunks).decode(errors="replace").splitlines():
            fields = line.split(" ")
            path = fields[4]
            if match := POD_MOUNT.match(path):
                facts: dict[str, object] = {"pod_uid": match[1], "volume": match[2], "path": path}
            elif STAGE_MOUNT.match(path):
                facts = {"pod_uid": "", "volume": "", "handle": self._staged_handle(node, path), "path": path}
            else:
                continue
            seen[fields[0], path] = facts
        for key in [k for k in node.mounts if k not in seen]:
            self._event(node, "unmounted", node.mounts.pop(key), t=now)
        for key, facts in seen.items():
            if key not in node.mounts:
                node.mounts[key] = facts
                self._event(node, "mounted", facts, t=now, more=INITIAL if initial else None)

    def _staged_handle(self, node: NodeState, path: str) -> str:
        """The CSI volume handle of a staging mount, from the file that the kubelet keeps beside it; "" when unknown."""
        try:
            data = (node.root / path.lstrip("/")).parent.joinpath("vol_data.json").read_bytes()
            return str(msgspec.json.decode(data).get("volumeHandle", ""))
        except (OSError, msgspec.DecodeError):
            return ""

    # -- containers
    def _watch_tasks(self, node: NodeState, *, initial: bool = False) -> None:
        folder = node.root / TASKS
        try:
            node.tasks_watch = self._inotify.add(str(folder), CREATE | MOVED_TO | DELETE)
        except FileNotFoundError:
            return  # containerd has run nothing there yet
        except OSError:
            return  # the node is going down; its pidfd says so
        self._watches[node.tasks_watch] = (node, "")
        try:
            entries = sorted(os.listdir(folder))  # noqa: PTH208
        except OSError:
            return  # as above
        for entry in entries:
            self._task_created(node, entry, initial=initial)

    def _task_folder(self, watch: int, mask: int, name: str) -> None:
        owner = self._watches.get(watch)
        if owner is None:
            return
        node, container_id = owner
        if container_id:
            if name == "init.pid":
                self._task_created(node, container_id)
        elif mask & DELETE:
            self._watches.pop(node.creating.pop(name, -1), None)
        else:
            self._task_created(node, name)

    def _task_created(self, node: NodeState, container_id: str, *, initial: bool = False) -> None:
        if container_id in node.containers:
            return
        bundle = node.root / TASKS / container_id
        if container_id not in node.creating:
            try:
                node.creating[container_id] = self._inotify.add(str(bundle), CREATE | MOVED_TO)
            except OSError:
                return  # gone already
            self._watches[node.creating[container_id]] = (node, container_id)
        if not os.path.exists(bundle / "init.pid"):  # noqa: PTH110 (never raises, also while the node goes down)
            return
        self._watches.pop(node.creating.pop(container_id), None)
        try:
            spec = msgspec.json.decode((bundle / "config.json").read_bytes(), type=_Spec)
        except FileNotFoundError:
            self.writer.note(NOTE_BRIEF, k=NODE_EVIDENCE, name=node.name, container_id=container_id)
            return
        except (OSError, msgspec.DecodeError) as error:
            self._blind(node, f"container {container_id}: {error}")
            return
        pid = _first_process(container_id)
        try:
            pidfd = os.pidfd_open(pid) if pid else -1
        except ProcessLookupError:
            pidfd = -1
        if pidfd < 0:
            self.writer.note(NOTE_BRIEF, k=NODE_EVIDENCE, name=node.name, **_facts(container_id, spec))
            return
        facts = _facts(container_id, spec)
        node.containers[container_id] = Container(container_id, pidfd, facts)
        self._owner[pidfd] = (node, container_id)
        self._poll.register(pidfd, select.POLLIN)
        self._event(node, "container-started", facts, more=INITIAL if initial else None)

    def _container_gone(self, node: NodeState, container_id: str, more: dict[str, object] | None = None) -> None:
        container = node.containers.pop(container_id)
        self._close(container.pidfd)
        self._event(node, "container-stopped", container.facts, more=more)

    def _blind(self, node: NodeState, reason: str) -> None:
        now = time.monotonic_ns()
        self.writer.gap(NODE_EVIDENCE, now, now, reason, name=node.name)
        print(f"observer: node {node.name}: {reason}", file=sys.stderr, flush=True)  # noqa: T201


def _facts(container_id: str, spec: _Spec) -> dict[str, object]:
    cgroup = spec.linux.get("cgroupsPath", msgspec.Raw(b'""'))
    match = POD_UID.search(str(msgspec.json.decode(cgroup)))
    notes = spec.annotations
    uid = match[1].replace("_", "-") if match else notes.get(CRI + "sandbox-uid", "")
    return {
        "pod_uid": uid,
        "pod": notes.get(CRI + "sandbox-name", ""),
        "namespace": notes.get(CRI + "sandbox-namespace", ""),
        "container": notes.get(CRI + "container-name", ""),
        "container_id": container_id,
        "sandbox": notes.get(CRI + "container-type") == "sandbox",
    }


def _first_process(container_id: str) -> int:
    """The host's pid of the container's oldest process, found by the cgroup named after the container; 0 if none."""
    needle = container_id.encode()
    found: list[tuple[int, int]] = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            if needle in Path(entry.path, "cgroup").read_bytes():
                started = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()[19]
                found.append((int(started), int(entry.name)))
        except OSError:
            continue  # it ended while being looked at
    return min(found, default=(0, 0))[1]
