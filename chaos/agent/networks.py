"""The network namespaces of a node's pods: entered to apply, renew, list and remove rules.

A namespace is named "pod:UID", "name:NAME" (below /run/netns) or "pid:PID".
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict, TypeVar

from .node import TICKS_S, Node, VerbError
from .processes import Process, pod_processes, start_time, starting_processes

CLONE_NEWNET = 0x40000000
SIOCGIFADDR = 0x8915  # ioctl: the IPv4 address of an interface
PREFIX = "steadyset_"  # of our nftables tables
NFT_TIMEOUT_S = 10.0  # nft: one call
SANDBOX_POLL_S = 0.01  # how often a new sandbox is looked for
STARTING = "runc:"  # the name of a process that is about to become a container's

T = TypeVar("T")


class NewPod(TypedDict):
    """A pod that was cut as it started: its address ("" while it has no sandbox), and how long it ran uncut."""

    address: str
    ran_ms: float


class _Namespaces:
    """File descriptors of the pods' namespaces, kept while the process that showed them lives."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[int, int, int]] = {}
        self._lock = threading.Lock()

    def duplicate(self, node: Node, name: str) -> int:
        """A descriptor of the known namespace for the caller to close; -1 when it is not known (any more)."""
        with self._lock:
            fd, pid, start = self._known.get((node.pid, name), (-1, 0, 0))
            if fd >= 0 and start_time(pid) != start:
                os.close(self._known.pop((node.pid, name))[0])
                return -1
            return os.dup(fd) if fd >= 0 else -1

    def remember(self, node: Node, name: str, fd: int, process: Process) -> None:
        """Keep a copy of this descriptor for as long as the process lives."""
        with self._lock:
            old = self._known.pop((node.pid, name), None)
            if old:
                os.close(old[0])
            self._known[node.pid, name] = (os.dup(fd), process["pid"], process["start"])


_NAMESPACES = _Namespaces()


@contextmanager
def opened(node: Node, net: str) -> Iterator[int]:
    """A file descriptor of the network namespace with that name; VerbError when there is none."""
    kind, _, name = net.partition(":")
    fd = -1
    if kind == "pod":
        fd = _NAMESPACES.duplicate(node, net)
        if fd < 0:
            fd = _pod_namespace(node, name, pod_processes(node, name))
        if fd < 0:
            raise VerbError(f"pod {name} has no network namespace with an address on this node")
    else:
        path = Path("/run/netns") / name if kind == "name" else Path(f"/proc/{name}/ns/net")
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise VerbError(f"no network namespace {net}: {error.strerror}") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _pod_namespace(node: Node, uid: str, processes: list[Process]) -> int:
    """A descriptor of the pod's namespace, -1 before it has an address.

    A container's process is still in the node's namespace for a moment when it starts.
    """
    foreign = {_inode(f"/proc/{pid}/ns/net") for pid in ("self", node.pid)}
    for process in processes:
        with suppress(OSError):
            fd = os.open(f"/proc/{process['pid']}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            if os.fstat(fd).st_ino not in foreign and within(fd, first_address):
                _NAMESPACES.remember(node, f"pod:{uid}", fd, process)
                return fd
            os.close(fd)
    return -1


def _inode(path: str) -> int:
    try:
        return Path(path).stat().st_ino
    except FileNotFoundError:
        return 0


def within(fd: int, function: Callable[[], T]) -> T:
    """Run `function` in a thread of its own inside that namespace; sockets and children it makes belong there."""
    results: list[T] = []
    errors: list[BaseException] = []

    def enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            if libc.setns(fd, CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise VerbError(f"cannot enter the network namespace: {os.strerror(number)}", do="run as root")
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=enter, name="in-netns")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def first_address() -> str:
    """The first IPv4 address other than loopback's in the namespace that the caller is in; "" when it has none yet."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an address
                request = struct.pack("256s", name.encode())
                address = socket.inet_ntoa(fcntl.ioctl(sock, SIOCGIFADDR, request)[20:24])
                if not address.startswith("127."):
                    return address
    return ""


def net_address(node: Node, net: str) -> str:
    """The first IPv4 address, other than loopback's, in that namespace."""
    with opened(node, net) as fd:
        return within(fd, first_address)


def nft(node: Node, net: str, script: str) -> str:
    """Run an nft script inside that namespace; its output. VerbError with nft's message when it fails."""
    with opened(node, net) as fd:
        return _nft(fd, script)


def _nft(fd: int, script: str) -> str:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nft", "-f", "-"], input=script, capture_output=True, text=True, timeout=NFT_TIMEOUT_S, check=False
        )

    try:
        done = within(fd, run)
    except FileNotFoundError:
        raise VerbError("nft is missing", do="apt-get install nftables") from None
    if done.returncode != 0:
        first = done.stderr.strip().splitlines()[:1]
        raise VerbError(
            f"nft failed: {first[0] if first else 'no message'}", do="apt-get install nftables; run as root"
        )
    return done.stdout


def our_tables(node: Node, net: str) -> list[str]:
    """Names of the tables of ours in that namespace."""
    words = [line.split() for line in nft(node, net, "list tables inet\n").splitlines()]
    return [w[2] for w in words if len(w) == 3 and w[2].startswith(PREFIX)]


def tables_of_pods(node: Node, pod_uids: list[str]) -> dict[str, list[str]]:
    """The tables of ours in each of these pods, by UID; pods without a namespace of their own are left out."""
    found = {}
    for uid in pod_uids:
        with suppress(VerbError):
            found[uid] = our_tables(node, f"pod:{uid}")
    return found


def remove_table(node: Node, net: str, table: str) -> bool:
    """Remove a table of ours; whether it was there. Nothing happens when the namespace is gone."""
    try:
        nft(node, net, f"delete table inet {table}\n")
    except VerbError:
        if _exists(node, net) and table in our_tables(node, net):
            raise
        return False
    return True


def _exists(node: Node, net: str) -> bool:
    try:
        with opened(node, net):
            return True
    except VerbError:
        return False


def cut_new_pod(node: Node, pod_uid: str, script: str, wait_s: float) -> NewPod:
    """Run an nft script in a pod's namespace as soon as it has an address, before its containers start.

    Looks for it for `wait_s` seconds; the answer's address is "" when it was not there by then.
    """
    end, idle = time.monotonic() + wait_s, threading.Event()
    while True:
        fd = _pod_namespace(node, pod_uid, starting_processes(node, pod_uid))
        if fd >= 0:
            break
        if time.monotonic() > end:
            return NewPod(address="", ran_ms=0.0)
        idle.wait(SANDBOX_POLL_S)
    try:
        _nft(fd, script)
        applied_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        processes = starting_processes(node, pod_uid)
        sandbox = {p["cgroup"] for p in processes[:1]}
        early = [p for p in processes if p["cgroup"] not in sandbox and not p["name"].startswith(STARTING)]
        ran_ms = max((1000 * (applied_s - p["start"] / TICKS_S) for p in early), default=0.0)
        return NewPod(address=within(fd, first_address), ran_ms=max(0.0, ran_ms))
    finally:
        os.close(fd)
