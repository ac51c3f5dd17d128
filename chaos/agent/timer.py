"""The process that undoes a fault when nobody renews its lease: `python3 -m agent.timer NODE_PID LEASE_ID`.

It leaves everything that ends with the agent's pod: the session and the parent (it forks), the cgroup (whose processes
the container runtime kills), and the mount namespace (whose files go with the image). It needs no network.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

# Everything is imported before the agent's files are left behind.
from .leases import READY, lease_path, locked, now_ns, read_lease, write_lease
from .node import Node, VerbError
from .processes import start_time
from .verbs import VERBS

POLL_S = 0.25  # how often the lease is looked at
RETRY_S = 1.0  # between two attempts to undo
ATTEMPTS_MAX = 600
CLONE_NEWNS = 0x00020000
UNDO_CGROUP = "steadyset-undo"


def leave_pod_cgroups(node: Node) -> list[str]:
    """Move this process out of its pod's cgroups, to beside `kubepods`; the paths that it is in now."""
    root = node.root / "sys/fs/cgroup"
    unified_only = (root / "cgroup.controllers").exists()
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        parent, pods, _ = path.partition("/kubepods")
        if not pods:
            continue
        if controllers:
            folder = root / controllers.removeprefix("name=") / parent.lstrip("/")
        elif unified_only:
            folder = root / parent.lstrip("/") / UNDO_CGROUP  # v2 allows processes in leaves only
            folder.mkdir(exist_ok=True)
        else:
            folder = root / "unified" / parent.lstrip("/")
        with suppress(OSError):
            (folder / "cgroup.procs").write_text(str(os.getpid()))
    return [line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()]


def enter_mounts(node: Node) -> None:
    """Go over to the node's mount namespace; where that is not allowed, stay."""
    libc = ctypes.CDLL(None, use_errno=True)
    with suppress(OSError):
        fd = os.open(f"/proc/{node.pid}/ns/mnt", os.O_RDONLY)
        if libc.setns(fd, CLONE_NEWNS) == 0:
            os.chdir("/")
        os.close(fd)


def watch(node: Node, lease_id: str) -> None:
    """Look at the lease until it is gone; once it is over, undo, and try again until that worked."""
    path, idle = lease_path(node, lease_id), threading.Event()
    while True:
        lease = read_lease(path)
        if lease is None:
            return
        with locked(path):
            lease = read_lease(path)
            if lease is None:
                return
            over = now_ns() > lease["expires_ns"]
        if over:
            break
        idle.wait(POLL_S)
    for _ in range(ATTEMPTS_MAX):
        try:
            VERBS[lease["verb"]].function(node, *lease["args"])
        except (VerbError, OSError):
            idle.wait(RETRY_S)
            if not path.exists():
                return
        else:
            path.unlink(missing_ok=True)
            return


def main(argv: list[str]) -> None:
    """Entry point."""
    node, lease_id = Node(int(argv[0])), argv[1]
    if os.fork():
        os._exit(0)
    left = leave_pod_cgroups(node)
    if any("/kubepods" in path for path in left):
        raise SystemExit(f"still in a cgroup of the agent's pod: {', '.join(left)}")
    null = os.open(os.devnull, os.O_RDWR)
    enter_mounts(node)
    path = lease_path(node, lease_id)
    with locked(path):
        lease = read_lease(path)
        if lease is None:
            return
        lease["timer"] = [os.getpid(), start_time(os.getpid())]
        write_lease(path, lease)
    os.write(1, READY)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    watch(node, lease_id)


if __name__ == "__main__":
    main(sys.argv[1:])
