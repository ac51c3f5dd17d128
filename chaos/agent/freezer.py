"""Freeze a pod's containers by their cgroup: every process at once, also those that are forked meanwhile.

cgroup v1: `freezer.state` of the freezer hierarchy; v2: `cgroup.freeze` and `cgroup.events`
(Documentation/admin-guide/cgroup-v2.rst of Linux).
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

from .node import Node, VerbError, cgroup_folder, cgroup_path
from .processes import container_inits

FROZEN_WITHIN_S = 5.0  # a process in an uninterruptible sleep cannot be frozen before it wakes
POLL_S = 0.005


def container_cgroups(node: Node, container_ids: list[str]) -> list[str]:
    """The containers' cgroups as [controller + ":" + path]; VerbError when a container has no process here."""
    found = []
    for container in container_ids:
        inits = container_inits(node, [container])
        if not inits:
            raise VerbError(f"container {container} has no process on this node")
        found.append(":".join(cgroup_path(inits[0]["pid"])))
    return found


def freeze(node: Node, cgroups: list[str]) -> int:
    """Freeze these cgroups and wait until they are; how many. VerbError when one is not, and all are thawed then."""
    _set(node, cgroups, frozen=True)
    end = time.monotonic() + FROZEN_WITHIN_S
    idle = threading.Event()
    while len(frozen(node, cgroups)) < len(cgroups):
        if time.monotonic() > end:
            thaw(node, cgroups)
            raise VerbError(f"the cgroup was not frozen within {FROZEN_WITHIN_S:g} s: a process waits for a disk?")
        idle.wait(POLL_S)
    return len(cgroups)


def thaw(node: Node, cgroups: list[str]) -> int:
    """Let the processes of these cgroups run again; cgroups that are gone do not matter. How many were thawed."""
    return _set(node, cgroups, frozen=False)


def frozen(node: Node, cgroups: list[str]) -> list[str]:
    """Those of the cgroups in which every process stands still."""
    return [name for name in cgroups if _is_frozen(_folder(node, name))]


def _folder(node: Node, name: str) -> Path:
    controller, _, path = name.partition(":")
    return cgroup_folder(node, controller, path)


def _is_frozen(folder: Path) -> bool:
    with suppress(OSError):
        if (folder / "cgroup.freeze").exists():
            return "frozen 1" in (folder / "cgroup.events").read_text().splitlines()
        return (folder / "freezer.state").read_text().strip() == "FROZEN"
    return False


def _set(node: Node, cgroups: list[str], *, frozen: bool) -> int:
    done = 0
    for name in cgroups:
        folder = _folder(node, name)
        try:
            if (folder / "cgroup.freeze").exists():
                (folder / "cgroup.freeze").write_text("1" if frozen else "0")
            elif (folder / "freezer.state").exists():
                (folder / "freezer.state").write_text("FROZEN" if frozen else "THAWED")
            elif frozen:
                raise VerbError(f"cgroup {name} cannot be frozen: neither cgroup.freeze nor freezer.state is there")
            else:
                continue
        except FileNotFoundError:
            if frozen:
                raise VerbError(f"cgroup {name} is gone") from None
            continue
        done += 1
    return done
