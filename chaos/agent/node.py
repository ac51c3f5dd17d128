"""The node that a verb works on, and how a verb says that something cannot be done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_S = os.sysconf("SC_CLK_TCK")


class VerbError(Exception):
    """What was asked for cannot be done on this node; `do` says what would help."""

    def __init__(self, message: str, do: str = "") -> None:
        super().__init__(message)
        self.message, self.do = message, do


@dataclass(frozen=True)
class Node:
    """A node as its verbs see it: `pid` is a process in the node's own mount namespace.

    That is 1 in the agent, which shares the node's PID namespace; an embedded node's init as this machine numbers it.
    """

    pid: int = 1

    @property
    def root(self) -> Path:
        """The node's root folder, with everything that is mounted on the node."""
        return Path(f"/proc/{self.pid}/root")

    def inside(self, path: str) -> Path:
        """That absolute path of the node, as it is reached from here."""
        return self.root / path.lstrip("/")


def cgroup_path(pid: int | str) -> tuple[str, str]:
    """Where a process is in the hierarchy that can freeze it: (controller, path); the controller is "" on cgroup v2.

    FileNotFoundError or ProcessLookupError when there is no such process.
    """
    unified = ("", "/")
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "freezer" in controllers.split(","):
            return "freezer", path
        if not controllers:
            unified = ("", path)
    return unified


def cgroup_folder(node: Node, controller: str, path: str) -> Path:
    """The folder of a cgroup on the node; on machines with both versions, v1's freezer is what counts."""
    base = node.root / "sys/fs/cgroup"
    return (base / controller if controller else base) / path.lstrip("/")


def pod_folders(node: Node, pod_uid: str) -> list[Path]:
    """The pod's cgroup, in the spelling of either cgroup driver; none before it is made, or where pods' are elsewhere.

    The kubelet keeps pods below `kubepods` (cgroupfs) or `kubepods.slice` (systemd), in a parent of the node's init.
    """
    with suppress(OSError):
        controller, path = cgroup_path(node.pid)
        slice_uid = pod_uid.replace("-", "_")
        for parent in _upwards(path):
            folder = cgroup_folder(node, controller, parent)
            found = [
                *folder.glob(f"kubepods/pod{pod_uid}"),
                *folder.glob(f"kubepods/*/pod{pod_uid}"),
                *folder.glob(f"kubepods.slice/kubepods-pod{slice_uid}.slice"),
                *folder.glob(f"kubepods.slice/*/kubepods-*-pod{slice_uid}.slice"),
            ]
            if found:
                return found
    return []


def _upwards(path: str) -> Iterator[str]:
    while True:
        yield path
        if path in ("", "/"):
            return
        path = path.rpartition("/")[0] or "/"
