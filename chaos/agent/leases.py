"""Leases of faults that the kernel does not end by itself: a timer on the node undoes them when nobody renews.

A lease is a file below /run/steadyset/leases of the node: which verb undoes the fault, and when. Its timer is a process
of its own (`timer.py`), outside the agent's cgroup and without the agent's files, so that neither the death of the
agent's pod nor that of whoever drives the fault reaches it. Times are CLOCK_BOOTTIME ns of the node; /run is empty
after a reboot, which has undone what a lease may undo.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypedDict

from .node import Node, VerbError
from .processes import start_time

FOLDER = "/run/steadyset/leases"
READY = b"watching\n"
START_TIMEOUT_S = 10.0  # timer_start: until the timer says that it watches
TTL_MAX_S = 3600.0


class Lease(TypedDict):
    """One lease, as it lies on the node."""

    id: str
    ttl_s: float
    expires_ns: int
    verb: str
    args: list[Any]
    timer: list[int]  # [pid, start] of its timer
    renewals: int


def now_ns() -> int:
    """The clock of leases: it goes on while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def lease_path(node: Node, lease_id: str) -> Path:
    """Where that lease lies. VerbError for an ID that is no file name."""
    if not lease_id.replace("-", "").isalnum():
        raise VerbError(f"{lease_id!r} is no lease ID")
    return node.inside(FOLDER) / f"{lease_id}.json"


def read_lease(path: Path) -> Lease | None:
    """The lease in that file; None when it is gone."""
    try:
        found: Lease = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return found


def write_lease(path: Path, lease: Lease) -> None:
    """Write or rewrite it in one step."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(lease))
    temporary.rename(path)


def lease_begin(node: Node, lease_id: str, ttl_s: float, verb: str, args: list[Any]) -> None:
    """Start a lease before the fault it is for: when it runs out, `verb` is called with `args`.

    VerbError when its timer does not watch, or the time-to-live is none; there is no lease then.
    """
    if not 0 < ttl_s <= TTL_MAX_S:
        raise VerbError(f"a lease of {ttl_s:g} s cannot be had: from 0 to {TTL_MAX_S:g} s")
    path = lease_path(node, lease_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    lease = Lease(
        id=lease_id, ttl_s=ttl_s, expires_ns=now_ns() + int(ttl_s * 1e9), verb=verb, args=args, timer=[], renewals=0
    )
    write_lease(path, lease)
    try:
        start_timer(node, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def start_timer(node: Node, path: Path) -> None:
    """Start the timer of a lease that lies there; VerbError when it does not say that it watches."""
    package = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-m", f"{package.name}.timer", str(node.pid), path.stem],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd=package.parent,
    )
    assert process.stdout is not None and process.stderr is not None
    # It forks, so that it is no child of ours: what answers here is the timer itself.
    readable, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
    said = os.read(process.stdout.fileno(), 64) if readable else b""
    if said != READY:
        process.kill()
        words = process.stderr.read()[-300:].decode(errors="replace")
        raise VerbError(f"the timer that would undo the fault did not start: {words}")
    process.stdout.close()
    process.stderr.close()
    process.wait(START_TIMEOUT_S)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Nobody else changes the leases of that folder in this block; False when the folder is gone."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield True
    finally:
        os.close(folder)


def lease_renew(node: Node, lease_id: str) -> bool:
    """Move the lease's end to now + its time-to-live. False when it is over: its timer undoes the fault."""
    path = lease_path(node, lease_id)
    with locked(path):
        lease = read_lease(path)
        if lease is None or now_ns() > lease["expires_ns"]:
            return False
        lease["expires_ns"] = now_ns() + int(lease["ttl_s"] * 1e9)
        lease["renewals"] += 1
        write_lease(path, lease)
    return True


def lease_end(node: Node, lease_id: str) -> bool:
    """Forget a lease whose fault was undone; whether it was there. Its timer sees that and leaves."""
    path = lease_path(node, lease_id)
    found = path.exists()
    path.unlink(missing_ok=True)
    with suppress(OSError):  # other leases are there
        path.parent.rmdir()
        path.parent.parent.rmdir()
    return found


def leases(node: Node) -> list[Lease]:
    """Every lease of the node, also those whose undo has not worked yet."""
    found = [read_lease(path) for path in sorted(node.inside(FOLDER).glob("*.json"))]
    return [lease for lease in found if lease is not None]


def adopt_orphans(node: Node) -> list[str]:
    """Start a timer for every lease that has none (it was killed, too); their IDs."""
    adopted = []
    for lease in leases(node):
        pid, start = lease["timer"] or (0, 0)
        if not pid or start_time(pid) != start:
            start_timer(node, lease_path(node, lease["id"]))
            adopted.append(lease["id"])
    return adopted
