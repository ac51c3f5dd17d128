"""Every verb, by name: what the agent can be asked to do. The one place to add one."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

from . import disks, freezer, leases, memory, names, networks, probes, processes, runtime, shaping, volumes
from .node import Node

TIMEOUT_S = 8.0  # one call of a verb
LONG_TIMEOUT_S = 300.0  # one that waits for a disk


class Verb(NamedTuple):
    """A verb and how long one call of it may take, in seconds."""

    function: Callable[..., Any]
    timeout_s: float = TIMEOUT_S


class Facts(TypedDict):
    """What an agent says of its node."""

    kernel: str
    cgroup: str  # "v1" or "v2"
    nft: bool
    disk_throttle: bool
    lacking: list[str]


def facts(node: Node) -> Facts:
    """What this node is, and what it lacks for the verbs to work."""
    lacking = []
    if os.geteuid() != 0:
        lacking.append("root")
    nft = True
    try:
        networks.nft(node, f"pid:{os.getpid()}", "list tables\n")
    except Exception as error:
        nft = False
        lacking.append(f"nftables ({error})")
    if not (node.root / "proc").exists():
        lacking.append("the node's PID namespace (hostPID)")
    unified = (node.root / "sys/fs/cgroup/cgroup.controllers").exists()
    return Facts(
        kernel=platform.release(),
        cgroup="v2" if unified else "v1",
        nft=nft,
        disk_throttle=disks.can_throttle(node),
        lacking=lacking,
    )


VERBS: dict[str, Verb] = {
    verb.function.__name__: verb
    for verb in (
        Verb(facts),
        Verb(processes.pod_processes),
        Verb(processes.container_inits),
        Verb(processes.container_processes),
        Verb(processes.signal_all),
        Verb(processes.stopped),
        Verb(processes.alive),
        Verb(processes.kill_containers),
        Verb(freezer.container_cgroups),
        Verb(freezer.freeze),
        Verb(freezer.thaw),
        Verb(freezer.frozen),
        Verb(names.resolves),
        Verb(networks.net_address),
        Verb(shaping.netem),
        Verb(shaping.plain),
        Verb(shaping.shaped),
        Verb(networks.nft),
        Verb(networks.our_tables),
        Verb(networks.tables_of_pods),
        Verb(networks.remove_table),
        Verb(networks.cut_new_pod),
        Verb(probes.ear_open),
        Verb(probes.line_open),
        Verb(probes.line_passes),
        Verb(probes.line_answers),
        Verb(probes.reaches),
        Verb(probes.send),
        Verb(probes.heard),
        Verb(probes.send_burst),
        Verb(probes.heard_burst),
        Verb(probes.close),
        Verb(volumes.mounts),
        Verb(volumes.write_error, LONG_TIMEOUT_S),
        Verb(volumes.fill, LONG_TIMEOUT_S),
        Verb(volumes.remove_file, LONG_TIMEOUT_S),
        Verb(volumes.left_files),
        Verb(volumes.shut_down, LONG_TIMEOUT_S),
        Verb(disks.mounted_as),
        Verb(disks.size_of),
        Verb(disks.abort, LONG_TIMEOUT_S),
        Verb(disks.throttle),
        Verb(disks.write_time_s, LONG_TIMEOUT_S),
        Verb(memory.mains),
        Verb(memory.oom_kill, memory.KILLED_WITHIN_S * 2),
        Verb(memory.unsqueeze),
        Verb(runtime.signal_containers, runtime.CTR_TIMEOUT_S * 2),
        Verb(leases.lease_begin, leases.START_TIMEOUT_S * 2),
        Verb(leases.lease_renew),
        Verb(leases.lease_end),
        Verb(leases.leases),
    )
}
