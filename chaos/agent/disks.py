"""The disk below a pod's volume: file systems aborted, writes slowed down and timed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from .node import Node, VerbError, cgroup_folder

COMMAND_TIMEOUT_S = 30.0  # one remount, one timed write
# Written as the container would write: in its cgroup, with fsync, into a file that has no name.
WRITE = """
import os, sys, time
procs, mount, size = sys.argv[1:]
open(procs, "w").write(str(os.getpid()))
fd = os.open(mount, os.O_WRONLY | os.O_TMPFILE, 0o600)
began = time.monotonic()
os.write(fd, os.urandom(int(size)))
os.fsync(fd)
print(time.monotonic() - began)
"""


def mounted_as(node: Node, mount: str) -> tuple[str, int, int]:
    """Type, major and minor number of the file system mounted there. VerbError when nothing is."""
    for line in reversed(Path(f"/proc/{node.pid}/mountinfo").read_text().splitlines()):
        words = line.split()
        if words[4] == mount:
            major, _, minor = words[2].partition(":")
            return words[words.index("-") + 1], int(major), int(minor)
    raise VerbError(f"nothing is mounted at {mount}")


def size_of(node: Node, mount: str) -> int:
    """Size of the file system mounted there, in bytes."""
    mounted_as(node, mount)
    found = os.statvfs(node.inside(mount))
    return found.f_blocks * found.f_frsize


def abort(node: Node, mount: str) -> None:
    """Remount an ext4 file system with option `abort`: read-only at once, whoever has files open for writing.

    VerbError for another file system. Source: ext4(5).
    """
    kind, _, _ = mounted_as(node, mount)
    if kind != "ext4":
        raise VerbError(f"a file system of type {kind} cannot be aborted as ext4 can", do="use volume-yank")
    argv = ["nsenter", "-t", str(node.pid), "-m", "--", "mount", "-o", "remount,abort", mount]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    if done.returncode:
        raise VerbError(f"{mount} could not be remounted: {done.stderr.strip()}")


def can_throttle(node: Node) -> bool:
    """Whether the kernel can slow a disk down for a cgroup."""
    base = node.root / "sys/fs/cgroup"
    if (base / "blkio/blkio.throttle.write_bps_device").exists():
        return True
    with suppress(OSError):
        return "io" in (base / "cgroup.controllers").read_text().split()
    return False


def throttle(node: Node, limits: list[tuple[str, int, int]], bytes_s: int) -> int:
    """Limit what each cgroup writes to its disk (path, major, minor), in bytes/s; 0 lifts the limit. How many were set.

    A cgroup that is gone does not matter. Source: cgroup-v1/blkio-controller.rst; io.max of cgroup-v2.rst.
    """
    done = 0
    for path, major, minor in limits:
        with suppress(FileNotFoundError):
            v1 = cgroup_folder(node, "blkio", path) / "blkio.throttle.write_bps_device"
            if v1.exists():
                v1.write_text(f"{major}:{minor} {bytes_s}")
            else:
                (cgroup_folder(node, "", path) / "io.max").write_text(f"{major}:{minor} wbps={bytes_s or 'max'}")
            done += 1
    return done


def write_time_s(node: Node, mount: str, cgroup: str, size: int) -> float:
    """How long a process of that cgroup takes to write and fsync `size` bytes to the volume. VerbError when it fails.

    One that takes longer than COMMAND_TIMEOUT_S is not waited for.
    """
    v1 = cgroup_folder(node, "blkio", cgroup) / "cgroup.procs"
    procs = v1 if v1.exists() else cgroup_folder(node, "", cgroup) / "cgroup.procs"
    argv = [sys.executable, "-c", WRITE, str(procs), str(node.inside(mount)), str(size)]
    began = time.monotonic()
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return time.monotonic() - began
    if done.returncode:
        raise VerbError(f"a write to {mount} failed: {done.stderr.strip()[-200:]}")
    return float(done.stdout)
