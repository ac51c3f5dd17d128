"""A partition in force: members with their network namespaces, the rules in them, and members that are replaced.

A cut follows the identity: when a member's pod is replaced, the new pod is cut as soon as its sandbox has an address,
before its containers start; when that did not work out, the bite is said to be lost.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from steadyset.chaos.inside import TICKS_S, PodFinder, Process, address_in, open_netns, pod_processes
from steadyset.chaos.kube import Kube, UnreachableError, uid_of
from steadyset.chaos.nft import cut_script, renew_script, run_nft
from steadyset.chaos.partition import Cuts
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, UsageError

FOLLOW_POLL_S = 0.1  # how often members are looked at, to see that they are replaced
SANDBOX_POLL_S = 0.02  # how often a new sandbox is looked for
STARTING = "runc:"  # the name of a process that is about to become a container's
JOIN_DEADLINE_S = 5.0  # cut_join: until the following thread has ended

Json = dict[str, Any]


class Member(msgspec.Struct, kw_only=True):
    """A pod of the partition: `netns` is a file descriptor of its network namespace, -1 while it has none."""

    name: str
    uid: str
    address: str = ""
    netns: int = -1


def member_of(info: ClusterInfo, pod: Json) -> Member:
    """The running pod as a member. UsageError when its network is the node's, or it has no sandbox or IPv4 address."""
    name, address = pod["metadata"]["name"], pod.get("status", {}).get("podIP", "")
    if pod["spec"].get("hostNetwork"):
        raise UsageError(
            f"pod {name} has its node's network: cutting it would cut the node", do="choose another target"
        )
    if not address or ":" in address:
        raise UsageError(
            f"pod {name} has no IPv4 address to cut", expected="a running pod", seen=address or "no address"
        )
    member = Member(name=name, uid=uid_of(pod))
    if not find_netns(info, member, pod["spec"]["nodeName"]) or member.address != address:
        raise UsageError(
            f"the network namespace of pod {name} was not found on this machine",
            expected=f"a process of pod {member.uid} whose namespace has the address {address}",
            seen=member.address or "none",
            do="steadyset cluster status",
        )
    return member


def find_netns(info: ClusterInfo, member: Member, node: str, processes: list[Process] | None = None) -> bool:
    """Fill `netns` and `address` from the pod's processes; False while none has a namespace with an address."""
    if not node:
        return False
    foreign = {_inode(f"/proc/{pid}/ns/net") for pid in (os.getpid(), info.node(node).pid)}
    for process in pod_processes(member.uid) if processes is None else processes:
        with suppress(InstrumentError, FileNotFoundError):
            netns = open_netns(process.pid)
            address = "" if os.fstat(netns).st_ino in foreign else address_in(netns)
            if address:
                member.netns, member.address = netns, address
                return True
            os.close(netns)
    return False


def _inode(path: str) -> int:
    try:
        return Path(path).stat().st_ino
    except FileNotFoundError:
        return 0


class Cut:
    """Rules in every member's network namespace that drop the packets of `cuts`; `places` are addresses outside."""

    def __init__(
        self, info: ClusterInfo, namespace: str, members: list[Member], cuts: Cuts, places: dict[str, list[str]]
    ) -> None:
        self.info, self.namespace, self.cuts, self.places = info, namespace, cuts, places
        self.members = {m.name: m for m in members}
        self.table, self.ttl_s, self.share = "", 0.0, 1.0
        self.remarks: list[str] = []
        self.on_lost: Callable[[str], None] = self.remarks.append
        self.on_replaced: Callable[[Member], None] = lambda member: None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._finder = PodFinder(pod_processes(members[0].uid)[0])

    def _addresses(self, name: str) -> list[str]:
        return [self.members[name].address] if name in self.members else self.places[name]

    def _rules(self, member: Member) -> tuple[set[str], set[str]]:
        sources = {a for one, other in self.cuts if other == member.name for a in self._addresses(one)}
        targets = {a for one, other in self.cuts if one == member.name for a in self._addresses(other)}
        return sources, targets

    def apply(self, table: str, ttl_s: float, share: float = 1.0) -> None:
        """Put the rules in place; `share` of the packets is dropped."""
        self.table, self.ttl_s, self.share = table, ttl_s, share
        for member in self.members.values():
            run_nft(member.netns, cut_script(table, *self._rules(member), ttl_s, self.share))

    def renew(self) -> None:
        """Start every timeout again. InstrumentError when a member's rules have gone."""
        with self._lock:
            for member in self.members.values():
                if member.netns >= 0:
                    run_nft(member.netns, renew_script(self.table, *self._rules(member), self.ttl_s))

    def follow(self) -> None:
        """Start to watch for members that are replaced."""
        self._thread = threading.Thread(target=self._follow, name="cut follows identities", daemon=True)
        self._thread.start()

    def refresh(self) -> list[str]:
        """Names of members whose pod is another one by now; those that run already are looked up anew."""
        kube, changed = Kube(self.info), []
        for name, member in list(self.members.items()):
            pod = kube.pod(self.namespace, name)
            if pod is None or uid_of(pod) == member.uid:
                continue
            changed.append(name)
            new = Member(name=name, uid=uid_of(pod))
            if find_netns(self.info, new, pod["spec"].get("nodeName", "")):
                self.members[name] = new
        return changed

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(JOIN_DEADLINE_S)

    def close(self) -> None:
        """Close the namespaces' file descriptors."""
        for member in self.members.values():
            if member.netns >= 0:
                os.close(member.netns)
                member.netns = -1

    def _follow(self) -> None:
        kube = Kube(self.info)
        while not self._stop.wait(FOLLOW_POLL_S):
            try:
                for name, member in list(self.members.items()):
                    pod = kube.pod(self.namespace, name)
                    node = pod["spec"].get("nodeName", "") if pod else ""
                    if pod is not None and node and uid_of(pod) != member.uid:
                        self._replace(member, uid_of(pod), node)
            except UnreachableError:
                continue
            except InstrumentError as error:
                self.on_lost(f"replaced members could not be followed: {error}")
                return

    def _replace(self, old: Member, uid: str, node: str) -> None:
        new = Member(name=old.name, uid=uid)
        while not find_netns(self.info, new, node, self._finder.processes(uid)):
            if self._stop.wait(SANDBOX_POLL_S):
                return
        with self._lock:
            self.members[new.name] = new
            run_nft(new.netns, cut_script(self.table, *self._rules(new), self.ttl_s, self.share))
            applied_s = time.clock_gettime(time.CLOCK_BOOTTIME)
            processes = self._finder.processes(uid)
            sandbox = {p.cgroup for p in processes[:1]}
            early = [p for p in processes if p.cgroup not in sandbox and not p.name.startswith(STARTING)]
            for member in self.members.values():
                if member is not new and member.netns >= 0:
                    run_nft(member.netns, renew_script(self.table, *self._rules(member), self.ttl_s))
        self.on_replaced(new)
        if old.netns >= 0:
            os.close(old.netns)
            old.netns = -1
        ran_ms = max((1000 * (applied_s - p.start / TICKS_S) for p in early), default=0.0)
        if ran_ms > 0:
            self.on_lost(f"pod {new.name} was replaced and ran for up to {ran_ms:.0f} ms before it was cut again")
        else:
            self.remarks.append(f"pod {new.name} was replaced by {uid[:8]} and cut again before its first packet")
