"""Have the kernel's OOM killer end a container's main process, as if the container used too much memory."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from .node import Node, VerbError, cgroup_folder
from .processes import container_inits, start_time

HEADROOM = 16 << 20  # bytes that may still be allocated below the squeezed limit
KILLED_WITHIN_S = 30.0  # after squeezing, until the kernel has killed the process
POLL_S = 0.02
HOG_LIMIT = 1 << 30  # bytes: the allocating process stops here, should there be no limit in force
CHOSEN = 1000  # oom_score_adj of what the OOM killer takes first
UNLIMITED = 1 << 62  # v1 shows a huge number where there is no limit
# It writes to a memfd, which counts against the cgroup but not as its own resident memory, so it is not chosen.
HOG = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
open(sys.argv[1], "w").write(str(os.getpid()))
fd, left = os.memfd_create("steadyset"), int(sys.argv[2])
while left > 0:
    left -= os.write(fd, bytes(1 << 20))
signal.pause()
"""


class Main(TypedDict):
    """A container's main process, and what squeezing its container will change."""

    pid: int
    start: int
    cgroup: str
    limit: str
    score: str


def mains(node: Node, container_ids: list[str]) -> list[Main]:
    """The main process of each of these containers, with the memory limit and the OOM score as they are."""
    found = []
    for init in container_inits(node, container_ids):
        score = Path(f"/proc/{init['pid']}/oom_score_adj").read_text().strip()
        limit = _limit_file(node, init["cgroup"]).read_text().strip()
        found.append(Main(pid=init["pid"], start=init["start"], cgroup=init["cgroup"], limit=limit, score=score))
    return found


def _limit_file(node: Node, cgroup: str) -> Path:
    v1 = cgroup_folder(node, "memory", cgroup) / "memory.limit_in_bytes"
    return v1 if v1.parent.exists() else cgroup_folder(node, "", cgroup) / "memory.max"


def oom_kill(node: Node, main: Main) -> None:
    """Squeeze the container's limit and allocate in its cgroup until the kernel has killed its main process.

    VerbError when that survives for KILLED_WITHIN_S. The limit stays: `unsqueeze` puts it back.
    """
    limit = _limit_file(node, main["cgroup"])
    usage = limit.with_name("memory.usage_in_bytes" if limit.name == "memory.limit_in_bytes" else "memory.current")
    Path(f"/proc/{main['pid']}/oom_score_adj").write_text(str(CHOSEN))
    wanted = int(usage.read_text()) + HEADROOM
    if main["limit"] == "max" or int(main["limit"]) > wanted:
        limit.write_text(str(wanted))
    argv = [sys.executable, "-c", HOG, str(limit.with_name("cgroup.procs")), str(HOG_LIMIT)]
    hog = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end, idle = time.monotonic() + KILLED_WITHIN_S, threading.Event()
    try:
        while start_time(main["pid"]) == main["start"]:
            if time.monotonic() > end:
                raise VerbError(f"process {main['pid']} survived a memory limit of {wanted} bytes")
            idle.wait(POLL_S)
    finally:
        hog.kill()
        hog.wait()


def unsqueeze(node: Node, squeezed: list[Main]) -> int:
    """Put limits and scores back as they were, where cgroup and process are still there; how many limits."""
    done = 0
    for main in squeezed:
        with suppress(OSError):
            if start_time(main["pid"]) == main["start"]:
                Path(f"/proc/{main['pid']}/oom_score_adj").write_text(main["score"])
        with suppress(OSError):  # a cgroup can go at any moment
            was = main["limit"]
            _limit_file(node, main["cgroup"]).write_text("-1" if was.isdigit() and int(was) >= UNLIMITED else was)
            done += 1
    return done
